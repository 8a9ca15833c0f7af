// Which constant L-Mul should add.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "analysis/dot_error.hpp"
#include "analysis/operands.hpp"
#include "analysis/product_error.hpp"
#include "napier/thread_pool.hpp"

namespace napier {

// L-Mul on E8Mk operands with one rounding.
struct LmulVariant {
  bool formula = false;  // the reading
  Rounding rounding = Rounding::toward_zero;

  // The arithmetic with k mantissa bits and the offset 2^-l (l = 0: none).
  Arithmetic with(int k, int l) const;
};

struct OffsetErrors {
  int k = 0;
  int l = 0;  // 0: no offset
  ProductErrors products;
  DotErrors dots;

  bool is_papers() const { return l == lmul_offset_bits(k); }
};

// Every k with every l, on the same operands.
std::vector<OffsetErrors> measure_offsets(const LmulVariant& variant, std::span<const int> ks,
                                          std::span<const int> ls,
                                          std::span<const OperandBlock> blocks, ThreadPool& pool);

// Offsets from 0 to 1/2 that are no power of two.
struct BestOffset {
  double least_squares = 0;  // the least sum of squared errors of products
  double unbiased = 0;       // the mean relative error of products is zero
};

BestOffset find_best_offset(const LmulVariant& variant, int k,
                            std::span<const OperandBlock> blocks);

}  // namespace napier
