#include "analysis/closed_form.hpp"

#include <cmath>
#include <vector>

#include "analysis/product_error.hpp"
#include "support/test_support.hpp"

namespace napier {
namespace {

// Written forms with every kind of multiplier, both roundings, products rounded and not.
std::vector<std::string> arithmetics() {
  std::vector<std::string> list;
  for (const Preset& preset : presets()) {
    const Arithmetic arithmetic = parse_arithmetic(preset.written);
    const auto is_plain = [](const Operand& operand) {
      return operand.scaling.empty() && operand.cast.format.is_float();
    };
    if (!is_plain(arithmetic.x) || !is_plain(arithmetic.w)) continue;
    for (const char* rounding : {"-rtz", "-rne"}) {
      list.push_back(std::string(preset.name) + rounding);
    }
  }
  for (const char* text :
       {"fp8_e4m3/mul=exact:e4m3", "fp8_e5m2/mul=exact:e5m2", "fp8_e4m3-rtz/mul=exact:e4m3:rtz",
        "lmul-e4m3/mul=lmul:e4m3", "lmul-m3-rne/mul=lmul(l=0)", "lmul-m3-rne/mul=lmul(l=1)",
        "lmul-m3-rne/mul=lmul(l=5)", "lmul-m4/mul=lmul(l=6)", "lmul-m4/mul=lmul(k=2)",
        "x=e4m3/w=e5m2/mul=lmul", "x=e8m3/w=e8m5:rtz/mul=mitchell",
        "lmul-m4-rne/mul=lmul(reading=formula,l=2)"}) {
    list.emplace_back(text);
  }
  return list;
}

TEST(ClosedForm, EqualsEnumeration) {
  int formulas = 0;
  for (const std::string& text : arithmetics()) {
    const Arithmetic arithmetic = parse_arithmetic(text);
    for (const int m : {1, 3, 4, 5, 8, 10}) {
      const auto closed = closed_form(arithmetic, m);
      ASSERT_TRUE(closed.has_value()) << text;
      formulas += closed->is_formula;
      EXPECT_NEAR(closed->mean_error, enumerate_products(arithmetic, m).mean_step, 1e-12)
          << text << " m = " << m;
    }
  }
  EXPECT_GT(formulas, 200);  // the sum over kept mantissas is the exception
}

TEST(ClosedForm, MonteCarloIsWithinThreeStandardErrors) {
  const auto blocks = draw_blocks({OperandLaw::Kind::mantissa, 0}, 2000, 1, 1, 64, test::seed());
  int far = 0;
  int all = 0;
  for (const std::string& text : arithmetics()) {
    const Arithmetic arithmetic = parse_arithmetic(text);
    if (arithmetic.x.cast.format.mantissa_bits > 10) continue;
    const auto closed = closed_form(arithmetic, 23);
    ASSERT_TRUE(closed.has_value()) << text;
    const ProductErrors errors = measure_products(arithmetic, blocks);
    ASSERT_GT(errors.mean_step_error, 0) << text;
    EXPECT_LT(errors.mean_step_error, 2e-3) << text;
    ++all;
    far += std::fabs(closed->mean_error - errors.mean_step) > 3 * errors.mean_step_error;
  }
  EXPECT_GT(all, 30);
  EXPECT_EQ(far, 0);
}

TEST(ClosedForm, IsThePapersForItsReading) {
  for (int k = 1; k <= 7; ++k) {
    const std::string shape = "e8m" + std::to_string(k) + ":rtz";
    const std::string operands = "x=" + shape + "/w=" + shape;
    for (const int m : {7, 10, 23}) {
      EXPECT_NEAR(closed_form(parse_arithmetic(operands), m)->mean_error, -paper_f1(m, k), 1e-15);
      EXPECT_NEAR(
          closed_form(parse_arithmetic(operands + "/mul=lmul(reading=formula)"), m)->mean_error,
          -paper_f1(m, k) - paper_f2(k, lmul_offset_bits(k)), 1e-15);
    }
  }
}

TEST(ClosedForm, IsNoneWhereAnOperandIsScaledOrTooNarrow) {
  for (const char* text : {"x=e4m3@row/w=e4m3", "x=e0m7/w=e0m7", "x=e8m4:sr/w=e8m4", "x=e8m0u"}) {
    EXPECT_FALSE(closed_form(parse_arithmetic(text), 8).has_value()) << text;
  }
}

}  // namespace
}  // namespace napier
