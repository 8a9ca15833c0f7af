// Exact dyadic numbers: every value of every format, and every product of two of them, is one.
// Pure integer arithmetic, so results depend on no compiler flag and no rounding mode.
#pragma once

#include <bit>
#include <cstdint>

namespace napier {

__extension__ typedef unsigned __int128 uint128;

// A signed zero, a number (-1)^negative * significand * 2^(exponent - 63), an infinity or a NaN.
// Invariant for `finite`: bit 63 of the significand is set, so exponent == floor(log2 |value|) and
// equal values have equal members.
//
// Results wider than 64 bits are rounded to odd (the last bit set when anything was lost): a later
// rounding to p <= 62 bits then gives what rounding the exact result would have given
// (Boldo & Melquiond, "Emulation of FMA and correctly rounded sums", 2008).
struct Dyadic {
  enum class Kind : uint8_t { zero, finite, infinite, nan };

  Kind kind = Kind::zero;
  bool negative = false;
  int exponent = 0;
  uint64_t significand = 0;

  static constexpr Dyadic zero(bool negative = false) { return {Kind::zero, negative, 0, 0}; }
  static constexpr Dyadic infinity(bool negative = false) {
    return {Kind::infinite, negative, 0, 0};
  }
  static constexpr Dyadic nan() { return {Kind::nan, false, 0, 0}; }

  // (-1)^negative * integer * 2^scale, exactly.
  static constexpr Dyadic make(bool negative, uint64_t integer, int scale) {
    if (integer == 0) return zero(negative);
    const int shift = std::countl_zero(integer);
    return {Kind::finite, negative, scale + 63 - shift, integer << shift};
  }

  // As above for a 128-bit integer, rounded to odd where it has more than 64 significant bits.
  static constexpr Dyadic make_to_odd(bool negative, uint128 integer, int scale) {
    const uint64_t high = static_cast<uint64_t>(integer >> 64);
    if (high == 0) return make(negative, static_cast<uint64_t>(integer), scale);
    const int drop = 64 - std::countl_zero(high);
    const bool lost = (integer & ((uint128{1} << drop) - 1)) != 0;
    return make(negative, static_cast<uint64_t>(integer >> drop) | (lost ? 1 : 0), scale + drop);
  }

  static constexpr Dyadic from_float(float value) {
    const uint32_t bits = std::bit_cast<uint32_t>(value);
    const bool negative = bits >> 31;
    const uint32_t field = (bits >> 23) & 0xFF;
    const uint32_t mantissa = bits & 0x7FFFFF;
    if (field == 0xFF) return mantissa ? nan() : infinity(negative);
    if (field == 0) return make(negative, mantissa, -149);
    return make(negative, mantissa | 0x800000, static_cast<int>(field) - 150);
  }

  static constexpr Dyadic from_double(double value) {
    const uint64_t bits = std::bit_cast<uint64_t>(value);
    const bool negative = bits >> 63;
    const int field = static_cast<int>((bits >> 52) & 0x7FF);
    const uint64_t mantissa = bits & ((uint64_t{1} << 52) - 1);
    if (field == 0x7FF) return mantissa ? nan() : infinity(negative);
    if (field == 0) return make(negative, mantissa, -1074);
    return make(negative, mantissa | (uint64_t{1} << 52), field - 1075);
  }

  constexpr bool is_zero() const { return kind == Kind::zero; }
  constexpr bool is_finite() const { return kind == Kind::zero || kind == Kind::finite; }
  constexpr bool is_infinite() const { return kind == Kind::infinite; }
  constexpr bool is_nan() const { return kind == Kind::nan; }

  constexpr Dyadic operator-() const {
    Dyadic result = *this;
    if (!is_nan()) result.negative = !negative;
    return result;
  }

  // value * 2^power.
  constexpr Dyadic scaled(int power) const {
    Dyadic result = *this;
    if (kind == Kind::finite) result.exponent += power;
    return result;
  }

  constexpr bool operator==(const Dyadic&) const = default;
};

// Order of |a| and |b| for numbers and infinities (-1, 0, 1).
constexpr int compare_magnitude(const Dyadic& a, const Dyadic& b) {
  const auto rank = [](const Dyadic& v) { return v.is_infinite() ? 2 : v.is_zero() ? 0 : 1; };
  if (rank(a) != rank(b)) return rank(a) < rank(b) ? -1 : 1;
  if (a.exponent != b.exponent) return a.exponent < b.exponent ? -1 : 1;
  if (a.significand != b.significand) return a.significand < b.significand ? -1 : 1;
  return 0;
}

// Order of numbers and infinities; both zeros are equal.
constexpr int compare(const Dyadic& a, const Dyadic& b) {
  const bool a_below = a.negative && !a.is_zero();
  const bool b_below = b.negative && !b.is_zero();
  if (a_below != b_below) return a_below ? -1 : 1;
  return a_below ? compare_magnitude(b, a) : compare_magnitude(a, b);
}

// Exact where the significands have at most 64 bits together (any two operands of up to 32 bits),
// else rounded to odd. Zero times a number is a zero with the xor'ed sign, zero times infinity NaN.
constexpr Dyadic operator*(const Dyadic& a, const Dyadic& b) {
  if (a.is_nan() || b.is_nan()) return Dyadic::nan();
  const bool negative = a.negative != b.negative;
  if (a.is_infinite() || b.is_infinite()) {
    return a.is_zero() || b.is_zero() ? Dyadic::nan() : Dyadic::infinity(negative);
  }
  if (a.is_zero() || b.is_zero()) return Dyadic::zero(negative);
  const uint128 product = uint128{a.significand} * b.significand;
  return Dyadic::make_to_odd(negative, product, a.exponent + b.exponent - 126);
}

// Exact where the sum has at most 64 significant bits, else rounded to odd. As IEEE 754 rounding to
// nearest has it: x + -x is +0, and -0 only when both are -0.
constexpr Dyadic operator+(const Dyadic& a, const Dyadic& b) {
  if (a.is_nan() || b.is_nan()) return Dyadic::nan();
  if (a.is_infinite() || b.is_infinite()) {
    if (a.is_infinite() && b.is_infinite() && a.negative != b.negative) return Dyadic::nan();
    return a.is_infinite() ? a : b;
  }
  if (a.is_zero() && b.is_zero()) return Dyadic::zero(a.negative && b.negative);
  if (a.is_zero()) return b;
  if (b.is_zero()) return a;
  const bool a_larger = compare_magnitude(a, b) >= 0;
  const Dyadic& large = a_larger ? a : b;
  const Dyadic& small = a_larger ? b : a;
  // The larger stands at bits 62..125: one bit above it for the carry, 62 below for the smaller
  // one's tail; what falls off below that is kept as one sticky bit.
  const int distance = large.exponent - small.exponent;
  const uint128 high = uint128{large.significand} << 62;
  uint128 low = uint128{small.significand} << 62;
  if (distance >= 126) {
    low = 1;
  } else {
    const bool lost = (low & ((uint128{1} << distance) - 1)) != 0;
    low = (low >> distance) | (lost ? 1 : 0);
  }
  const uint128 sum = large.negative == small.negative ? high + low : high - low;
  if (sum == 0) return Dyadic::zero();
  return Dyadic::make_to_odd(large.negative, sum, large.exponent - 125);
}

}  // namespace napier
