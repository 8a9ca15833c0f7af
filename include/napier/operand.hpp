// What a matrix multiplication's input becomes before it is multiplied.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "napier/format.hpp"

namespace napier {

// What overflows become where it is not said: f32 and f64 are the machine's own and go to infinity,
// every other format saturates.
constexpr Overflow default_overflow(const Format& format) {
  return format == k_f32 || format == k_f64 ? Overflow::infinity : Overflow::saturate;
}

// Rounding into a format: a format with everything that rounding needs to be told.
// Written  format[:rounding][:sat|inf|wrap].
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
// weights; a block is `block` consecutive elements of a row (along the summed dimension); a column
// is one place of the sum in all rows (an input channel).
enum class Granularity : uint8_t { tensor, row, column, block };

// How a scale is chosen from the elements it serves. "Largest" is the format's: of floats and
// integers the largest number (127 of int8, which so never uses -128), of codebooks the largest
// magnitude.
enum class ScaleMethod : uint8_t {
  absmax,      // the largest magnitude becomes the largest
  ocp,         // OCP MX 1.0, section 6.3: 2^(floor(log2 absmax) - floor(log2 largest))
  full,        // integers: 2 absmax / (2^b - 1), which uses the lowest number too
  minmax,      // integers, with a zero point: the least and the greatest element (and zero) become
               // the lowest and the largest number
  percentile,  // so many percent of the magnitudes are at most the largest, the rest saturate
  mse,         // of absmax 2^(-j/6), j = 0..24, the one with the least squared error
  mean,        // the mean magnitude times a factor (1 if none is given) becomes the largest
  given,       // the parameter is the scale, `zero` the code that stands for zero
};

// One level of scaling: a stored element times its scales is the number meant. The first level is
// the finest; a coarser one scales the scales of the level before (NVFP4: block16(e4m3), tensor).
// `parameter`: percent, factor or scale, of the methods that have one.
struct ScaleLevel {
  Granularity granularity = Granularity::tensor;
  uint32_t block = 0;     // elements, for Granularity::block
  Format format = k_f32;  // of the scale, saturating
  Rounding rounding = Rounding::nearest_even;
  ScaleMethod method = ScaleMethod::absmax;
  double parameter = 0;
  int32_t zero = 0;  // of a given scale of integers

  bool operator==(const ScaleLevel&) const = default;

  // What is meant where no method is written: of powers of two rounded to nearest OCP's rule.
  static constexpr ScaleMethod default_method(const Format& format, Rounding rounding) {
    return format.is_power_of_two() && rounding == Rounding::nearest_even ? ScaleMethod::ocp
                                                                          : ScaleMethod::absmax;
  }
  // Whether the scale depends on more of its elements than their largest magnitude.
  bool needs_elements() const {
    return method != ScaleMethod::absmax && method != ScaleMethod::ocp &&
           method != ScaleMethod::full && method != ScaleMethod::given;
  }
};

// What the elements that share all their scales have in common.
struct Group {
  float scale = 1;      // of all levels together
  int32_t zero = 0;     // the code that stands for zero: codes less it are multiplied
  int alternative = 0;  // which of a codebook's lists
};

// Format + scaling + rounding and overflow rule.
// Written  cast[:ftz|literal]{@granularity[(scale-format[:rounding][,method])]}.
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
  // The same for an element of a group. With a zero point z: round(value) limited to what its code
  // round(value) + z can be.
  Dyadic quantise(const Dyadic& value, uint64_t position, const Group& group) const;

  bool has_zero_point() const;
  bool has_alternatives() const {
    return cast.format.is_listed() && !cast.format.codebook->alternatives().empty();
  }
  // Of what the multiplier sees, as Format's.
  int significand_bits() const;
  int least_bit() const;
  int max_exponent() const;
  // Stored bits an element, its share of the scales, zero points and choices of lists included,
  // for rows of k elements, `rows` of them.
  double bits_per_element(int64_t rows, int64_t k) const;
};

// The scale of a group whose largest magnitude is `absmax` (finite, >= 0), for elements of largest
// magnitude `element_max`: absmax / element_max, or OCP's power of two, rounded to the scale's
// format. A zero group, or a scale that rounds to zero, has scale 1 (or the nearest the format
// has).
Dyadic choose_scale(const ScaleLevel& level, double absmax, double element_max);

// The elements that a scale serves. `values` may be empty where !level.needs_elements().
struct Elements {
  std::span<const float> values;
  double absmax = 0;  // of the finite ones
};
double finite_absmax(std::span<const float> values);

// Chooses the scale of level `level` of an operand for elements that coarser levels have scaled by
// `coarser`. Scales are chosen from the coarsest level to the finest. A coarser scale leaves the
// finer ones the upper end of their formats (as NVFP4): its elements' largest value is that of the
// element format times that of the finer scales' formats. The levels' product is taken in f32; a
// level that would make it zero is left out.
Group choose_group(const Operand& operand, size_t level, const Elements& elements, float coarser);

// The same for every level and every element of a dense matrix; blocks divide k.
std::vector<Group> choose_groups(const Operand& operand, int64_t rows, int64_t k,
                                 const float* data);

}  // namespace napier
