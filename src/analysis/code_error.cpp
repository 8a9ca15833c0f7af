#include "analysis/code_error.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "analysis/error_sums.hpp"
#include "kernels/kernel.hpp"

namespace napier {
namespace {

constexpr double k_infinity = std::numeric_limits<double>::infinity();

// f32's finite numbers in ascending order, as integers; -0 and 0 are two.
int64_t place_of(float value) {
  const auto bits = std::bit_cast<int32_t>(value);
  return bits >= 0 ? int64_t{bits} : -1 - int64_t{bits & 0x7FFFFFFF};
}
float number_at(int64_t place) {
  const auto bits = static_cast<uint32_t>(place >= 0 ? place : -1 - place);
  return std::bit_cast<float>(place >= 0 ? bits : bits | 0x80000000u);
}

// Where no other element of its group has a say in the scale.
bool has_constant_scale(const Operand& operand) {
  return operand.cast.rounding != Rounding::stochastic &&
         std::all_of(operand.scaling.begin(), operand.scaling.end(), [](const ScaleLevel& level) {
           return level.method == ScaleMethod::given && level.granularity != Granularity::block;
         });
}

CodeShares shares_of_codes(const Format& format) {
  std::map<double, double> counts;
  const uint64_t codes = uint64_t{1} << format.bits();
  double numbers = 0;
  const auto count = [&](double value) {
    if (!std::isfinite(value)) return;
    ++counts[value + 0.0];  // -0 is 0
    ++numbers;
  };
  if (format.is_listed()) {
    for (const double value : format.codebook->values()) count(value);
  } else {
    for (uint64_t code = 0; code < codes; ++code) count(to_double(format.decode(code)));
  }
  CodeShares shares;
  for (const auto& [value, times] : counts) {
    shares.values.push_back(value);
    shares.shares.push_back(times / numbers);
  }
  return shares;
}

// What becomes of numbers, one a row; beyond the format an infinity of their sign.
std::vector<double> become(const Operand& operand, const std::vector<int64_t>& places) {
  std::vector<float> numbers;
  for (const int64_t place : places) numbers.push_back(number_at(place));
  std::vector<double> values = quantise_rows(operand, numbers, 1).values;
  for (size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i])) values[i] = std::copysign(k_infinity, numbers[i]);
    values[i] += 0.0;
  }
  return values;
}

struct Between {
  int64_t low, high;  // whose values differ
  double low_value, high_value;
};

// Those of a block.
CodePairs counted_pairs(const Arithmetic& arithmetic, const OperandBlock& block) {
  check_shape(arithmetic, block.k);
  const std::vector<double> x = quantise_rows(arithmetic.x, block.x, block.k).values;
  const std::vector<double> w = quantise_rows(arithmetic.w, block.w, block.k).values;
  const auto code = [](double value) { return std::isnan(value) ? k_infinity : value + 0.0; };
  CodePairs pairs;
  for (size_t j = 0; j < w.size(); ++j) ++pairs[{code(x[j % x.size()]), code(w[j])}];
  return pairs;
}

ErrorSums sums_of(const Multiplier& multiplier, const CodePairs& pairs) {
  ErrorSums sums;
  for (const auto& [operands, times] : pairs) {
    const auto [x, w] = operands;
    if (!std::isfinite(x) || !std::isfinite(w)) {
      sums.not_finite += times;
      continue;
    }
    const double product =
        to_double(multiplier.multiply(Dyadic::from_double(x), Dyadic::from_double(w)));
    sums.add(x * w, product, times);
    if (x * w != 0 && std::isfinite(product)) sums.step += times * step_of(x, w, product);
  }
  return sums;
}

}  // namespace

bool has_few_codes(const Arithmetic& arithmetic) {
  const auto few = [](const Operand& operand) { return operand.cast.format.bits() <= 8; };
  const auto product = arithmetic.multiplier.product();
  return few(arithmetic.x) && few(arithmetic.w) &&
         (!product || product->rounding != Rounding::stochastic);
}

std::optional<CodeShares> code_shares(const Operand& operand, const OperandLaw& law) {
  if (operand.has_zero_point() || operand.has_alternatives()) return std::nullopt;
  if (law.kind == OperandLaw::Kind::codes) return shares_of_codes(operand.cast.format);
  if (!has_constant_scale(operand)) return std::nullopt;
  // Rounding is monotone: wherever two numbers become different ones, a step lies between.
  const float most = std::numeric_limits<float>::max();
  const std::vector<int64_t> ends = {place_of(-most), place_of(most)};
  const std::vector<double> end_values = become(operand, ends);
  std::vector<Between> open = {{ends[0], ends[1], end_values[0], end_values[1]}};
  std::map<double, double> last_of;  // the number halfway to the first that becomes more
  while (!open.empty()) {
    std::vector<int64_t> middles;
    for (const Between& one : open) middles.push_back(one.low + (one.high - one.low) / 2);
    const std::vector<double> values = become(operand, middles);
    std::vector<Between> next;
    for (size_t i = 0; i < open.size(); ++i) {
      const Between& one = open[i];
      for (const Between& half : {Between{one.low, middles[i], one.low_value, values[i]},
                                  Between{middles[i], one.high, values[i], one.high_value}}) {
        if (half.low_value == half.high_value) continue;
        if (half.high - half.low > 1) {
          next.push_back(half);
        } else {
          last_of[half.low_value] =
              (double{number_at(half.low)} + double{number_at(half.high)}) / 2;
        }
      }
    }
    open = std::move(next);
  }
  last_of[end_values[1]] = k_infinity;
  CodeShares shares;
  double below = 0;
  for (const auto& [value, last] : last_of) {
    const double up_to = last == k_infinity ? 1 : law.cumulative(last);
    if (up_to > below) {
      shares.values.push_back(value);
      shares.shares.push_back(up_to - below);
    }
    below = up_to;
  }
  return shares;
}

CodePairs independent_pairs(const CodeShares& x, const CodeShares& w) {
  CodePairs pairs;
  for (size_t i = 0; i < x.values.size(); ++i) {
    for (size_t j = 0; j < w.values.size(); ++j) {
      pairs[{x.values[i], w.values[j]}] = x.shares[i] * w.shares[j];
    }
  }
  return pairs;
}

ProductErrors enumerate_codes(const Arithmetic& arithmetic, const CodePairs& pairs) {
  return sums_of(arithmetic.resolved_multiplier(), pairs).result();
}

ProductErrors measure_codes(const Arithmetic& arithmetic, std::span<const OperandBlock> blocks) {
  const Multiplier multiplier = arithmetic.resolved_multiplier();
  std::vector<ErrorSums> sums;
  for (const OperandBlock& block : blocks) {
    sums.push_back(sums_of(multiplier, counted_pairs(arithmetic, block)));
  }
  return sampled_result(sums);
}

}  // namespace napier
