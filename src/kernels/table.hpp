// Products of numbers of up to 8 bits, all of them known beforehand.
#pragma once

#include <bit>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "kernels/panels.hpp"

namespace napier::table {

inline constexpr int k_codes = 256;

// The numbers of an operand: at most k_codes, no NaN, in rising order. A number's code is its
// place.
class Codes {
 public:
  // False where there are too many.
  bool assign(const Operand& operand);

  const std::vector<float>& values() const { return values_; }
  uint8_t code(float value) const {  // of one of the numbers; of others any
    return by_half_ ? of_half_[std::bit_cast<uint32_t>(value) >> 16] : found(value);
  }

 private:
  uint8_t found(float value) const;

  std::vector<float> values_;
  bool by_half_ = true;           // no two have the same upper half of their f32 patterns
  std::vector<uint8_t> of_half_;  // code of each upper half
};

// products[x * k_codes + w]. The same as bytes: of each x so many planes of k_codes bytes, from the
// lowest byte that is not zero in all products.
struct Products {
  Codes x, w;
  std::vector<float> products;
  int planes = 0;  // 2: the upper halves; 4
  std::vector<uint8_t> bytes;
};

// The products of an arithmetic, or nothing and a reason. Tables are kept: asked for again, an
// arithmetic costs nothing. Thread safe.
std::shared_ptr<const Products> products_of(const Arithmetic& arithmetic, std::string* why_not);

// sums[panel * k_panel + c]: of the products of x[k] and w[panel * panel_stride + k * k_panel + c],
// begin <= k < end, in order of k. Up to k_panels panels; 16 bytes after the last one are read.
inline constexpr int64_t k_panels = 4;
void sum_products(const Products& products, const uint8_t* x, const uint8_t* w,
                  int64_t panel_stride, int64_t panels, int64_t begin, int64_t end, float* sums);

// The same in f64, where sums of so many terms are exact and what an accumulator of integers or an
// exact one makes of them; rounded to f32 in the end. 0 terms: not for this accumulator.
void sum_products_exactly(const Products& products, const uint8_t* x, const uint8_t* w,
                          int64_t panel_stride, int64_t panels, int64_t begin, int64_t end,
                          float* sums);
int64_t exact_terms(const Products& products, const Accumulator& accumulator);

// sum_products() by permutations of bytes in registers (AVX512_VBMI), where the machine has them.
bool has_byte_permutations();
void sum_permuted(const Products& products, const uint8_t* x, const uint8_t* w,
                  int64_t panel_stride, int64_t panels, int64_t begin, int64_t end, float* sums);

}  // namespace napier::table
