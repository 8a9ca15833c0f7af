#include "analysis/code_error.hpp"

#include <cmath>
#include <fstream>
#include <numbers>
#include <numeric>
#include <string>
#include <vector>

#include "napier/error.hpp"
#include "support/test_support.hpp"

namespace napier {
namespace {

// A file of products that are 0 to 15 too large or too small, not even of zero right.
std::string write_table() {
  std::string path = ::testing::TempDir() + "napier_code_error_products.txt";
  std::ofstream file(path);
  for (int x = 0; x < 256; ++x) {
    for (int w = 0; w < 256; ++w) {
      const int exact = static_cast<int8_t>(x) * static_cast<int8_t>(w);
      file << exact + (x * 7 + w * 13) % 31 - 15 << (w == 255 ? '\n' : ' ');
    }
  }
  return path;
}

std::vector<std::string> arithmetics() {
  const std::string table = "/mul=table(file=" + write_table() + ")";
  return {"x=int8@tensor(f32,given=0.03)/w=int8@tensor(f32,given=0.01)" + table,
          "x=int8:rtz@tensor(f32,given=0.02)/w=int4@tensor(f32,given=0.5)" + table,
          "lmul-e4m3",
          "lmul-e5m2-rne",
          "x=e4m3/w=e5m2:rtz/mul=mitchell",
          "x=e3m2none/w=nf4/mul=exact:e4m3",
          "x=e2m5none:rna/w=e4m3:inf/mul=exact:e5m2:rtz"};
}

constexpr OperandLaw k_laws[] = {{OperandLaw::Kind::mantissa, 0},
                                 {OperandLaw::Kind::uniform, 0},
                                 {OperandLaw::Kind::loguniform, 0},
                                 {OperandLaw::Kind::gaussian, 0},
                                 {OperandLaw::Kind::student, 4}};

TEST(OperandLaw, DistributionsAreThoseOfTables) {
  // Student's t with 1, 2 and 4 degrees has closed forms; the normal law's are tabulated.
  for (const double t : {-30.0, -2.5, -0.1, 0.0, 0.3, 1.0, 7.0, 1e4}) {
    EXPECT_NEAR((OperandLaw{OperandLaw::Kind::student, 2}.cumulative(t)),
                0.5 + t / (2 * std::sqrt(2 + t * t)), 1e-14);
    const double u = t / std::sqrt(4 + t * t);
    EXPECT_NEAR((OperandLaw{OperandLaw::Kind::student, 4}.cumulative(t)),
                0.5 + 0.75 * (u - u * u * u / 3), 1e-14);
    EXPECT_NEAR((OperandLaw{OperandLaw::Kind::student, 1}.cumulative(t)),
                0.5 + std::atan(t) / std::numbers::pi, 1e-13);
  }
  const OperandLaw gaussian{OperandLaw::Kind::gaussian, 0};
  EXPECT_NEAR(gaussian.cumulative(1.959963984540054), 0.975, 1e-15);
  const OperandLaw loguniform{OperandLaw::Kind::loguniform, 0};
  EXPECT_DOUBLE_EQ(loguniform.cumulative(1), 0.75);
  EXPECT_DOUBLE_EQ(loguniform.cumulative(-0x1p-4), 0.5);
  EXPECT_THROW((OperandLaw{OperandLaw::Kind::codes, 0}.cumulative(1)), Error);
}

TEST(Codes, AreAsLikelyAsTheNumbersThatBecomeThem) {
  const Operand operand = parse_arithmetic("x=int8@tensor(f32,given=0.03)").x;
  const auto shares = code_shares(operand, {OperandLaw::Kind::gaussian, 0});
  ASSERT_TRUE(shares.has_value());
  EXPECT_NEAR(std::accumulate(shares->shares.begin(), shares->shares.end(), 0.0), 1, 1e-15);
  const auto at = [&](double value) {
    const auto found = std::find(shares->values.begin(), shares->values.end(), value);
    return found == shares->values.end()
               ? 0
               : shares->shares[static_cast<size_t>(found - shares->values.begin())];
  };
  const auto below = [](double x) { return std::erfc(-x / std::numbers::sqrt2) / 2; };
  for (const int code : {-127, -3, 0, 1, 50}) {  // what lies within half a step, of f32's
    EXPECT_NEAR(at(code), below((code + 0.5) * 0.03) - below((code - 0.5) * 0.03), 1e-8) << code;
  }
  EXPECT_NEAR(at(127), 1 - below(126.5 * 0.03), 1e-8);
  // Uniform operands of e4m3: between 0.5 and 1 in steps of 1/16, ends included in part.
  const auto uniform = code_shares(parse_arithmetic("x=e4m3").x, {OperandLaw::Kind::uniform, 0});
  const auto share = [&](double value) {
    for (size_t i = 0; i < uniform->values.size(); ++i) {
      if (uniform->values[i] == value) return uniform->shares[i];
    }
    return 0.0;
  };
  EXPECT_NEAR(share(0.75), 1.0 / 32, 1e-7);
  EXPECT_NEAR(share(1), 1.0 / 64, 1e-7);
  EXPECT_NEAR(share(0.5), 3.0 / 128, 1e-7);
}

TEST(Codes, EachAlikeArePairsCountedOneByOne) {
  for (const std::string& text : arithmetics()) {
    const Arithmetic arithmetic = parse_arithmetic(text);
    const OperandLaw law{OperandLaw::Kind::codes, 0};
    const auto x = code_shares(arithmetic.x, law);
    const auto w = code_shares(arithmetic.w, law);
    ASSERT_TRUE(x && w) << text;
    const ProductErrors errors = enumerate_codes(arithmetic, independent_pairs(*x, *w));
    const auto numbers = [](const Format& format) {
      std::vector<Dyadic> all;
      for (uint64_t code = 0; code < uint64_t{1} << format.bits(); ++code) {
        if (format.decode(code).is_finite()) all.push_back(format.decode(code));
      }
      return all;
    };
    const Multiplier multiplier = arithmetic.resolved_multiplier();
    double count = 0, relative = 0, error2 = 0, exact2 = 0, largest = 0;
    for (const Dyadic& a : numbers(arithmetic.x.cast.format)) {
      for (const Dyadic& b : numbers(arithmetic.w.cast.format)) {
        const double exact = to_double(a * b);
        const double product = to_double(multiplier.multiply(a, b));
        if (exact == 0 || !std::isfinite(product)) continue;
        ++count;
        relative += product / exact - 1;
        largest = std::max(largest, std::fabs(product / exact - 1));
        error2 += (product - exact) * (product - exact);
        exact2 += exact * exact;
      }
    }
    ASSERT_GT(count, 100) << text;
    EXPECT_NEAR(errors.bias, relative / count, 1e-12) << text;
    EXPECT_NEAR(errors.nmse, error2 / exact2, 1e-12 * errors.nmse) << text;
    EXPECT_DOUBLE_EQ(errors.max_abs, largest) << text;
  }
}

TEST(Codes, MonteCarloIsWithinThreeStandardErrors) {
  int compared = 0;
  for (const OperandLaw& law : k_laws) {
    const auto blocks = draw_blocks(law, 1000, 1, 1, 64, test::seed());
    for (const std::string& text : arithmetics()) {
      const Arithmetic arithmetic = parse_arithmetic(text);
      ASSERT_TRUE(has_few_codes(arithmetic)) << text;
      const auto x = code_shares(arithmetic.x, law);
      const auto w = code_shares(arithmetic.w, law);
      ASSERT_TRUE(x && w) << text;
      const ProductErrors all = enumerate_codes(arithmetic, independent_pairs(*x, *w));
      const ProductErrors sample = measure_codes(arithmetic, blocks);
      EXPECT_EQ(all.bias_error, 0);
      const auto close = [&](double expected, double found, double error, const char* what) {
        EXPECT_LE(std::fabs(found - expected), 3 * error + 1e-12)
            << to_string(law) << " " << text << " " << what;
        ++compared;
      };
      close(all.bias, sample.bias, sample.bias_error, "bias");
      close(all.mean_abs, sample.mean_abs, sample.mean_abs_error, "mean");
      close(all.mean_step, sample.mean_step, sample.mean_step_error, "step");
      const double zeros = std::sqrt(all.zeros * (1 - all.zeros) / 64000);
      close(all.zeros, sample.zeros, zeros, "zeros");
    }
  }
  EXPECT_EQ(compared, 140);
}

TEST(Codes, OfWideOnesAndOfScalesThatAreDrawnThereAreNone) {
  EXPECT_FALSE(has_few_codes(parse_arithmetic("lmul-m4")));
  const OperandLaw gaussian{OperandLaw::Kind::gaussian, 0};
  EXPECT_FALSE(code_shares(parse_arithmetic("x=int8@row").x, gaussian).has_value());
  EXPECT_FALSE(code_shares(parse_arithmetic("x=e4m3:sr").x, gaussian).has_value());
  EXPECT_TRUE(code_shares(parse_arithmetic("x=int8@row").x, {OperandLaw::Kind::codes, 0}));
}

}  // namespace
}  // namespace napier
