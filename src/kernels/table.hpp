// Products of numbers of up to 8 bits, all of them known beforehand.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "kernels/panels.hpp"

namespace napier::table {

inline constexpr int k_codes = 256;

// The numbers of an operand, by the upper halves of their f32 patterns.
struct Codes {
  std::vector<float> values;  // at most k_codes, no NaN
  std::vector<uint8_t> code;  // of each upper half; those of no number have the first's
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

// The same by permutations of bytes in registers (AVX512_VBMI), where the machine has them.
bool has_byte_permutations();
void sum_permuted(const Products& products, const uint8_t* x, const uint8_t* w,
                  int64_t panel_stride, int64_t panels, int64_t begin, int64_t end, float* sums);

}  // namespace napier::table
