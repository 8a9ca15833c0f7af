// Formats that are given by the list of their values.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "napier/dyadic.hpp"
#include "napier/rounding.hpp"

namespace napier {

// The value of each code, and between which values numbers are told apart. Immutable, thread safe.
//
// Rounding to nearest, by whichever name, decides at the points half way between neighbours, unless
// the list comes with its own, and gives such a point itself to the lower value, as the code of
// bitsandbytes and BitMoD has it. Codes that repeat a value are never written.
class Codebook {
 public:
  // `values[code]`, finite, at most 2^16. `decisions`: where the neighbours of the sorted list are
  // told apart, one fewer than there are distinct values; none: half way.
  // `alternatives` are lists from which each group of elements takes the one that serves it best.
  Codebook(std::string name, std::vector<double> values, std::string summary,
           std::vector<double> decisions = {}, std::vector<const Codebook*> alternatives = {});

  std::string_view name() const { return name_; }
  std::string_view summary() const { return summary_; }
  std::span<const Codebook* const> alternatives() const { return alternatives_; }

  int bits() const { return bits_; }
  // Of each code, as given.
  std::vector<double> values() const;
  Dyadic decode(uint64_t code) const { return values_[code & ((uint64_t{1} << bits_) - 1)]; }
  // The code of the number that `value` rounds to; numbers beyond the ends become the ends.
  uint64_t encode(const Dyadic& value, Rounding rounding, uint32_t random) const;

  // The distinct values in rising order, their codes, and what tells neighbours apart: a value v
  // belongs to the first one whose decision is >= v.
  std::span<const double> sorted() const { return sorted_; }
  std::span<const uint32_t> codes() const { return codes_; }
  std::span<const double> decisions() const { return decisions_; }

  // Of all values: significant bits of the longest, the power of two that all are multiples of,
  // floor(log2) of the largest and of the smallest magnitude that is not zero.
  int significand_bits() const { return significand_bits_; }
  int least_bit() const { return least_bit_; }
  int max_exponent() const { return max_exponent_; }
  int min_exponent() const { return min_exponent_; }
  bool has_zero() const { return has_zero_; }
  uint64_t max_code() const { return codes_.back(); }
  uint64_t lowest_code() const { return codes_.front(); }
  uint64_t min_positive_code() const { return min_positive_code_; }

 private:
  std::string name_;
  std::string summary_;
  std::vector<Dyadic> values_;
  std::vector<double> sorted_;
  std::vector<uint32_t> codes_;
  std::vector<double> decisions_;
  std::vector<const Codebook*> alternatives_;
  int bits_ = 0;
  int significand_bits_ = 1;
  int least_bit_ = 0;
  int max_exponent_ = 0;
  int min_exponent_ = 0;
  bool has_zero_ = false;
  uint64_t min_positive_code_ = 0;
};

// The registry of codebooks: src/numerics/codebooks.cpp.
std::span<const Codebook> codebooks();

// PowerQuant's values (arXiv 2301.09858, NUPES 2308.05600): i^(1/a) for the integers |i| <= 2^(b-1)
// - 1, each standing for the numbers v whose |v|^a rounds to it, to nearest even. a in hundredths.
// Written pow<b>a<hundredths>: pow4a50. The same codebook for the same arguments.
const Codebook& power_codebook(int bits, int hundredths);
inline constexpr int k_max_power_bits = 8;
inline constexpr int k_min_power_hundredths = 25;

}  // namespace napier
