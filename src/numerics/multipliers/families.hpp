// What the multipliers' files share: their declarations and the sum of two mantissas.
#pragma once

#include "napier/multiplier.hpp"

namespace napier {

#define NAPIER_MULTIPLIER(name) extern const MultiplierFamily k_##name##_multiplier;
#include "registry.inc"
#undef NAPIER_MULTIPLIER

// The mantissa of a number as a 64-bit fraction, truncated to `bits` bits.
constexpr uint64_t kept_mantissa(const Dyadic& value, int bits) {
  const uint64_t fraction = value.significand << 1;  // drops the leading 1
  return bits == 0 ? 0 : fraction & (~uint64_t{0} << (64 - bits));
}

// xm + ym + offset in units of 2^-64; `offset_bits` l means 2^-l, 0 no offset.
constexpr uint128 mantissa_sum(const Dyadic& x, const Dyadic& w, int kept_bits, int offset_bits) {
  const uint128 offset = offset_bits == 0 ? 0 : uint128{1} << (64 - offset_bits);
  return uint128{kept_mantissa(x, kept_bits)} + kept_mantissa(w, kept_bits) + offset;
}

// What adding the two bit patterns as integers gives: the mantissas' carry, 0 to 2, runs into the
// exponent. With s = xm + ym + offset the value is 2^(xe+ye) max(1+s, 2s, 4(s-1)).
constexpr Dyadic add_patterns(const Dyadic& x, const Dyadic& w, int kept_bits, int offset_bits) {
  const uint128 sum = mantissa_sum(x, w, kept_bits, offset_bits);
  const int carry = static_cast<int>(sum >> 64);
  const uint128 significand = (uint128{1} << 64) | static_cast<uint64_t>(sum);
  return Dyadic::make_to_odd(x.negative != w.negative, significand,
                             x.exponent + w.exponent + carry - 64);
}

inline constexpr int k_max_kept_bits = 23;

// Mantissa bits kept where k is not written: all that either operand has.
inline int own_mantissa_bits(const Operand& x, const Operand& w) {
  const int bits =
      x.significand_bits() > w.significand_bits() ? x.significand_bits() : w.significand_bits();
  return bits - 1 < k_max_kept_bits ? bits - 1 : k_max_kept_bits;
}

inline constexpr Parameter k_kept_bits_parameter = {
    .name = "k",
    .fallback = -1,
    .min = 0,
    .max = k_max_kept_bits,
    .summary = "mantissa bits kept of each operand, the rest cut off; default: all of the wider"};

}  // namespace napier
