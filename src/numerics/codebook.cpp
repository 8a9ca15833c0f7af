// Reading and rounding by a list of values.
#include "napier/codebook.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "napier/format.hpp"

namespace napier {

Codebook::Codebook(std::string name, std::vector<double> values, std::string summary,
                   std::vector<double> decisions, std::vector<const Codebook*> alternatives)
    : name_(std::move(name)),
      summary_(std::move(summary)),
      decisions_(std::move(decisions)),
      alternatives_(std::move(alternatives)),
      bits_(std::max(1, static_cast<int>(std::bit_width(values.size() - 1)))) {
  for (const double value : values) values_.push_back(Dyadic::from_double(value));
  values_.resize(size_t{1} << bits_, values_.back());

  std::vector<uint32_t> order(values.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](uint32_t a, uint32_t b) { return values[a] < values[b]; });
  for (const uint32_t code : order) {
    if (!sorted_.empty() && sorted_.back() == values[code]) continue;
    sorted_.push_back(values[code]);
    codes_.push_back(code);
  }
  for (size_t i = 0; decisions_.size() + 1 < sorted_.size(); ++i) {
    decisions_.push_back((sorted_[i] + sorted_[i + 1]) / 2);
  }

  bool first = true;
  for (size_t i = 0; i < sorted_.size(); ++i) {
    const Dyadic value = Dyadic::from_double(sorted_[i]);
    if (value.is_zero()) {
      has_zero_ = true;
      continue;
    }
    if (!value.negative && (i == 0 || sorted_[i - 1] <= 0)) min_positive_code_ = codes_[i];
    const int bits = 64 - std::countr_zero(value.significand);
    const int least = value.exponent - bits + 1;
    significand_bits_ = std::max(significand_bits_, bits);
    least_bit_ = first ? least : std::min(least_bit_, least);
    max_exponent_ = first ? value.exponent : std::max(max_exponent_, value.exponent);
    min_exponent_ = first ? value.exponent : std::min(min_exponent_, value.exponent);
    first = false;
  }
  for (const Codebook* list : alternatives_) {
    significand_bits_ = std::max(significand_bits_, list->significand_bits_);
    least_bit_ = std::min(least_bit_, list->least_bit_);
    max_exponent_ = std::max(max_exponent_, list->max_exponent_);
    min_exponent_ = std::min(min_exponent_, list->min_exponent_);
  }
}

std::vector<double> Codebook::values() const {
  std::vector<double> values;
  for (const Dyadic& value : values_) values.push_back(to_double(value));
  return values;
}

uint64_t Codebook::encode(const Dyadic& value, Rounding rounding, uint32_t random) const {
  const auto at = [&](size_t i) { return Dyadic::from_double(sorted_[i]); };
  // The first value that is not below.
  size_t high = 0;
  for (size_t count = sorted_.size(); count > 0;) {
    const size_t half = count / 2;
    if (compare(at(high + half), value) < 0) {
      high += half + 1;
      count -= half + 1;
    } else {
      count = half;
    }
  }
  if (high == sorted_.size()) return codes_.back();
  if (high == 0 || compare(at(high), value) == 0) return codes_[high];
  const size_t low = high - 1;
  const auto nearest = [&] {
    return codes_[compare(value, Dyadic::from_double(decisions_[low])) > 0 ? high : low];
  };
  switch (rounding) {
    case Rounding::nearest_even:
    case Rounding::nearest_away: return nearest();
    case Rounding::up: return codes_[high];
    case Rounding::down: return codes_[low];
    case Rounding::to_odd: return codes_[high % 2 != 0 ? high : low];
    case Rounding::toward_zero: {
      // Where the list has no zero, zero lies between two values: the nearer one.
      if (sorted_[low] < 0 && sorted_[high] > 0) return nearest();
      return codes_[sorted_[low] >= 0 ? low : high];
    }
    case Rounding::stochastic: {
      // Both differences to 64 bits: the quotient's error is far below 2^-32.
      const Dyadic part = value + -at(low);
      const Dyadic gap = at(high) + -at(low);
      const double fraction = to_double(part) / to_double(gap);
      return codes_[random < fraction * 0x1p32 ? high : low];
    }
  }
  return 0;
}

}  // namespace napier
