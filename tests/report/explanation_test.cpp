#include "report/explanation.hpp"

#include <limits>
#include <random>

#include "support/test_support.hpp"

namespace napier {
namespace {

// The steps shown are arithmetic of their own; they must come to what the multiplier does.
TEST(Explanation, StepsGiveTheMultipliersProduct) {
  std::mt19937_64 random(test::seed());
  std::normal_distribution<float> normal;
  for (const Preset& preset : presets()) {
    const Arithmetic arithmetic = parse_arithmetic(preset.written);
    if (!arithmetic.x.scaling.empty() || !arithmetic.w.scaling.empty()) continue;
    for (int i = 0; i < 1000; ++i) {
      const float x = i == 0 ? 0 : i == 1 ? std::numeric_limits<float>::infinity() : normal(random);
      const float w = i == 2 ? 1e-39f : i == 3 ? 3e38f : normal(random);
      const Dyadic expected =
          arithmetic.resolved_multiplier().multiply(arithmetic.x.quantise(Dyadic::from_float(x)),
                                                    arithmetic.w.quantise(Dyadic::from_float(w)));
      EXPECT_EQ(explained_product(arithmetic, x, w), expected)
          << preset.name << " " << x << " " << w;
    }
  }
}

TEST(Explanation, EveryPresetAndScaledOperandsHaveAText) {
  for (const Preset& preset : presets()) {
    EXPECT_FALSE(explanation(parse_arithmetic(preset.name), 1.7f, -0.3f).empty()) << preset.name;
  }
  const std::string text =
      explanation(parse_arithmetic("x=e4m3@row/w=e2m1@block16(e4m3)@tensor(f32)"), 1.7f, -0.3f);
  EXPECT_NE(text.find("scale"), std::string::npos);
}

TEST(Explanation, ShowsLMulsAddition) {
  const std::string text = explanation(parse_arithmetic("lmul-m4"), 1.7f, -0.3f);
  for (const char* part : {"0 | 01111111 | 1011 = 1.6875", "2043", "2003", "2016", "0x3F700000"}) {
    EXPECT_NE(text.find(part), std::string::npos) << part;
  }
}

}  // namespace
}  // namespace napier
