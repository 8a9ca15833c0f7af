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

HWY_INLINE VecF64 keep(const Quantiser& q, VecF64 r) {
  if (q.keep_mask == ~uint64_t{0}) return r;
  const F64 d;
  const U64 du;
  const VecF64 kept = hn::BitCast(d, hn::And(hn::BitCast(du, r), hn::Set(du, q.keep_mask)));
  return hn::IfThenElse(hn::Eq(r, r), kept, r);
}

// One vector of elements in f64.
HWY_INLINE VecF64 quantise_vector(const Quantiser& q, VecF64 v) {
  const F64 d;
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
  return keep(q, r);
}

HWY_INLINE void store(VecF64 v, double* out) { hn::StoreU(v, F64(), out); }
HWY_INLINE void store(VecF64 v, float* out) {
  hn::StoreU(to_f32(v), hn::Rebind<float, F64>(), out);
}

// out[i] = quantise(in[i] / scale), a vector of f64 at a time.
template <class T, class Quantise>
HWY_INLINE void for_row(const float* in, int64_t count, float scale, T* out,
                        const Quantise& quantise) {
  const F64 d;
  const hn::Rebind<float, F64> df;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const VecF64 divisor = hn::Set(d, double{scale});
  const auto vector = [&](const float* from, T* to) NAPIER_LAMBDA {
    VecF64 v = hn::PromoteTo(d, hn::LoadU(df, from));
    if (scale != 1.0f) v = hn::Div(v, divisor);
    store(quantise(v), to);
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

template <class T>
void round_row(const Quantiser& q, const float* in, int64_t count, const Group& group, T* out) {
  if (!q.operand.has_zero_point()) {
    for_row(in, count, group.scale, out,
            [&](VecF64 v) NAPIER_LAMBDA { return quantise_vector(q, v); });
    return;
  }
  const F64 d;
  const VecF64 lowest = hn::Set(d, q.lowest - group.zero);
  const VecF64 largest = hn::Set(d, q.largest - group.zero);
  for_row(in, count, group.scale, out, [&](VecF64 v) NAPIER_LAMBDA {
    const VecF64 r = round_to(q.spec, v);
    const VecF64 limited = hn::Min(hn::Max(r, lowest), largest);
    return keep(q, hn::IfThenElse(hn::Eq(r, r), limited, r));  // NaN stays
  });
}

// The value before the first decision that is not below.
template <class T>
void look_up_row(const Quantiser& q, const Codebook& list, const float* in, int64_t count,
                 float scale, T* out) {
  const F64 d;
  const double* values = list.sorted().data();
  const std::span<const double> decisions = list.decisions();
  for_row(in, count, scale, out, [&](VecF64 v) NAPIER_LAMBDA {
    VecF64 r = hn::Set(d, values[0]);
    for (size_t i = 0; i < decisions.size(); ++i) {
      r = hn::IfThenElse(hn::Gt(v, hn::Set(d, decisions[i])), hn::Set(d, values[i + 1]), r);
    }
    return keep(q, hn::IfThenElse(hn::Eq(v, v), r, v));  // NaN stays
  });
}

void round_row_f32(const Quantiser& q, const float* in, int64_t count, const Group& group,
                   float* out) {
  round_row(q, in, count, group, out);
}
void round_row_f64(const Quantiser& q, const float* in, int64_t count, const Group& group,
                   double* out) {
  round_row(q, in, count, group, out);
}
void look_up_row_f32(const Quantiser& q, const Codebook& list, const float* in, int64_t count,
                     float scale, float* out) {
  look_up_row(q, list, in, count, scale, out);
}
void look_up_row_f64(const Quantiser& q, const Codebook& list, const float* in, int64_t count,
                     float scale, double* out) {
  look_up_row(q, list, in, count, scale, out);
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
HWY_EXPORT(look_up_row_f32);
HWY_EXPORT(look_up_row_f64);
HWY_EXPORT(shorten_row);
HWY_EXPORT(range_of);

namespace {

constexpr int k_max_integer_bits = 48;  // f64's sums of two of them are exact
constexpr int k_max_listed_bits = 8;    // longer lists are searched

}  // namespace

std::optional<RoundSpec> round_spec(const Cast& cast) {
  const Format& format = cast.format;
  const int m = format.mantissa_bits;
  if (format.is_listed() || cast.overflow == Overflow::wrap) return std::nullopt;
  if (cast.rounding == Rounding::stochastic || m == 0) return std::nullopt;
  if (m > (format.is_integer() ? k_max_integer_bits : 23)) return std::nullopt;
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
  // An integer's infinities are as other numbers beyond its ends.
  spec.infinity_differs =
      !format.is_integer() && (spec.sides_differ || !same(spec.beyond, spec.infinite));
  spec.is_common = spec.rounding == Rounding::nearest_even && !spec.is_fixed && !spec.has_gap &&
                   spec.is_signed && spec.keeps_negative_zero && !spec.infinity_differs;
  return spec;
}

bool fit_float(const Arithmetic& arithmetic) {
  return Quantiser(arithmetic.x).fits_float() && Quantiser(arithmetic.w).fits_float();
}

Quantiser::Quantiser(const Operand& operand, int kept_bits) : operand(operand) {
  const Format& format = operand.cast.format;
  const int m = operand.significand_bits() - 1;
  least_bit = operand.least_bit();
  fits_float_ = m <= 23 && least_bit >= -149 && operand.max_exponent() <= 127;
  if (kept_bits < m) keep_mask = ~((uint64_t{1} << (52 - kept_bits)) - 1);
  if (format.has_subnormals) {
    normal_min = format.exponent_bits == 0 ? std::numeric_limits<double>::infinity()
                                           : std::ldexp(1.0, 1 - format.bias);
    literal_base = std::ldexp(1.0, -format.bias);
  }
  if (!format.is_float() ||
      (format.exponent_bits == 0 && operand.subnormals == Subnormals::literal)) {
    this->operand.subnormals = Subnormals::keep;  // as Format::decode
  }
  if (format.is_listed()) {
    const bool nearest = operand.cast.rounding == Rounding::nearest_even ||
                         operand.cast.rounding == Rounding::nearest_away;
    way = nearest && format.bits() <= k_max_listed_bits ? Way::listed : Way::scalar;
    return;
  }
  infinity = to_float(operand.cast(Dyadic::infinity()));
  lowest = to_double(format.lowest());
  largest = to_double(format.max_finite());

  const std::optional<RoundSpec> found = round_spec(operand.cast);
  if (found) {
    spec = *found;
    way = Way::round_to;
  }
  if (operand.has_zero_point() && found) {
    // Nothing is beyond the largest here: each group has limits of its own.
    const double huge = std::ldexp(1.0, format.bits() + 2);
    spec.largest = spec.limit = spec.beyond = spec.beyond_negative = spec.infinite = huge;
    spec.sides_differ = spec.infinity_differs = false;
    spec.is_signed = true;
    return;
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
void quantise_one_by_one(const Quantiser& q, const float* in, int64_t count, const Group& group,
                         int64_t position, T* out) {
  for (int64_t i = 0; i < count; ++i) {
    const Dyadic element = Dyadic::from_double(double{in[i]} / double{group.scale});
    const Dyadic value = q.operand.quantise(element, static_cast<uint64_t>(position + i), group);
    double result = to_double(value);
    if (value.kind == Dyadic::Kind::finite) {
      result = std::bit_cast<double>(std::bit_cast<uint64_t>(result) & q.keep_mask);
    }
    out[i] = static_cast<T>(result);
  }
}

const Codebook& list_of(const Operand& operand, const Group& group) {
  const Codebook& codebook = *operand.cast.format.codebook;
  return operand.has_alternatives()
             ? *codebook.alternatives()[static_cast<size_t>(group.alternative)]
             : codebook;
}

}  // namespace

void Quantiser::operator()(const float* in, int64_t count, const Group& group, int64_t position,
                           float* out) const {
  const bool scaled = group.scale != 1.0f;
  if (way == Way::listed) {
    HWY_DYNAMIC_DISPATCH(look_up_row_f32)
    (*this, list_of(operand, group), in, count, group.scale, out);
  } else if (way == Way::scalar || (scaled && operand.cast.rounding == Rounding::stochastic)) {
    quantise_one_by_one(*this, in, count, group, position, out);
  } else if (way == Way::round_to || (scaled && spec.limit != 0)) {
    HWY_DYNAMIC_DISPATCH(round_row_f32)(*this, in, count, group, out);
  } else if (scaled) {
    quantise_one_by_one(*this, in, count, group, position, out);
  } else {
    HWY_DYNAMIC_DISPATCH(shorten_row)
    (*this, operand.cast.format.mantissa_bits, way == Way::nearest, in, count, out);
  }
}

void Quantiser::operator()(const float* in, int64_t count, const Group& group, int64_t position,
                           double* out) const {
  if (way == Way::listed) {
    HWY_DYNAMIC_DISPATCH(look_up_row_f64)
    (*this, list_of(operand, group), in, count, group.scale, out);
  } else if (spec.limit != 0) {
    HWY_DYNAMIC_DISPATCH(round_row_f64)(*this, in, count, group, out);
  } else {
    quantise_one_by_one(*this, in, count, group, position, out);
  }
}

MagnitudeRange magnitude_range(const float* values, int64_t count) {
  return HWY_DYNAMIC_DISPATCH(range_of)(values, count);
}

}  // namespace napier
#endif  // HWY_ONCE
