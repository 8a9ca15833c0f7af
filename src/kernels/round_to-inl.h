// Rounding of f64 lanes into a format. Included once per instruction set.
#if defined(NAPIER_KERNELS_ROUND_TO_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef NAPIER_KERNELS_ROUND_TO_INL_H_
#undef NAPIER_KERNELS_ROUND_TO_INL_H_
#else
#define NAPIER_KERNELS_ROUND_TO_INL_H_
#endif

#include <hwy/highway.h>

#include "kernels/quantise.hpp"
#include "kernels/unroll-inl.h"

HWY_BEFORE_NAMESPACE();
namespace napier {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using F64 = hn::ScalableTag<double>;
using U64 = hn::ScalableTag<uint64_t>;
using I64 = hn::ScalableTag<int64_t>;
using VecF64 = hn::Vec<F64>;

// The magnitude `r` that |v| = `a` rounds to, given to nearest even and still unlimited, for the
// other roundings. `q` is the gap at a.
HWY_INLINE VecF64 redirect(const RoundSpec& spec, VecF64 v, VecF64 a, VecF64 r, VecF64 q,
                           VecF64 magic) {
  const F64 d;
  const VecF64 zero = hn::Zero(d);
  const auto step_up = [&](auto where)
                           NAPIER_LAMBDA { return hn::Add(r, hn::IfThenElseZero(where, q)); };
  const auto step_down = [&](auto where)
                             NAPIER_LAMBDA { return hn::Sub(r, hn::IfThenElseZero(where, q)); };
  switch (spec.rounding) {
    case Rounding::nearest_away: return step_up(hn::Eq(hn::Sub(a, r), hn::Mul(q, hn::Set(d, 0.5))));
    case Rounding::toward_zero: return step_down(hn::Gt(r, a));
    case Rounding::up:
    case Rounding::down: {
      const auto away = spec.rounding == Rounding::up ? hn::Gt(v, zero) : hn::Lt(v, zero);
      const VecF64 outward = step_up(hn::Lt(r, a));
      const VecF64 inward = step_down(hn::Gt(r, a));
      return hn::IfThenElse(away, outward, inward);
    }
    case Rounding::to_odd: {
      r = step_down(hn::Gt(r, a));
      // The sum's last bit is that of r / q.
      const U64 du;
      const auto low = hn::And(hn::BitCast(du, hn::Add(r, magic)), hn::Set(du, 1));
      const auto even = hn::RebindMask(d, hn::Eq(low, hn::Zero(du)));
      return step_up(hn::And(even, hn::Ne(r, a)));
    }
    default: return r;
  }
}

// Which magnitudes between zero and the smallest number become that number, in formats without
// subnormals. Zero's code is even.
HWY_INLINE hn::Mask<F64> rises(const RoundSpec& spec, VecF64 v, VecF64 a) {
  const F64 d;
  const VecF64 zero = hn::Zero(d);
  const VecF64 half = hn::Set(d, spec.smallest * 0.5);
  switch (spec.rounding) {
    case Rounding::nearest_even: return hn::Gt(a, half);
    case Rounding::nearest_away: return hn::Ge(a, half);
    case Rounding::up: return hn::Gt(v, zero);
    case Rounding::down: return hn::Lt(v, zero);
    case Rounding::to_odd: return hn::Gt(a, zero);
    default: return hn::Lt(a, zero);  // nowhere
  }
}

// The nearest multiple of the gap at each lane's magnitude `a`. Adding and taking away 2^52 gaps
// leaves it, ties to even: the sum lies in [2^52, 2^53) gaps, where f64's own gap is that.
HWY_INLINE VecF64 to_gap(VecF64 a, VecF64 magic) { return hn::Sub(hn::Add(a, magic), magic); }

HWY_INLINE VecF64 power_at(const RoundSpec& spec, VecF64 a) {  // 2^e of the binade
  const F64 d;
  const U64 du;
  const auto exponent = hn::And(hn::BitCast(du, a), hn::Set(du, 0x7FF0000000000000));
  return hn::Max(hn::BitCast(d, exponent), hn::Set(d, spec.floor));
}

// round_to() for every RoundSpec. Out of line: it stands at many places and is seldom run.
HWY_NOINLINE inline VecF64 round_to_any(const RoundSpec& spec, VecF64 v) {
  const F64 d;
  const VecF64 a = hn::Min(hn::Abs(v), hn::Set(d, spec.limit));
  const VecF64 power = spec.is_fixed ? hn::Set(d, spec.floor) : power_at(spec, a);
  const VecF64 magic = hn::Mul(power, hn::Set(d, spec.magic));
  VecF64 r = to_gap(a, magic);
  if (spec.rounding != Rounding::nearest_even) {
    r = redirect(spec, v, a, r, hn::Mul(power, hn::Set(d, spec.gap)), magic);
  }
  if (spec.has_gap) {
    const VecF64 smallest = hn::Set(d, spec.smallest);
    const VecF64 low = hn::IfThenElseZero(rises(spec, v, a), smallest);
    r = hn::IfThenElse(hn::Lt(a, smallest), low, r);
  }
  VecF64 beyond = hn::Set(d, spec.beyond);
  if (spec.sides_differ) {
    beyond = hn::IfThenElse(hn::Lt(v, hn::Zero(d)), hn::Set(d, spec.beyond_negative), beyond);
  }
  r = hn::IfThenElse(hn::Gt(r, hn::Set(d, spec.largest)), beyond, r);
  if (spec.infinity_differs) {
    const auto infinite = hn::Gt(hn::Abs(v), hn::Set(d, 1.7976931348623157e308));
    r = hn::IfThenElse(infinite, hn::Set(d, spec.infinite), r);
  }
  if (spec.is_signed) {
    VecF64 with_sign = hn::CopySignToAbs(r, v);
    if (!spec.keeps_negative_zero) {
      with_sign = hn::IfThenElse(hn::Eq(r, hn::Zero(d)), r, with_sign);
    }
    r = with_sign;
  } else {
    r = hn::IfThenElse(hn::Lt(v, hn::Zero(d)), hn::Set(d, spec.below), r);
  }
  return hn::IfThenElse(hn::Eq(v, v), r, v);  // NaN stays
}

// Equals Format::round of the lanes' values.
HWY_INLINE VecF64 round_to(const RoundSpec& spec, VecF64 v) {
  if (!spec.is_common) return round_to_any(spec, v);
  const F64 d;
  const VecF64 a = hn::Min(hn::Abs(v), hn::Set(d, spec.limit));
  VecF64 r = to_gap(a, hn::Mul(power_at(spec, a), hn::Set(d, spec.magic)));
  r = hn::IfThenElse(hn::Gt(r, hn::Set(d, spec.largest)), hn::Set(d, spec.beyond), r);
  return hn::IfThenElse(hn::Eq(v, v), hn::CopySignToAbs(r, v), v);  // NaN stays
}

// f64 lanes rounded to f32, to nearest even, overflowing to infinity.
HWY_INLINE hn::Vec<hn::Rebind<float, F64>> to_f32(VecF64 v) {
  const hn::Rebind<float, F64> df;
#if HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_EMU128
  // Highway's emulated conversion saturates.
  HWY_ALIGN double from[HWY_MAX_BYTES / sizeof(double)];
  HWY_ALIGN float to[HWY_MAX_BYTES / sizeof(double)];
  hn::Store(v, F64(), from);
  for (size_t i = 0; i < hn::Lanes(df); ++i) to[i] = static_cast<float>(from[i]);
  return hn::Load(df, to);
#else
  return hn::DemoteTo(df, v);
#endif
}

// a + b rounded to odd: exact where 53 bits hold the sum, else the neighbour with an odd last bit.
// Rounding that to 51 bits or fewer is rounding the exact sum (Boldo & Melquiond 2008). The error
// of the sum is Moller's and Knuth's 2Sum.
HWY_INLINE VecF64 add_to_odd(VecF64 a, VecF64 b) {
  const F64 d;
  const I64 di;
  const VecF64 sum = hn::Add(a, b);
  const VecF64 b_seen = hn::Sub(sum, a);
  const VecF64 error = hn::Add(hn::Sub(a, hn::Sub(sum, b_seen)), hn::Sub(b, b_seen));
  // Toward zero first (one step back where the error has the other sign), then the last bit set.
  const auto bits = hn::BitCast(di, sum);
  const auto opposite = hn::ShiftRight<63>(hn::Xor(bits, hn::BitCast(di, error)));  // -1 or 0
  const auto odd = hn::Or(hn::Add(bits, opposite), hn::Set(di, 1));
  const auto inexact = hn::Gt(hn::Abs(error), hn::Zero(d));  // false for an infinity's NaN
  return hn::IfThenElse(inexact, hn::BitCast(d, odd), sum);
}

}  // namespace HWY_NAMESPACE
}  // namespace napier
HWY_AFTER_NAMESPACE();

#endif  // NAPIER_KERNELS_ROUND_TO_INL_H_
