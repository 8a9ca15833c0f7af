// How scales, zero points and lists are chosen, and what they make of an element.
#include <algorithm>
#include <bit>
#include <cmath>

#include "napier/operand.hpp"

namespace napier {
namespace {

constexpr int k_mse_steps = 24;  // clips tried: absmax 2^(-j/6)
constexpr double k_mse_steps_per_octave = 6;

// The element of largest magnitude that scales aim at.
double aim(const Format& format) {
  const double largest = to_double(format.max_finite());
  return format.is_listed() ? std::max(largest, std::fabs(to_double(format.lowest()))) : largest;
}

// In formats that span f32's range a finer scale needs no help from a coarser one.
double scale_range(const ScaleLevel& level) {
  return level.format.exponent_bits >= 8 ? 1.0 : to_double(level.format.max_finite());
}

Format alternative_of(const Format& format, int alternative) {
  return Format::listed(*format.codebook->alternatives()[static_cast<size_t>(alternative)]);
}

template <class Visit>
void for_finite(std::span<const float> values, const Visit& visit) {
  for (const float value : values) {
    if (std::isfinite(value)) visit(double{value});
  }
}

// The nearest-rank percentile of the finite magnitudes.
double percentile(std::span<const float> values, double percent) {
  std::vector<float> magnitudes;
  for_finite(values,
             [&](double value) { magnitudes.push_back(static_cast<float>(std::fabs(value))); });
  if (magnitudes.empty()) return 0;
  const double count = static_cast<double>(magnitudes.size());
  const double rank = std::clamp(std::ceil(percent / 100 * count), 1.0, count);
  const auto at = magnitudes.begin() + static_cast<ptrdiff_t>(rank) - 1;
  std::nth_element(magnitudes.begin(), at, magnitudes.end());
  return double{*at};
}

double mean_magnitude(std::span<const float> values) {
  double sum = 0;
  double count = 0;
  for_finite(values, [&](double value) {
    sum += std::fabs(value);
    ++count;
  });
  return count == 0 ? 0 : sum / count;
}

template <class Quantise>
double squared_error(std::span<const float> values, double scale, const Quantise& quantise) {
  double error = 0;
  for_finite(values, [&](double value) {
    const double difference = value - quantise(value / scale) * scale;
    error += difference * difference;
  });
  return error;
}

// Searches look at each element dozens of times: what is usual is rounded in f64, which is exact.
double squared_error(const Operand& operand, std::span<const float> values, const Group& group) {
  const double scale = double{group.scale};
  const Format& format = operand.cast.format;
  const bool nearest = operand.cast.rounding == Rounding::nearest_even &&
                       operand.cast.overflow == Overflow::saturate &&
                       operand.subnormals == Subnormals::keep && !operand.has_zero_point();
  if (nearest && format.is_listed()) {
    const std::span<const double> decisions = format.codebook->decisions();
    const std::span<const double> sorted = format.codebook->sorted();
    return squared_error(values, scale, [&](double v) {
      const auto at = std::lower_bound(decisions.begin(), decisions.end(), v);
      return sorted[static_cast<size_t>(at - decisions.begin())];
    });
  }
  if (nearest && format.is_signed && format.has_subnormals && format.mantissa_bits > 0 &&
      format.mantissa_bits <= 23 && format.min_exponent() > -900 && format.max_exponent() < 900) {
    const double floor = std::ldexp(1.0, format.min_exponent());
    const double magic = std::ldexp(1.5, 52 - format.mantissa_bits);  // adding it rounds to a gap
    const double largest = to_double(format.max_finite());
    const double lowest = to_double(format.lowest());
    const bool fixed = format.exponent_bits == 0;
    return squared_error(values, scale, [&](double v) {
      const double limited = std::clamp(v, 2 * lowest, 2 * largest);
      const uint64_t bits = std::bit_cast<uint64_t>(limited) & 0x7FF0000000000000;
      const double power = fixed ? floor : std::max(std::bit_cast<double>(bits), floor);
      const double shift = power * magic;
      return std::clamp((limited + shift) - shift, lowest, largest);
    });
  }
  return squared_error(values, scale, [&](double v) {
    return to_double(operand.quantise(Dyadic::from_double(v), 0, group));
  });
}

// The product of a coarser scale and a finer one, in f32; the coarser one alone where it would be
// zero.
float times(float coarser, const Dyadic& finer) {
  const float product = to_float(Dyadic::from_float(coarser) * finer);
  return product == 0 ? coarser : product;
}

Group with_scale(const ScaleLevel& level, double absmax, double largest, float coarser) {
  if (level.format.is_power_of_two() && level.method != ScaleMethod::ocp && coarser != 1) {
    // As ZeroQuant-FP's M2: a ratio of two f32 scales, exactly 1 for the group of the largest.
    const double own = double{static_cast<float>(absmax / largest)};
    return {times(coarser, choose_scale(level, own / double{coarser}, 1)), 0, 0};
  }
  return {times(coarser, choose_scale(level, absmax / double{coarser}, largest)), 0, 0};
}

Group with_zero_point(const Operand& operand, const ScaleLevel& level, const Elements& elements,
                      float coarser) {
  double least = 0;
  double greatest = 0;
  for_finite(elements.values, [&](double value) {
    least = std::min(least, value);
    greatest = std::max(greatest, value);
  });
  const double lowest = to_double(operand.cast.format.lowest());
  const double largest = to_double(operand.cast.format.max_finite());
  Group group = with_scale(level, greatest - least, largest - lowest, coarser);
  const double zero = lowest - std::nearbyint(least / double{group.scale});
  group.zero = static_cast<int32_t>(std::clamp(zero, lowest, largest));
  return group;
}

// The scale of one list or format.
Group choose_plain(const Operand& operand, size_t index, const Elements& elements, float coarser) {
  const ScaleLevel& level = operand.scaling[index];
  double largest = aim(operand.cast.format);
  for (size_t finer = 0; finer < index; ++finer) largest *= scale_range(operand.scaling[finer]);
  switch (level.method) {
    case ScaleMethod::full: largest += 0.5; break;
    case ScaleMethod::minmax: return with_zero_point(operand, level, elements, coarser);
    case ScaleMethod::percentile:
      return with_scale(level, percentile(elements.values, level.parameter), largest, coarser);
    case ScaleMethod::mean: {
      const double factor = level.parameter == 0 ? 1 : level.parameter;
      return with_scale(level, factor * mean_magnitude(elements.values), largest, coarser);
    }
    case ScaleMethod::given: {
      const Cast cast{level.format, level.rounding, 0, Overflow::saturate};
      return {times(coarser, cast(Dyadic::from_double(level.parameter))), level.zero, 0};
    }
    case ScaleMethod::mse: {
      Group best;
      double least = 0;
      for (int j = 0; j <= k_mse_steps; ++j) {
        const double clip = elements.absmax * std::exp2(-j / k_mse_steps_per_octave);
        const Group group = with_scale(level, clip, largest, coarser);
        const double error = squared_error(operand, elements.values, group);
        if (j > 0 && !(error < least)) continue;
        best = group;
        least = error;
      }
      return best;
    }
    default: break;
  }
  return with_scale(level, elements.absmax, largest, coarser);
}

}  // namespace

double finite_absmax(std::span<const float> values) {
  double result = 0;
  for_finite(values, [&](double value) { result = std::max(result, std::fabs(value)); });
  return result;
}

Dyadic choose_scale(const ScaleLevel& level, double absmax, double element_max) {
  const Cast cast{level.format, level.rounding, 0, Overflow::saturate};
  const Dyadic one = cast(Dyadic::make(false, 1, 0));
  if (!(absmax > 0)) return one;
  const Dyadic scale = level.method == ScaleMethod::ocp
                           ? Dyadic::make(false, 1, std::ilogb(absmax) - std::ilogb(element_max))
                           : Dyadic::from_double(absmax / element_max);
  const Dyadic rounded = cast(scale);
  return rounded.is_zero() ? one : rounded;
}

Group choose_group(const Operand& operand, size_t level, const Elements& elements, float coarser) {
  if (!operand.has_alternatives() || level > 0) {
    return choose_plain(operand, level, elements, coarser);
  }
  Group best;
  double least = 0;
  const int count = static_cast<int>(operand.cast.format.codebook->alternatives().size());
  for (int i = 0; i < count; ++i) {
    Operand plain = operand;
    plain.cast.format = alternative_of(operand.cast.format, i);
    Group group = choose_plain(plain, level, elements, coarser);
    const double error = squared_error(plain, elements.values, group);
    if (i > 0 && !(error < least)) continue;
    group.alternative = i;
    best = group;
    least = error;
  }
  return best;
}

std::vector<Group> choose_groups(const Operand& operand, int64_t rows, int64_t k,
                                 const float* data) {
  std::vector<Group> groups(static_cast<size_t>(rows * k));
  const auto choose = [&](size_t level, std::span<const float> values, float coarser) {
    return choose_group(operand, level, {values, finite_absmax(values)}, coarser);
  };
  for (size_t level = operand.scaling.size(); level-- > 0;) {
    const ScaleLevel& how = operand.scaling[level];
    if (how.granularity == Granularity::column) {
      std::vector<float> values(static_cast<size_t>(rows));
      for (int64_t column = 0; column < k && rows > 0; ++column) {
        for (int64_t row = 0; row < rows; ++row) {
          values[static_cast<size_t>(row)] = data[row * k + column];
        }
        const Group group = choose(level, values, groups[static_cast<size_t>(column)].scale);
        for (int64_t row = 0; row < rows; ++row) {
          groups[static_cast<size_t>(row * k + column)] = group;
        }
      }
      continue;
    }
    const int64_t count = how.granularity == Granularity::tensor ? rows * k
                          : how.granularity == Granularity::row  ? k
                                                                 : int64_t{how.block};
    for (int64_t begin = 0; begin < rows * k; begin += count) {
      const std::span<const float> values(data + begin, static_cast<size_t>(count));
      const auto first = groups.begin() + begin;
      std::fill_n(first, count, choose(level, values, first->scale));
    }
  }
  return groups;
}

Dyadic Operand::quantise(const Dyadic& value, uint64_t position, const Group& group) const {
  if (value.is_nan()) return value;
  if (has_alternatives()) {
    Cast of_list = cast;
    of_list.format = alternative_of(cast.format, group.alternative);
    return of_list(value, position);
  }
  if (!has_zero_point()) return quantise(value, position);
  constexpr int k_wide_bits = 40;  // more than any number that is not limited
  const Cast wide{Format::integer(k_wide_bits, true), cast.rounding, cast.seed, Overflow::saturate};
  const Dyadic zero = Dyadic::from_double(group.zero);
  const Dyadic lowest = cast.format.lowest() + -zero;
  const Dyadic largest = cast.format.max_finite() + -zero;
  const Dyadic rounded = wide(value, position);
  return compare(rounded, lowest) < 0 ? lowest : compare(rounded, largest) > 0 ? largest : rounded;
}

bool Operand::has_zero_point() const {
  return !scaling.empty() &&
         (scaling.front().method == ScaleMethod::minmax || scaling.front().zero != 0);
}

int Operand::significand_bits() const {
  const Format& format = cast.format;
  return has_zero_point() ? format.bits() : format.significand_bits();
}

int Operand::least_bit() const {
  const Format& format = cast.format;
  const bool literal = subnormals == Subnormals::literal && format.is_float() &&
                       format.has_subnormals && format.exponent_bits != 0;
  return format.least_bit() - (literal ? 1 : 0);
}

int Operand::max_exponent() const {
  return has_zero_point() ? cast.format.bits() - 1 : cast.format.max_exponent();
}

double Operand::bits_per_element(int64_t rows, int64_t k) const {
  double bits = cast.format.bits();
  for (size_t i = 0; i < scaling.size(); ++i) {
    const ScaleLevel& level = scaling[i];
    if (level.method == ScaleMethod::given) continue;  // a constant
    double of_group = level.format.bits();
    if (i == 0 && has_zero_point()) of_group += cast.format.bits();
    if (i == 0 && has_alternatives()) {
      of_group += std::bit_width(cast.format.codebook->alternatives().size() - 1);
    }
    const int64_t elements = level.granularity == Granularity::block    ? int64_t{level.block}
                             : level.granularity == Granularity::row    ? k
                             : level.granularity == Granularity::column ? rows
                                                                        : rows * k;
    bits += of_group / static_cast<double>(std::max<int64_t>(1, elements));
  }
  return bits;
}

}  // namespace napier
