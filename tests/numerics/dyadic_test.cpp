// Exact numbers against the machine's own floating point and against 128-bit integers.
#include "napier/dyadic.hpp"

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "napier/format.hpp"
#include "support/test_support.hpp"

namespace napier {
namespace {

// All of it can be computed by the compiler.
constexpr Dyadic from_int(int value, int scale = 0) {
  return Dyadic::make(value < 0, static_cast<uint64_t>(value < 0 ? -value : value), scale);
}
static_assert(from_int(3) * from_int(-5) == from_int(-15));
static_assert(from_int(3, 1000) + from_int(5, 1000) == from_int(8, 1000));
static_assert(from_int(7) + from_int(-7) == Dyadic::zero());
static_assert((Dyadic::zero(true) + Dyadic::zero(true)).negative);
static_assert(!(Dyadic::zero(true) + Dyadic::zero(false)).negative);
static_assert((Dyadic::infinity() * Dyadic::zero()).is_nan());
static_assert((Dyadic::infinity() + -Dyadic::infinity()).is_nan());
static_assert(Dyadic::from_float(0.5f) == from_int(1, -1));
static_assert(Dyadic::from_double(-0.75) == from_int(-3, -2));
static_assert(to_float(from_int(1, 128)) == std::numeric_limits<float>::infinity());
static_assert(to_float(from_int(0xFFFFFF, 104)) == std::numeric_limits<float>::max());
static_assert(to_double(from_int(1, -1074)) == std::numeric_limits<double>::denorm_min());
static_assert(k_f16.decode(0x7BFF) == from_int(65504));
static_assert(k_bf16.encode(from_int(1), Rounding::nearest_even, Overflow::saturate) == 0x3F80);
static_assert(compare_magnitude(from_int(-3), from_int(2)) == 1);

// Bit patterns of every class: random ones, random signs and mantissas at the exponents' edges.
template <class Float, class Bits, int k_mantissa_bits>
class Patterns {
 public:
  explicit Patterns(uint64_t seed) : random_(seed) {}

  Float next() {
    constexpr Bits exponent_mask = (std::bit_cast<Bits>(std::numeric_limits<Float>::infinity()));
    constexpr Bits last_field = exponent_mask >> k_mantissa_bits;
    constexpr Bits mantissa_mask = (Bits{1} << k_mantissa_bits) - 1;
    Bits bits = static_cast<Bits>(random_());
    const uint64_t choice = random_();
    if (choice % 4 != 0) {  // near the last one, so that sums cancel and carry
      Bits field = (last_ >> k_mantissa_bits & last_field) + choice / 4 % 9 - 4;
      if (choice % 4 == 1) field = choice / 64 % 2 ? choice / 4 % 4 : last_field - choice / 4 % 4;
      bits = (bits & ~exponent_mask) | (field & last_field) << k_mantissa_bits;
    }
    if (choice >> 60 == 0) bits &= ~mantissa_mask;
    if (choice >> 60 == 1) bits |= mantissa_mask;
    if (choice >> 60 == 2) bits = last_ ^ (Bits{1} << (sizeof(Bits) * 8 - 1));
    last_ = bits;
    return std::bit_cast<Float>(bits);
  }

 private:
  std::mt19937_64 random_;
  Bits last_ = 0;
};

template <class Float>
bool same(Float a, Float b) {
  if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && std::isnan(b);
  return a == b && std::signbit(a) == std::signbit(b);
}

int64_t repetitions() { return test::full_tier() ? 100'000'000 : 2'000'000; }

// f32's products have 48 bits and its sums are rounded to odd: one rounding to f32 must give what
// the machine gives, a fused multiply-add too.
TEST(Dyadic, FloatArithmeticIsTheMachines) {
  Patterns<float, uint32_t, 23> patterns(test::seed());
  for (int64_t i = 0; i < repetitions(); ++i) {
    const float a = patterns.next();
    const float b = patterns.next();
    const float c = patterns.next();
    const Dyadic x = Dyadic::from_float(a);
    const Dyadic y = Dyadic::from_float(b);
    ASSERT_TRUE(same(to_float(x), a)) << a;
    ASSERT_TRUE(same(to_float(x * y), a * b)) << a << " * " << b;
    ASSERT_TRUE(same(to_float(x + y), a + b)) << a << " + " << b;
    ASSERT_TRUE(same(to_float(x * y + Dyadic::from_float(c)), std::fma(a, b, c)))
        << a << " * " << b << " + " << c;
  }
}

TEST(Dyadic, DoubleArithmeticIsTheMachines) {
  Patterns<double, uint64_t, 52> patterns(test::seed());
  for (int64_t i = 0; i < repetitions(); ++i) {
    const double a = patterns.next();
    const double b = patterns.next();
    const Dyadic x = Dyadic::from_double(a);
    const Dyadic y = Dyadic::from_double(b);
    ASSERT_TRUE(same(to_double(x), a)) << a;
    ASSERT_TRUE(same(to_double(x * y), a * b)) << a << " * " << b;
    ASSERT_TRUE(same(to_double(x + y), a + b)) << a << " + " << b;
    ASSERT_TRUE(same(to_float(x), static_cast<float>(a))) << a;
  }
}

// |integer| rounded to its first `bits` bits, as an integer again; integers of up to 127 bits.
uint128 rounded(uint128 integer, int bits, bool negative, Rounding rounding) {
  int length = 0;
  while (length < 128 && integer >> length != 0) ++length;
  if (length <= bits) return integer;
  const uint128 unit = uint128{1} << (length - bits);
  const uint128 low = integer / unit * unit;
  const uint128 rest = integer - low;
  if (rest == 0) return low;
  bool up = false;
  switch (rounding) {
    case Rounding::nearest_even:
      up = rest > unit / 2 || (rest == unit / 2 && low / unit % 2);
      break;
    case Rounding::nearest_away: up = rest >= unit / 2; break;
    case Rounding::up: up = !negative; break;
    case Rounding::down: up = negative; break;
    case Rounding::to_odd: up = low / unit % 2 == 0; break;
    default: break;
  }
  return up ? low + unit : low;
}

// Rounding to odd first must not show: rounding the exact sum or product of two 64-bit numbers to
// p <= 62 bits at once gives the same.
TEST(Dyadic, RoundingToOddIsInnocuous) {
  std::mt19937_64 random(test::seed());
  const int64_t count = repetitions() / 20;
  for (int64_t i = 0; i < count; ++i) {
    // Long runs of ones and zeros make ties and near ties.
    const auto ragged = [&] {
      const uint64_t word = random() >> random() % 64;
      switch (random() % 4) {
        case 0: return word | uint64_t{1} << 63;
        case 1: return ~uint64_t{0} << random() % 64;
        case 2: return (~uint64_t{0} << random() % 64) ^ word % 3;
        default: return (uint64_t{1} << random() % 64) + word % 3;
      }
    };
    const uint64_t a = ragged();
    const uint64_t b = ragged();
    const int shift = static_cast<int>(random() % 63);
    const bool subtract = random() % 2;
    const uint128 high = uint128{a} << shift;
    const bool swapped = subtract && high < b;
    const uint128 sum = !subtract ? high + b : swapped ? b - high : high - b;
    const Dyadic x = Dyadic::make(false, a, shift);
    const Dyadic y = Dyadic::make(subtract, b, 0);
    const struct {
      Dyadic got;
      uint128 exact;  // the same number in units of 2^scale
      int scale;
      bool negative;
    } cases[] = {{x + y, sum, 0, swapped}, {x * y, uint128{a} * b, shift, subtract}};
    for (const auto& [got, exact, scale, negative] : cases) {
      if (exact >> 127 != 0) continue;
      if (exact == 0) {
        ASSERT_TRUE(got.is_zero());
        continue;
      }
      ASSERT_EQ(got.negative, negative);
      const int up = got.exponent - 63 - scale;  // got = significand * 2^up in those units
      for (const int bits : {2, 3, 8, 11, 24, 53, 61, 62}) {
        for (const Rounding rounding :
             {Rounding::nearest_even, Rounding::nearest_away, Rounding::toward_zero, Rounding::up,
              Rounding::down, Rounding::to_odd}) {
          const uint128 once = rounded(exact, bits, negative, rounding);
          const uint128 twice = rounded(got.significand, bits, negative, rounding);
          ASSERT_TRUE(twice == (up >= 0 ? once >> up : once << -up))
              << a << " * 2^" << shift << (subtract ? " - " : " + ") << b << " to " << bits;
        }
      }
    }
  }
}

// Where one number is far below the other only its being there may count.
TEST(Dyadic, DistantSums) {
  for (int distance = 0; distance < 2200; ++distance) {
    const Dyadic one = Dyadic::make(false, 1, 0);
    const Dyadic tiny = Dyadic::make(false, 1, -distance);
    const Dyadic above = one + tiny;
    const Dyadic below = one + -tiny;
    if (distance == 0) {
      EXPECT_EQ(above, Dyadic::make(false, 2, 0));
      EXPECT_TRUE(below.is_zero());
      continue;
    }
    EXPECT_EQ(compare_magnitude(above, one), 1) << distance;
    EXPECT_EQ(compare_magnitude(below, one), -1) << distance;
    EXPECT_EQ(above.exponent, 0);
    EXPECT_EQ(below.exponent, -1);
    if (distance <= 63) {
      EXPECT_EQ(above.significand, (uint64_t{1} << 63) + (uint64_t{1} << (63 - distance)));
      EXPECT_EQ(above + -tiny, one);
      EXPECT_EQ(below + tiny, one);
    } else {
      EXPECT_EQ(above.significand, (uint64_t{1} << 63) + 1);
    }
  }
}

}  // namespace
}  // namespace napier
