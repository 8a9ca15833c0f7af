// Rows of f32 rounded into a format, a vector at a time.
#include "kernels/targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/quantise.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/round_to-inl.h"
#include "kernels/unroll-inl.h"

HWY_BEFORE_NAMESPACE();
namespace napier {
namespace HWY_NAMESPACE {

// One vector of elements in f64.
HWY_INLINE VecF64 quantise_vector(const Quantiser& q, VecF64 v) {
  const F64 d;
  const U64 du;
  VecF64 r = round_to(q.spec, v);
  if (q.operand.subnormals != Subnormals::keep) {
    const VecF64 a = hn::Abs(r);
    const auto subnormal = hn::And(hn::Lt(a, hn::Set(d, q.normal_min)), hn::Gt(a, hn::Zero(d)));
    const VecF64 half = hn::Mul(a, hn::Set(d, 0.5));
    const VecF64 instead = q.operand.subnormals == Subnormals::flush
                               ? hn::Zero(d)
                               : hn::Add(half, hn::Set(d, q.literal_base));
    r = hn::IfThenElse(subnormal, hn::CopySign(instead, v), r);
  }
  if (q.keep_mask != ~uint64_t{0}) {
    const VecF64 kept = hn::BitCast(d, hn::And(hn::BitCast(du, r), hn::Set(du, q.keep_mask)));
    r = hn::IfThenElse(hn::Eq(r, r), kept, r);
  }
  return r;
}

HWY_INLINE void store(VecF64 v, double* out) { hn::StoreU(v, F64(), out); }
HWY_INLINE void store(VecF64 v, float* out) {
  hn::StoreU(to_f32(v), hn::Rebind<float, F64>(), out);
}

template <class T>
void round_row(const Quantiser& q, const float* in, int64_t count, float scale, T* out) {
  const F64 d;
  const hn::Rebind<float, F64> df;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const VecF64 divisor = hn::Set(d, double{scale});
  const auto vector = [&](const float* from, T* to) NAPIER_LAMBDA {
    VecF64 v = hn::PromoteTo(d, hn::LoadU(df, from));
    if (scale != 1.0f) v = hn::Div(v, divisor);
    store(quantise_vector(q, v), to);
  };
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) vector(in + i, out + i);
  if (i == count) return;
  HWY_ALIGN float last_in[HWY_MAX_BYTES / sizeof(float)] = {};
  HWY_ALIGN T last_out[HWY_MAX_BYTES / sizeof(float)];
  for (int64_t j = i; j < count; ++j) last_in[j - i] = in[j];
  vector(last_in, last_out);
  for (int64_t j = i; j < count; ++j) out[j] = last_out[j - i];
}

void round_row_f32(const Quantiser& q, const float* in, int64_t count, float scale, float* out) {
  round_row(q, in, count, scale, out);
}
void round_row_f64(const Quantiser& q, const float* in, int64_t count, float scale, double* out) {
  round_row(q, in, count, scale, out);
}

// f32 cut to M of its 23 mantissa bits: `add` is 0 to truncate, half the gap less one to round, and
// then a tie's last bit makes the half whole: xxxxL|1000 + 0111 + L carries into L if L is 1.
// A number that rounds past the largest gets infinity's pattern, as an infinity has.
void shorten_row(const Quantiser& q, int mantissa_bits, bool nearest, const float* in,
                 int64_t count, float* out) {
  const int drop = 23 - mantissa_bits;
  const uint32_t add = nearest && drop > 0 ? (uint32_t{1} << (drop - 1)) - 1 : 0;
  const uint32_t mask = ~((uint32_t{1} << drop) - 1);
  const uint32_t last = nearest && drop > 0 ? 1 : 0;
  const uint32_t infinity = std::bit_cast<uint32_t>(q.infinity);
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t bits = std::bit_cast<uint32_t>(in[i]);
    const uint32_t sign = bits & 0x80000000;
    const uint32_t magnitude = bits & 0x7FFFFFFF;
    uint32_t rounded = (magnitude + add + ((magnitude >> drop) & last)) & mask;
    rounded = rounded >= 0x7F800000 ? infinity : rounded;
    // A NaN stays one, whichever of its bits are looked at.
    rounded = magnitude > 0x7F800000 ? 0x7FC00000 : rounded;
    out[i] = std::bit_cast<float>(rounded | sign);
  }
}

MagnitudeRange range_of(const float* values, int64_t count) {
  const hn::ScalableTag<int32_t> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto most = hn::Set(d, 0x7FFFFFFF);
  auto min = most;
  auto max = hn::Zero(d);
  auto zeros = hn::Zero(d);  // all bits set where a zero was seen
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    const auto bits = hn::BitCast(d, hn::LoadU(hn::ScalableTag<float>(), values + i));
    const auto magnitude = hn::And(bits, most);
    const auto is_zero = hn::VecFromMask(d, hn::Eq(magnitude, hn::Zero(d)));
    zeros = hn::Or(zeros, is_zero);
    min = hn::Min(min, hn::Or(magnitude, hn::And(is_zero, most)));
    max = hn::Max(max, magnitude);
  }
  MagnitudeRange range;
  range.min = static_cast<uint32_t>(hn::GetLane(hn::MinOfLanes(d, min)));
  range.max = static_cast<uint32_t>(hn::GetLane(hn::MaxOfLanes(d, max)));
  range.has_zero = !hn::AllFalse(d, hn::Ne(zeros, hn::Zero(d)));
  for (; i < count; ++i) {
    const uint32_t magnitude = std::bit_cast<uint32_t>(values[i]) & 0x7FFFFFFF;
    range.include({magnitude == 0 ? 0x7FFFFFFF : magnitude, magnitude, magnitude == 0});
  }
  return range;
}

}  // namespace HWY_NAMESPACE
}  // namespace napier
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <algorithm>
#include <cmath>
#include <limits>

namespace napier {

HWY_EXPORT(round_row_f32);
HWY_EXPORT(round_row_f64);
HWY_EXPORT(shorten_row);
HWY_EXPORT(range_of);

std::optional<RoundSpec> round_spec(const Cast& cast) {
  const Format& format = cast.format;
  const int m = format.mantissa_bits;
  if (cast.rounding == Rounding::stochastic || m == 0 || m > 23) return std::nullopt;
  if (format.min_exponent() - m < -900 || format.max_exponent() > 900) return std::nullopt;

  RoundSpec spec;
  spec.rounding = cast.rounding;
  spec.is_fixed = format.has_subnormals && format.exponent_bits == 0;
  spec.has_gap = !format.has_subnormals;
  spec.is_signed = format.is_signed;
  spec.keeps_negative_zero = format.has_negative_zero();
  spec.floor = std::ldexp(1.0, format.min_exponent());
  spec.gap = std::ldexp(1.0, -m);
  spec.magic = std::ldexp(1.0, 52 - m);
  spec.smallest = to_double(format.min_positive());
  spec.largest = to_double(format.max_finite());
  spec.limit = std::ldexp(1.0, format.max_exponent() + 2);

  // By asking the format, not by knowing its rules.
  const auto rounded = [&](const Dyadic& value) { return to_double(cast(value)); };
  const Dyadic huge = Dyadic::make(false, 1, format.max_exponent() + 3);
  spec.beyond = rounded(huge);
  spec.beyond_negative = format.is_signed ? std::fabs(rounded(-huge)) : spec.beyond;
  spec.infinite = rounded(Dyadic::infinity());
  spec.below = format.is_signed ? 0.0 : rounded(-huge);
  const auto same = [](double a, double b) { return a == b || (a != a && b != b); };
  spec.sides_differ = !same(spec.beyond, spec.beyond_negative);
  spec.infinity_differs = spec.sides_differ || !same(spec.beyond, spec.infinite);
  spec.is_common = spec.rounding == Rounding::nearest_even && !spec.is_fixed && !spec.has_gap &&
                   spec.is_signed && spec.keeps_negative_zero && !spec.infinity_differs;
  return spec;
}

Quantiser::Quantiser(const Operand& operand, int kept_bits) : operand(operand) {
  const Format& format = operand.cast.format;
  const int m = format.mantissa_bits;
  const bool literal = operand.subnormals == Subnormals::literal && format.exponent_bits != 0;
  least_bit = (format.has_subnormals && !literal ? 1 - format.bias : -format.bias) - m;
  fits_float_ = m <= 23 && least_bit >= -149 && format.max_exponent() <= 127;
  if (kept_bits < m) keep_mask = ~((uint64_t{1} << (52 - kept_bits)) - 1);
  if (format.has_subnormals) {
    normal_min = format.exponent_bits == 0 ? std::numeric_limits<double>::infinity()
                                           : std::ldexp(1.0, 1 - format.bias);
    literal_base = std::ldexp(1.0, -format.bias);
  }
  if (format.exponent_bits == 0 && operand.subnormals == Subnormals::literal) {
    this->operand.subnormals = Subnormals::keep;  // as Format::decode
  }
  infinity = to_float(operand.cast(Dyadic::infinity()));

  const std::optional<RoundSpec> found = round_spec(operand.cast);
  if (found) {
    spec = *found;
    way = Way::round_to;
  }
  const Format f32_shape{8, format.mantissa_bits, 127, Specials::ieee, true, true};
  const bool is_f32_shape = format == f32_shape && m <= 23;
  if (is_f32_shape && keep_mask == ~uint64_t{0} && operand.subnormals == Subnormals::keep) {
    if (m == 23) {
      way = Way::copy;
    } else if (operand.cast.rounding == Rounding::toward_zero) {
      way = Way::truncate;
    } else if (operand.cast.rounding == Rounding::nearest_even && m > 0) {
      way = Way::nearest;
    }
  }
}

namespace {

template <class T>
void quantise_one_by_one(const Quantiser& q, const float* in, int64_t count, float scale,
                         int64_t position, T* out) {
  for (int64_t i = 0; i < count; ++i) {
    const Dyadic element = Dyadic::from_double(double{in[i]} / double{scale});
    const Dyadic value = q.operand.quantise(element, static_cast<uint64_t>(position + i));
    double result = to_double(value);
    if (value.kind == Dyadic::Kind::finite) {
      result = std::bit_cast<double>(std::bit_cast<uint64_t>(result) & q.keep_mask);
    }
    out[i] = static_cast<T>(result);
  }
}

}  // namespace

void Quantiser::operator()(const float* in, int64_t count, float scale, int64_t position,
                           float* out) const {
  const bool scaled = scale != 1.0f;
  if (way == Way::scalar || (scaled && operand.cast.rounding == Rounding::stochastic)) {
    quantise_one_by_one(*this, in, count, scale, position, out);
  } else if (way == Way::round_to || (scaled && spec.limit != 0)) {
    HWY_DYNAMIC_DISPATCH(round_row_f32)(*this, in, count, scale, out);
  } else if (scaled) {
    quantise_one_by_one(*this, in, count, scale, position, out);
  } else {
    HWY_DYNAMIC_DISPATCH(shorten_row)
    (*this, operand.cast.format.mantissa_bits, way == Way::nearest, in, count, out);
  }
}

void Quantiser::operator()(const float* in, int64_t count, float scale, int64_t position,
                           double* out) const {
  if (spec.limit != 0) {
    HWY_DYNAMIC_DISPATCH(round_row_f64)(*this, in, count, scale, out);
  } else {
    quantise_one_by_one(*this, in, count, scale, position, out);
  }
}

MagnitudeRange magnitude_range(const float* values, int64_t count) {
  return HWY_DYNAMIC_DISPATCH(range_of)(values, count);
}

}  // namespace napier
#endif  // HWY_ONCE
