#include "analysis/dot_error.hpp"

#include <cmath>
#include <vector>

#include "napier/gemm.hpp"
#include "support/test_support.hpp"

namespace napier {
namespace {

TEST(DotError, IsThatOfTheReferencesSums) {
  const auto blocks = draw_blocks({OperandLaw::Kind::gaussian, 0}, 3, 4, 5, 96, test::seed());
  ThreadPool pool(1);
  for (const char* text : {"lmul-m3", "fp8_e4m3/acc=f16", "x=e0m7@row/w=e0m7@row", "f32"}) {
    const Arithmetic arithmetic = parse_arithmetic(text);
    long double exact2 = 0;
    long double error2 = 0;
    for (const OperandBlock& block : blocks) {
      std::vector<float> out(20);
      reference_gemm(arithmetic, {4, 5, 96}, block.x.data(), block.w.data(), out.data());
      for (int i = 0; i < 4; ++i) {
        for (int j = 0; j < 5; ++j) {
          long double exact = 0;
          for (int k = 0; k < 96; ++k) {
            exact += static_cast<long double>(block.x[i * 96 + k]) * block.w[j * 96 + k];
          }
          exact2 += exact * exact;
          error2 += (out[i * 5 + j] - exact) * (out[i * 5 + j] - exact);
        }
      }
    }
    const DotErrors errors = measure_dots(arithmetic, blocks, pool);
    EXPECT_EQ(errors.dots, 60);
    EXPECT_NEAR(errors.snr_db, static_cast<double>(10 * std::log10(exact2 / error2)), 1e-6) << text;
  }
}

TEST(DotError, AnErrorBarCoversWhatAnotherSeedGives) {
  ThreadPool pool(1);
  const Arithmetic arithmetic = parse_arithmetic("lmul-m4");
  DotErrors found[2];
  for (uint64_t s = 0; s < 2; ++s) {
    const auto blocks =
        draw_blocks({OperandLaw::Kind::gaussian, 0}, 40, 8, 8, 64, test::seed() + s);
    found[s] = measure_dots(arithmetic, blocks, pool);
  }
  const double spread = std::hypot(found[0].snr_db_error, found[1].snr_db_error);
  EXPECT_GT(spread, 0.01);
  EXPECT_LT(spread, 0.5);
  EXPECT_LT(std::fabs(found[0].snr_db - found[1].snr_db), 3.5 * spread);
}

// A product that is 2 % too large in all is a gain, and no noise once that is divided away.
TEST(DotError, AConstantFactorIsAGain) {
  ThreadPool pool(1);
  std::vector<OperandBlock> blocks = draw_blocks({OperandLaw::Kind::gaussian, 0}, 4, 4, 4, 32, 1);
  for (OperandBlock& block : blocks) {  // powers of two: L-Mul multiplies each by 1 + 2^-l
    for (auto* values : {&block.x, &block.w}) {
      for (float& value : *values) value = std::copysign(std::exp2(std::round(value)), value);
    }
  }
  const DotErrors errors = measure_dots(parse_arithmetic("lmul-m4"), blocks, pool);
  EXPECT_NEAR(errors.gain, 1.125, 1e-9);
  EXPECT_NEAR(errors.snr_db, -20 * std::log10(0.125), 1e-6);
  EXPECT_GT(errors.gained_snr_db, 100);
}

}  // namespace
}  // namespace napier
