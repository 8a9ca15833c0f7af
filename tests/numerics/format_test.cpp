// What a format says of itself, and all that encoding and decoding have in common, over the
// registry. The values themselves are compared with ml_dtypes and gfloat in test_formats.py.
#include "napier/format.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "random_written.hpp"
#include "support/test_support.hpp"

namespace napier {
namespace {

// The compiler can compute all of it, tables of a format included.
constexpr std::array<float, 16> k_e2m1_table = [] {
  constexpr Format e2m1{2, 1, 1, Specials::none, true, true};
  std::array<float, 16> table{};
  for (uint64_t code = 0; code < 16; ++code) table[code] = to_float(e2m1.decode(code));
  return table;
}();
static_assert(k_e2m1_table[7] == 6.0f && k_e2m1_table[1] == 0.5f && k_e2m1_table[10] == -1.0f);
static_assert(to_float(k_f16.round(Dyadic::from_float(1e9f), Rounding::stochastic,
                                   Overflow::saturate, 1)) == 65504.0f);
static_assert(k_f16.encode(Dyadic::nan(), Rounding::up, Overflow::infinity) == 0x7E00);
static_assert(k_bf16.infinity_code() == 0x7F80 && k_bf16.max_code() == 0x7F7F);

template <class Float>
void expect_limits(const Format& format) {
  using Limits = std::numeric_limits<Float>;
  EXPECT_EQ(to_double(format.max_finite()), static_cast<double>(Limits::max()));
  EXPECT_EQ(to_double(format.min_positive()), static_cast<double>(Limits::denorm_min()));
  EXPECT_EQ(format.min_exponent(), Limits::min_exponent - 1);
  EXPECT_EQ(format.max_exponent(), Limits::max_exponent - 1);
  EXPECT_EQ(format.mantissa_bits, Limits::digits - 1);
  EXPECT_EQ(format.bits(), static_cast<int>(sizeof(Float) * 8));
}

TEST(Format, LimitsAreTheMachines) {
  expect_limits<float>(k_f32);
  expect_limits<double>(k_f64);
  EXPECT_EQ(to_double(k_f16.max_finite()), 65504.0);
  EXPECT_EQ(to_double(k_f16.min_positive()), std::ldexp(1.0, -24));
  EXPECT_EQ(k_f16.min_exponent(), -14);
  EXPECT_EQ(to_double(k_bf16.max_finite()), 0x1.FEp127);
  EXPECT_EQ(to_double(k_bf16.min_positive()), std::ldexp(1.0, -133));
}

// OCP OFP8 1.0 and OCP MX 1.0, as their tables print them.
TEST(Format, LimitsAreTheStandards) {
  const struct {
    const char* name;
    double max;
    double min_normal;
    double min_positive;
  } rows[] = {
      {"e4m3fn", 448, 0x1p-6, 0x1p-9},
      {"e5m2", 57344, 0x1p-14, 0x1p-16},
      {"e3m2fn", 28, 0x1p-2, 0x1p-4},
      {"e2m3fn", 7.5, 1, 0.125},
      {"e2m1fn", 6, 1, 0.5},
      {"e8m0", 0x1p127, 0x1p-127, 0x1p-127},
      {"e4m3fnuz", 240, 0x1p-7, 0x1p-10},
      {"e5m2fnuz", 57344, 0x1p-15, 0x1p-17},
      {"e4m3b11fnuz", 30, 0x1p-10, 0x1p-13},
      {"e3m4", 15.5, 0x1p-2, 0x1p-6},
      {"e4m3ieee", 240, 0x1p-6, 0x1p-9},
  };
  for (const auto& row : rows) {
    const Format format = parse_format(row.name);
    EXPECT_EQ(to_double(format.max_finite()), row.max) << row.name;
    EXPECT_EQ(std::ldexp(1.0, format.min_exponent()), row.min_normal) << row.name;
    EXPECT_EQ(to_double(format.min_positive()), row.min_positive) << row.name;
  }
}

// min_exponent() is the exponent of the smallest number that is not subnormal, by looking.
TEST(Format, MinExponentIsThatOfTheSmallestNormalNumber) {
  for (int e = 1; e <= 8; ++e) {
    for (int m = 0; m <= 4; ++m) {
      for (const char* tail : {"none", "nonenosub", "noneu", "nonenosubu"}) {
        const std::string name = "e" + std::to_string(e) + "m" + std::to_string(m) + tail;
        const Format format = parse_format(name);
        int least = std::numeric_limits<int>::max();
        for (uint64_t code = 0; code <= format.max_code(); ++code) {
          const bool subnormal = format.has_subnormals && code >> m == 0;
          const Dyadic value = format.decode(code);
          if (!subnormal && !value.is_zero()) least = std::min(least, value.exponent);
        }
        EXPECT_EQ(format.min_exponent(), least) << name;
      }
    }
  }
}

// encode(decode(code)) == code for every number's code, under every rounding, of every named format
// and of random shapes.
TEST(Format, CodesRoundTrip) {
  std::vector<Format> formats;
  for (const NamedFormat& named : named_formats()) formats.push_back(named.format);
  test::RandomWritten random(test::seed());
  for (int i = 0; i < (test::full_tier() ? 2000 : 60); ++i) formats.push_back(random.format(32));
  for (const Format& format : formats) {
    const bool every = format.bits() <= 16;
    const uint64_t count = every ? format.code_count() : 20'000;
    for (uint64_t i = 0; i < count; ++i) {
      const uint64_t code =
          every ? i
                : (random.below(1u << 31) << 33 ^ random.below(1u << 31) << 2 ^ i) &
                      (format.bits() == 64 ? ~uint64_t{0} : format.code_count() - 1);
      const Dyadic value = format.decode(code);
      if (value.is_nan()) continue;
      for (const RoundingName& rounding : k_rounding_names) {
        const uint64_t back = format.encode(value, rounding.rounding, Overflow::infinity, 0);
        // A list, or a symmetric integer, may have two codes for a number.
        if (format.is_float() || format.coding == Coding::integer) {
          ASSERT_EQ(back, code) << format_name(format) << " " << rounding.name;
        }
        ASSERT_EQ(format.decode(back), value) << format_name(format) << " " << rounding.name;
      }
    }
  }
}

// Whatever the rule; stochastic with one word for all.
TEST(Format, RoundingIsMonotone) {
  test::RandomWritten random(test::seed());
  for (int i = 0; i < (test::full_tier() ? 3000 : 200); ++i) {
    const Format format = random.format(32);
    if (!format.is_signed) continue;
    std::vector<double> values;
    for (int j = 0; j < 100; ++j) {
      const Dyadic at = format.decode(random.below(format.max_code() + 1));
      values.push_back(to_double(at) * (1 + 1e-3 * static_cast<double>(random.below(1000))) *
                       (random.below(2) ? 1 : -1));
    }
    std::sort(values.begin(), values.end());
    for (const RoundingName& rounding : k_rounding_names) {
      double last = -std::numeric_limits<double>::infinity();
      for (const double value : values) {
        const double rounded = to_double(
            format.round(Dyadic::from_double(value), rounding.rounding, Overflow::saturate, 12345));
        ASSERT_LE(last, rounded) << format_name(format) << " " << rounding.name << " " << value;
        last = rounded;
      }
    }
  }
}

// Stochastic rounding is a pure function of seed, position and value, and its words are spread.
TEST(Rounding, RandomBitsAreUniformEnough) {
  static_assert(random_bits(1, 2, 3) == random_bits(1, 2, 3));
  for (const uint32_t seed : {0u, 1u, 0xFFFFFFFFu}) {
    double sum = 0;
    std::array<int, 32> ones{};
    constexpr int count = 100'000;
    for (int i = 0; i < count; ++i) {
      const uint32_t word = random_bits(seed, static_cast<uint64_t>(i), 42);
      sum += word;
      for (size_t bit = 0; bit < 32; ++bit) ones[bit] += word >> bit & 1;
    }
    // Six standard deviations: 2^32 / sqrt(12 n), and sqrt(n) / 2.
    EXPECT_NEAR(sum / count / 0x1p32, 0.5, 6 / std::sqrt(12.0 * count));
    for (const int n : ones) EXPECT_NEAR(n, count / 2, 3 * std::sqrt(count));
  }
}

}  // namespace
}  // namespace napier
