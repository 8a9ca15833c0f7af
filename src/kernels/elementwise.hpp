// Products of numbers, not summed.
#pragma once

#include <cstdint>

#include "napier/arithmetic.hpp"
#include "napier/thread_pool.hpp"

namespace napier {

// out[i] is the product of x[i] and w[i], of dense matrices of `rows` rows of k: operands scaled
// and quantised as in a matrix multiplication, the product as the multiplier gives it, rounded to
// f32 (to nearest even, overflowing to infinity), times the scales of x and of w, in f32. There is
// no accumulator in it. Throws Error where a block does not divide k.
void multiply_elements(const Arithmetic& arithmetic, int64_t rows, int64_t k, const float* x,
                       const float* w, float* out, ThreadPool& pool);

// What the multiplier is given for a dense matrix, times its scales, in f64 (which holds both).
void quantise_elements(const Operand& operand, int64_t rows, int64_t k, const float* in,
                       double* out, ThreadPool& pool);

}  // namespace napier
