// What stands around a product, against sums written out here in f64 and in integers.
#include "napier/treatment.hpp"

#include <cmath>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "napier/error.hpp"
#include "napier/gemm.hpp"
#include "napier/plan.hpp"
#include "support/test_support.hpp"

namespace napier {
namespace {

struct Case {
  int64_t m, n, k;
  std::vector<float> x, w;

  Case(int64_t m, int64_t n, int64_t k) : m(m), n(n), k(k) {
    std::mt19937 random(static_cast<uint32_t>(test::seed()));
    std::normal_distribution<float> normal;
    for (int64_t i = 0; i < m * k; ++i) x.push_back(normal(random));
    for (int64_t i = 0; i < n * k; ++i) w.push_back(normal(random) / 8);
  }
  float at_x(int64_t i, int64_t c) const { return x[static_cast<size_t>(i * k + c)]; }
  float at_w(int64_t j, int64_t c) const { return w[static_cast<size_t>(j * k + c)]; }

  std::vector<float> under(const Rule& rule) const {
    ThreadPool pool(2);
    const auto reader = [this](const std::vector<float>& data) -> RowReader {
      return [this, &data](int64_t row, float* to) { std::copy_n(data.data() + row * k, k, to); };
    };
    const auto packed = pack_weights(rule.arithmetic, rule.treatments, n, k, reader(w), pool);
    EXPECT_EQ(packed->n(), n);
    EXPECT_EQ(packed->k(), k);
    std::vector<float> out(static_cast<size_t>(m * n));
    packed->multiply(m, reader(x), out.data(), n, pool);
    return out;
  }
  std::vector<float> under(const std::string& text) const {
    return under(parse_plan(text).rules[0]);
  }

  template <class Element>
  std::vector<double> sums(const Element& product) const {
    std::vector<double> out;
    for (int64_t i = 0; i < m; ++i) {
      for (int64_t j = 0; j < n; ++j) {
        double sum = 0;
        for (int64_t c = 0; c < k; ++c) sum += product(i, j, c);
        out.push_back(sum);
      }
    }
    return out;
  }
};

void expect_near(const std::vector<float>& got, const std::vector<double>& wanted,
                 double relative) {
  double largest = 0;
  for (const double value : wanted) largest = std::max(largest, std::fabs(value));
  for (size_t i = 0; i < got.size(); ++i) {
    ASSERT_NEAR(double{got[i]}, wanted[i], largest * relative) << "at " << i;
  }
}

double distance(const std::vector<float>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return std::sqrt(sum);
}

// arXiv 2208.07339, eq. 8: columns with a magnitude of 6 or more apart, the others by vector-wise
// int8. Computed in integers and f64; the weights' scales are of all columns, as in bitsandbytes.
TEST(TreatmentsTest, OutliersAreLlmInt8) {
  Case c(9, 21, 64);
  for (int64_t i = 0; i < c.m; ++i) c.x[static_cast<size_t>(i * c.k + 5)] *= 40;
  c.x[static_cast<size_t>(3 * c.k + 17)] = -6.0f;  // the threshold itself, in one row alone
  std::set<int64_t> outliers;
  for (int64_t i = 0; i < c.m; ++i) {
    for (int64_t col = 0; col < c.k; ++col) {
      if (std::fabs(c.at_x(i, col)) >= 6) outliers.insert(col);
    }
  }
  ASSERT_TRUE(outliers.count(5) && outliers.count(17));
  const auto scale = [&](const std::vector<float>& data, int64_t row, bool all) {
    double largest = 0;
    for (int64_t col = 0; col < c.k; ++col) {
      if (!all && outliers.count(col)) continue;
      largest = std::max(largest, double{std::fabs(data[static_cast<size_t>(row * c.k + col)])});
    }
    return double{static_cast<float>(largest / 127)};
  };
  const auto wanted = c.sums([&](int64_t i, int64_t j, int64_t col) {
    const double x = double{c.at_x(i, col)};
    const double w = double{c.at_w(j, col)};
    if (outliers.count(col)) return x * w;
    const double sx = scale(c.x, i, false);
    const double sw = scale(c.w, j, true);
    return std::nearbyint(x / sx) * std::nearbyint(w / sw) * sx * sw;
  });
  expect_near(c.under("int8-int32 with outliers(6,f32)"), wanted, 1e-6);
  const auto exact = c.sums([&](int64_t i, int64_t j, int64_t col) {
    return double{c.at_x(i, col)} * double{c.at_w(j, col)};
  });
  EXPECT_LT(5 * distance(c.under("int8-int32 with outliers"), exact),
            distance(c.under("int8-int32"), exact));
}

TEST(TreatmentsTest, WithoutOutliersNothingChanges) {
  const Case c(4, 5, 32);
  EXPECT_EQ(c.under("int8 with outliers(1000)"), c.under("int8"));
}

TEST(TreatmentsTest, EqualisingKeepsTheProduct) {
  Case c(6, 7, 48);
  Rule rule = parse_plan("f32 with equalise").rules[0];
  MatrixNumbers numbers;
  for (int64_t i = 0; i < c.k; ++i)
    numbers.factors.push_back(std::exp2f(static_cast<float>(i % 9) - 4));
  rule.treatments[0].numbers = std::make_shared<MatrixNumbers>(numbers);
  // Powers of two change no bit.
  EXPECT_EQ(c.under(rule), c.under("f32"));
  numbers.factors.pop_back();
  rule.treatments[0].numbers = std::make_shared<MatrixNumbers>(numbers);
  EXPECT_THROW(c.under(rule), Error);
}

TEST(TreatmentsTest, LowRankIsAdded) {
  const Case c(5, 11, 32);
  Rule rule = parse_plan("x=f32/w=int4@row with lowrank(2,f32)").rules[0];
  MatrixNumbers numbers;
  for (int64_t i = 0; i < c.n * 2; ++i) numbers.left.push_back(static_cast<float>(i % 5) - 2);
  for (int64_t i = 0; i < c.k * 2; ++i) numbers.right.push_back(static_cast<float>(i % 7) / 8);
  rule.treatments[0].numbers = std::make_shared<MatrixNumbers>(numbers);
  std::vector<double> wanted;
  const std::vector<float> plain = c.under("x=f32/w=int4@row");
  for (int64_t i = 0; i < c.m; ++i) {
    for (int64_t j = 0; j < c.n; ++j) {
      double sum = plain[static_cast<size_t>(i * c.n + j)];
      for (int64_t r = 0; r < 2; ++r) {
        for (int64_t col = 0; col < c.k; ++col) {
          sum += double{c.at_x(i, col)} * numbers.right[static_cast<size_t>(r * c.k + col)] *
                 numbers.left[static_cast<size_t>(j * 2 + r)];
        }
      }
      wanted.push_back(sum);
    }
  }
  expect_near(c.under(rule), wanted, 1e-6);
  numbers.left.pop_back();
  rule.treatments[0].numbers = std::make_shared<MatrixNumbers>(numbers);
  EXPECT_THROW(c.under(rule), Error);
}

// arXiv 2107.07305: y_t = y_{t-1} + W (q_t - q_{t-1}) is W q_t.
TEST(TreatmentsTest, DifferencesSumToTheDenseResult) {
  const Case c(12, 6, 40);
  for (const double theta : {0.25, 0.1, 1.0 / 65536}) {
    const auto wanted = c.sums([&](int64_t i, int64_t j, int64_t col) {
      return std::nearbyint(double{c.at_x(i, col)} / theta) * theta * double{c.at_w(j, col)};
    });
    expect_near(c.under("f32 with delta(" + std::to_string(theta) + ")"), wanted, 2e-5);
  }
  const auto dense = c.under("f32");
  expect_near(c.under("f32 with delta(1e-6)"), {dense.begin(), dense.end()}, 1e-5);
}

// What was computed before does not change a row: neither the size of calls, nor where one ends.
TEST(TreatmentsTest, DifferencesGoOnFromCallToCall) {
  const Case c(12, 6, 40);
  const Rule rule = parse_plan("* -> f32 with delta(0.5)").rules[0];
  ThreadPool pool(2);
  const auto reader = [&](int64_t from) {
    return [&c, from](int64_t row, float* to) {
      for (int64_t col = 0; col < 40; ++col) to[col] = c.at_x(from + row, col);
    };
  };
  const auto packed = pack_weights(
      rule.arithmetic, rule.treatments, 6, 40,
      [&](int64_t row, float* to) {
        for (int64_t col = 0; col < 40; ++col) to[col] = c.at_w(row, col);
      },
      pool);
  MatmulHistory whole;
  std::vector<float> wanted(12 * 6);
  packed->multiply_after(whole, 12, reader(0), wanted.data(), 6, pool);

  uint64_t zeros = 0;
  for (int64_t row = 0; row < 12; ++row) {
    for (int64_t col = 0; col < 40; ++col) {
      const double last = row == 0 ? 0 : std::nearbyint(double{c.at_x(row - 1, col)} / 0.5);
      zeros += std::nearbyint(double{c.at_x(row, col)} / 0.5) == last;
    }
  }
  EXPECT_GT(zeros, 0U);
  EXPECT_EQ(whole.counts.skipped, zeros * 6);

  MatmulHistory pieces;
  std::vector<float> got(12 * 6);
  int64_t row = 0;
  for (const int64_t rows : {1, 4, 1, 6}) {
    packed->multiply_after(pieces, rows, reader(row), got.data() + row * 6, 6, pool);
    row += rows;
  }
  EXPECT_EQ(got, wanted);
  EXPECT_EQ(pieces.counts.skipped, whole.counts.skipped);
  pieces.forget();  // and begin anew
  packed->multiply_after(pieces, 12, reader(0), got.data(), 6, pool);
  EXPECT_EQ(got, wanted);
}

TEST(TreatmentsTest, ResultsAreRoundedAsOperandsAre) {
  const Case c(5, 24, 16);
  const std::vector<float> plain = c.under("f32");
  const auto check = [&](const std::string& operand, const auto& rounded) {
    const std::vector<float> got = c.under("f32 with result(" + operand + ")");
    for (size_t i = 0; i < got.size(); ++i) {
      EXPECT_FLOAT_EQ(got[i], static_cast<float>(rounded(double{plain[i]}, i))) << operand << i;
    }
  };
  check("int8@tensor(f32,given=0.0625)", [](double y, size_t) {
    return std::clamp(std::nearbyint(y / 0.0625), -128.0, 127.0) * 0.0625;
  });
  check("uint8@tensor(f32,given=0.03125:100)", [](double y, size_t) {
    return std::clamp(std::nearbyint(y / 0.03125), -100.0, 155.0) * 0.03125;
  });
  check("int4s@row", [&](double y, size_t i) {
    double largest = 0;
    for (size_t j = i / 24 * 24; j < i / 24 * 24 + 24; ++j) {
      largest = std::max(largest, std::fabs(double{plain[j]}));
    }
    const double scale = double{static_cast<float>(largest / 7)};
    return std::nearbyint(y / scale) * scale;
  });
}

__extension__ typedef __int128 Integer;  // holds every number of the pipeline

// HAWQ-V3 as its paper and code have it, in integers alone but for the scales: q = clip(round(x /
// S)), sums that saturate or wrap at every addition, y = clip(round(sum m / 2^e)).
struct Pipeline {
  const char* x;
  const char* w;
  const char* accumulator;
  int64_t k;
  double x_scale = 0.03;
  int x_low = -128, x_high = 127, x_zero = 0;
  int w_largest = 127;
  int sum_bits = 32;
  bool sums_wrap = false;
  const char* rounding = "";
  double y_scale = 0.25;

  std::string written() const {
    return std::string("x=") + x + "/w=" + w + "/acc=" + accumulator + " with dyadic(int8" +
           rounding + "@tensor(f32,given=0.25))";
  }
  int w_low() const {
    return std::string_view(w).starts_with("int16s") ? -w_largest : -w_largest - 1;
  }
};

// n / 2^e to an integer: to nearest even, or as `rounding` says.
Integer shifted(Integer n, int e, std::string_view rounding) {
  if (e <= 0) return n << -e;
  const Integer floor = n >> e;
  const Integer rest = n - (floor << e);
  const Integer half = Integer{1} << (e - 1);
  if (rounding == ":rtz") return floor + (n < 0 && rest != 0);
  if (rounding == ":rna") return floor + (rest > half || (rest == half && n >= 0));
  return floor + (rest > half || (rest == half && (floor & 1) != 0));
}

TEST(TreatmentsTest, DyadicIsHawqsIntegerPipeline) {
  const std::vector<Pipeline> pipelines = {
      {.x = "int8@tensor(f32,given=0.03)", .w = "int8@row", .accumulator = "int32", .k = 300},
      {.x = "int8@tensor(f32,given=0.03)", .w = "int8@row", .accumulator = "exact", .k = 300},
      {.x = "int8@tensor(f32,given=0.003)",
       .w = "int8@row",
       .accumulator = "int32",
       .k = 5000,
       .x_scale = 0.003},
      {.x = "uint8@tensor(f32,given=0.02:100)",
       .w = "int4@row",
       .accumulator = "int32",
       .k = 64,
       .x_scale = 0.02,
       .x_low = 0,
       .x_high = 255,
       .x_zero = 100,
       .w_largest = 7},
      {.x = "int8@tensor(f32,given=0.03)",
       .w = "int8@row",
       .accumulator = "int16",
       .k = 300,
       .sum_bits = 16},
      {.x = "int8@tensor(f32,given=0.03)",
       .w = "int8@row",
       .accumulator = "int18:wrap",
       .k = 300,
       .sum_bits = 18,
       .sums_wrap = true},
      {.x = "int16s@tensor(f32,given=0.0001)",
       .w = "int16s@row",
       .accumulator = "int32",
       .k = 100,
       .x_scale = 0.0001,
       .x_low = -32767,
       .x_high = 32767,
       .w_largest = 32767},
      {.x = "int16s@tensor(f32,given=0.0001)",
       .w = "int16s@row",
       .accumulator = "int48",
       .k = 100,
       .x_scale = 0.0001,
       .x_low = -32767,
       .x_high = 32767,
       .w_largest = 32767,
       .sum_bits = 48},
      {.x = "int8@tensor(f32,given=0.03)",
       .w = "int8@row",
       .accumulator = "int32",
       .k = 31,
       .rounding = ":rtz"},
      {.x = "int8@tensor(f32,given=0.03)",
       .w = "int8@row",
       .accumulator = "int32",
       .k = 31,
       .rounding = ":rna"},
  };
  for (const Pipeline& p : pipelines) {
    SCOPED_TRACE(p.written());
    const Case c(5, 23, p.k);
    const std::vector<float> got = c.under(p.written());
    const Integer lowest = -(Integer{1} << (p.sum_bits - 1));
    const Integer modulus = Integer{1} << p.sum_bits;
    std::set<float> seen;
    for (int64_t j = 0; j < c.n; ++j) {
      float largest = 0;
      for (int64_t col = 0; col < c.k; ++col)
        largest = std::max(largest, std::fabs(c.at_w(j, col)));
      const auto w_scale = static_cast<float>(double{largest} / p.w_largest);
      const auto x_scale = static_cast<float>(p.x_scale);
      const double ratio =
          double{static_cast<float>(double{x_scale} * double{w_scale})} / p.y_scale;
      int exponent = 0;
      const double mantissa = std::frexp(ratio, &exponent);
      const auto m = static_cast<Integer>(std::floor(mantissa * 2147483648.0 + 0.5));
      for (int64_t i = 0; i < c.m; ++i) {
        Integer sum = 0;
        for (int64_t col = 0; col < c.k; ++col) {
          const double x = std::clamp(std::nearbyint(double{c.at_x(i, col)} / double{x_scale}),
                                      double(p.x_low - p.x_zero), double(p.x_high - p.x_zero));
          const double w = std::clamp(std::nearbyint(double{c.at_w(j, col)} / double{w_scale}),
                                      double(p.w_low()), double(p.w_largest));
          sum += static_cast<Integer>(x) * static_cast<Integer>(w);
          if (p.sums_wrap) {
            sum = ((sum - lowest) % modulus + modulus) % modulus + lowest;
          } else {
            sum = std::clamp(sum, lowest, Integer(-lowest - 1));
          }
        }
        const Integer y =
            std::clamp(shifted(sum * m, 31 - exponent, p.rounding), Integer{-128}, Integer{127});
        const auto wanted = static_cast<float>(static_cast<double>(y) * p.y_scale);
        ASSERT_EQ(got[static_cast<size_t>(i * c.n + j)], wanted) << i << ", " << j;
        seen.insert(wanted);
      }
    }
    EXPECT_GT(seen.size(), 8u);  // not all at the ends
  }
}

TEST(TreatmentsTest, DyadicSaysWhatItNeeds) {
  const Case c(1, 2, 16);
  for (const auto& [text, word] : std::vector<std::pair<std::string, std::string>>{
           {"int8-int32 with dyadic(int8@tensor)", "given"},
           {"int8 with dyadic(int8@tensor(f32,given=1))", "acc=int32"},
           {"int8/acc=int32(chunk=2,outer=f32) with dyadic(int8@tensor(f32,given=1))", "acc=int32"},
           {"fp8-row/acc=int32 with dyadic(int8@tensor(f32,given=1))", "integers"},
           {"x=int8@block8/w=int8@row/acc=int32 with dyadic(int8@tensor(f32,given=1))", "row"},
           {"x=int8@row/w=int8@column/acc=int32 with dyadic(int8@tensor(f32,given=1))", "row"},
           {"int8-int32/mul=lmul with dyadic(int8@tensor(f32,given=1))", "exact"},
       }) {
    try {
      c.under(text);
      ADD_FAILURE() << text << " was taken";
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << error.what();
    }
  }
}

TEST(TreatmentsTest, WhatLacksItsNumbersSaysSo) {
  const Case c(1, 2, 16);
  for (const TreatmentForm& form : treatment_forms()) {
    if (form.needs.empty()) continue;
    EXPECT_THROW(c.under("f32 with " + std::string(form.name)), Error) << form.name;
  }
}

TEST(TreatmentsTest, WrittenFormsAreHeldToTheirOrder) {
  EXPECT_EQ(to_string(parse_plan("* -> int8 with outliers")),

            "* -> " + to_string(parse_arithmetic("int8")) + " with outliers(6,f16)");
  for (const char* wrong :
       {"int8 with", "int8 with nothing", "int8 with outliers outliers", "int8 with outliers(0)",
        "int8 with outliers lowrank", "int8 with outliers(6", "int8 with lowrank(8,mxfp4)",
        "int8 with result", "int8 with result(int8@tensor(f32,given=1:200))", "with outliers",
        "int8 with lowrank(0)", "int8 with outliers(6,f16)x", "int8 with dyadic",
        "int8 with dyadic(e4m3@tensor)", "int8 with dyadic(int8@row)", "int8 with dyadic(int8)",
        "int8 with dyadic(int8:wrap@tensor)", "int8 with dyadic(int8@tensor) outliers"}) {
    EXPECT_THROW(parse_plan(wrong), ParseError) << wrong;
  }
}

}  // namespace
}  // namespace napier
