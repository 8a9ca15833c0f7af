// L-Mul's adder reading against the integer formula its paper ran (Fig. 2): on f32 bit patterns
//   sign = sx ^ sy,   magnitude = (|x| + |y| - 0x3F780000) & 0x7FFFFFFF
// where 0x3F780000 is the bias 127 << 23 less 2^-4 of the mantissa's unit, 1 << 19.
#include <bit>
#include <cstdint>
#include <limits>
#include <random>
#include <string>

#include "napier/arithmetic.hpp"
#include "support/test_support.hpp"

namespace napier {
namespace {

constexpr uint32_t k_magnitude = 0x7FFFFFFF;
constexpr uint32_t k_first_normal = 0x00800000;
constexpr uint32_t k_infinity = 0x7F800000;

// What the formula is silent on: zeros, subnormals, infinities, NaNs, results that are not among
// f32's normal numbers.
bool is_defined(uint32_t x, uint32_t y, uint32_t subtrahend) {
  const uint64_t a = x & k_magnitude;
  const uint64_t b = y & k_magnitude;
  if (a < k_first_normal || a >= k_infinity || b < k_first_normal || b >= k_infinity) return false;
  return a + b >= uint64_t{subtrahend} + k_first_normal &&
         a + b < uint64_t{subtrahend} + k_infinity;
}

uint32_t by_formula(uint32_t x, uint32_t y, uint32_t subtrahend) {
  const uint32_t sign = (x ^ y) & ~k_magnitude;
  return sign | (((x & k_magnitude) + (y & k_magnitude) - subtrahend) & k_magnitude);
}

// Random operands; every other pair has exponents that meet in f32's range.
class Pairs {
 public:
  explicit Pairs(uint64_t seed) : random_(seed) {}

  void next(uint32_t& x, uint32_t& y) {
    const uint64_t word = random_();
    x = static_cast<uint32_t>(word);
    y = static_cast<uint32_t>(word >> 32);
    if (++count_ % 2 == 0) return;
    const uint64_t more = random_();
    const uint32_t field = 1 + more % 254;
    const uint32_t other = static_cast<uint32_t>(254 - field + (more >> 32) % 3);
    x = (x & ~k_infinity) | field << 23;
    y = (y & ~k_infinity) | (other & 0xFF) << 23;
    // Mantissas at both ends, where carries and the offset meet.
    if ((more >> 16) % 8 == 0) x |= 0x7FFFFF & ~((1u << (more >> 40) % 24) - 1);
    if ((more >> 16) % 8 == 1) y &= ~0x7FFFFFu | 1u << (more >> 40) % 23;
  }

 private:
  std::mt19937_64 random_;
  uint64_t count_ = 0;
};

struct Case {
  const char* arithmetic;
  int kept_bits;        // of the operands' mantissas, the rest cut off
  uint32_t subtrahend;  // 0x3F800000 less 2^(23 - l)
};

class Adder : public testing::TestWithParam<Case> {};

TEST_P(Adder, IsTheIntegerFormula) {
  const Case& c = GetParam();
  const Arithmetic arithmetic = parse_arithmetic(c.arithmetic);
  const Multiplier multiplier = arithmetic.resolved_multiplier();
  const uint32_t kept = ~uint32_t{0} << (23 - c.kept_bits);
  Pairs pairs(test::seed());
  const int64_t count = test::full_tier() ? 200'000'000 : 1'000'000;
  int64_t compared = 0;
  for (int64_t i = 0; i < count; ++i) {
    uint32_t x = 0;
    uint32_t y = 0;
    pairs.next(x, y);
    if (!is_defined(x & kept, y & kept, c.subtrahend)) continue;
    ++compared;
    const Dyadic product =
        multiplier.multiply(arithmetic.x.quantise(Dyadic::from_float(std::bit_cast<float>(x))),
                            arithmetic.w.quantise(Dyadic::from_float(std::bit_cast<float>(y))));
    ASSERT_EQ(std::bit_cast<uint32_t>(to_float(product)),
              by_formula(x & kept, y & kept, c.subtrahend))
        << std::hex << x << " * " << y;
  }
  EXPECT_GT(compared, count / 2);
}

INSTANTIATE_TEST_SUITE_P(
    Offsets, Adder,
    testing::Values(Case{"x=f32/w=f32/mul=lmul", 23, 0x3F780000},
                    Case{"x=f32/w=f32/mul=lmul(k=3)", 3, 0x3F800000 - (1 << 20)},
                    Case{"x=f32/w=f32/mul=lmul(k=4)", 4, 0x3F800000 - (1 << 20)},
                    Case{"x=f32/w=f32/mul=lmul(k=7,l=2)", 7, 0x3F800000 - (1 << 21)},
                    Case{"lmul-m2", 2, 0x3F800000 - (1 << 21)},
                    Case{"lmul-m3", 3, 0x3F800000 - (1 << 20)},
                    Case{"lmul-m4", 4, 0x3F800000 - (1 << 20)}, Case{"lmul-m5", 5, 0x3F780000},
                    Case{"lmul-m6", 6, 0x3F780000}, Case{"lmul-m7", 7, 0x3F780000},
                    Case{"x=bf16:rtz/w=bf16:rtz/mul=mitchell", 7, 0x3F800000}),
    [](const auto& info) { return "Case" + std::to_string(info.index); });

// Every exponent of one operand against the exponents at which the product enters and leaves f32's
// range, with mantissas at the carries: all 2^4 x 2^4 pairs of lmul-m4's mantissas.
TEST(AdderDirected, EveryMantissaPairAtTheEdgesOfTheRange) {
  const Arithmetic arithmetic = parse_arithmetic("lmul-m4");
  const Multiplier multiplier = arithmetic.resolved_multiplier();
  constexpr uint32_t subtrahend = 0x3F800000 - (1 << 20);
  int64_t compared = 0;
  for (uint32_t field = 1; field < 255; ++field) {
    for (const uint32_t sum : {126u, 127u, 128u, 129u, 254u, 380u, 381u, 382u}) {
      if (sum <= field || sum - field > 254) continue;
      for (uint32_t mantissas = 0; mantissas < 256; ++mantissas) {
        const uint32_t x = field << 23 | (mantissas >> 4) << 19;
        const uint32_t y = (sum - field) << 23 | (mantissas & 15) << 19 | 1u << 31;
        const Dyadic product = multiplier.multiply(Dyadic::from_float(std::bit_cast<float>(x)),
                                                   Dyadic::from_float(std::bit_cast<float>(y)));
        const float rounded = to_float(product);
        if (is_defined(x, y, subtrahend)) {
          ++compared;
          ASSERT_EQ(std::bit_cast<uint32_t>(rounded), by_formula(x, y, subtrahend))
              << std::hex << x << " * " << y;
        } else if (sum >= 380) {
          ASSERT_EQ(rounded, -std::numeric_limits<float>::max()) << "saturates";
        } else {
          ASSERT_GT(rounded, -2 * std::numeric_limits<float>::min()) << "a subnormal";
        }
      }
    }
  }
  EXPECT_GT(compared, 100'000);
}

// The offsets of the paper's l(k), and what the two readings say of 1.5 * 1.5 with k = 3:
// s = 1/2 + 1/2 + 1/8; adder 2 s = 2.25, formula 1 + s = 2.125.
TEST(Lmul, WorkedExample) {
  const int expected[] = {0, 1, 2, 3, 3, 4, 4, 4};
  for (int k = 0; k < 8; ++k) EXPECT_EQ(lmul_offset_bits(k), expected[k]);
  EXPECT_EQ(lmul_offset_bits(23), 4);
  const Dyadic x = Dyadic::from_float(1.5f);
  const auto product = [&](const char* text) {
    return to_float(parse_arithmetic(text).resolved_multiplier().multiply(x, x));
  };
  EXPECT_EQ(product("x=e8m3/w=e8m3/mul=lmul"), 2.25f);
  EXPECT_EQ(product("x=e8m3/w=e8m3/mul=lmul(reading=formula)"), 2.125f);
  EXPECT_EQ(product("x=e8m3/w=e8m3/mul=lmul(l=0)"), 2.0f);
  EXPECT_EQ(product("x=e8m3/w=e8m3/mul=mitchell"), 2.0f);
  EXPECT_EQ(product("x=e8m3/w=e8m3/mul=exact"), 2.25f);
}

}  // namespace
}  // namespace napier
