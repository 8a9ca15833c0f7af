// What a matrix multiplication's input becomes before it is multiplied.
#pragma once

#include <cstdint>
#include <vector>

#include "napier/format.hpp"

namespace napier {

// What overflows become where it is not said: f32 and f64 are the machine's own and go to infinity,
// every other format saturates.
constexpr Overflow default_overflow(const Format& format) {
  return format == k_f32 || format == k_f64 ? Overflow::infinity : Overflow::saturate;
}

// Rounding into a format: a format with everything that rounding needs to be told.
// Written  format[:rounding][:sat|inf].
struct Cast {
  Format format = k_f32;
  Rounding rounding = Rounding::nearest_even;
  uint32_t seed = 0;  // of stochastic rounding
  Overflow overflow = Overflow::saturate;

  constexpr bool operator==(const Cast&) const = default;

  constexpr uint64_t encode(const Dyadic& value, uint64_t position = 0) const {
    return format.encode(value, rounding, overflow, random(value, position));
  }
  // The number that `value` becomes. `position` keys stochastic rounding: the column k of an
  // operand or the step k of a sum, so that a row's result does not depend on its company.
  constexpr Dyadic operator()(const Dyadic& value, uint64_t position = 0) const {
    return format.round(value, rounding, overflow, random(value, position));
  }

 private:
  constexpr uint32_t random(const Dyadic& value, uint64_t position) const {
    if (rounding != Rounding::stochastic) return 0;
    const uint64_t bits = value.significand ^ (static_cast<uint64_t>(value.exponent) << 1) ^
                          static_cast<uint64_t>(value.negative);
    return random_bits(seed, position, bits);
  }
};

// Which elements share a scale. A row is a token of the activations or an output channel of the
// weights; a block is `block` consecutive elements of a row (along the summed dimension).
enum class Granularity : uint8_t { tensor, row, block };

// How a scale is chosen from the elements it serves.
enum class ScaleMethod : uint8_t {
  absmax,  // the largest magnitude becomes the format's largest value (e8m0: OCP MX's rule, below)
};

// One level of scaling: a stored element times its scales is the number meant. The first level is
// the finest; a coarser one scales the scales of the level before (NVFP4: block16(e4m3), tensor).
struct ScaleLevel {
  Granularity granularity = Granularity::tensor;
  uint32_t block = 0;     // elements, for Granularity::block
  Format format = k_f32;  // of the scale; rounded to nearest even, saturating
  ScaleMethod method = ScaleMethod::absmax;

  bool operator==(const ScaleLevel&) const = default;
};

// Format + scaling + rounding and overflow rule.
// Written  format[:rounding][:sat|inf][:ftz|literal]{@granularity[(scale-format[,method])]}.
struct Operand {
  Cast cast{k_f32, Rounding::nearest_even, 0, Overflow::infinity};
  Subnormals subnormals = Subnormals::keep;
  std::vector<ScaleLevel> scaling;

  bool operator==(const Operand&) const = default;

  // The number that the multiplier sees for an (already scaled) value. NaN stays NaN.
  constexpr Dyadic quantise(const Dyadic& value, uint64_t position = 0) const {
    if (value.is_nan()) return value;
    return cast.format.decode(cast.encode(value, position), subnormals);
  }
};

// The scale of a group whose largest magnitude is `absmax` (finite, >= 0), for elements of largest
// magnitude `element_max`: absmax / element_max, rounded to the scale's format. In formats without
// mantissa the rule is OCP MX 1.0's (section 6.3): 2^(floor(log2 absmax) - floor(log2 element_max))
// A zero group, or a scale that rounds to zero, has scale 1 (or the nearest the format has).
Dyadic choose_scale(const ScaleLevel& level, double absmax, double element_max);

}  // namespace napier
