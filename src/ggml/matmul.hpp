// Computing a MUL_MAT, MUL_MAT_ID or OUT_PROD node under an arithmetic.
#pragma once

#include <ggml.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "ggml/weight_cache.hpp"
#include "kernels/derivative.hpp"
#include "napier/gemm.hpp"

namespace napier {

struct MatmulContext {
  const Arithmetic& arithmetic;
  std::span<const Treatment> treatments = {};
  ThreadPool& pool;
  // Where the first operand may be kept packed: its buffer's number, or 0 to pack it every time.
  uint64_t buffer = 0;
  uint32_t arithmetic_id = 0;
  WeightCache& cache;
  size_t cache_bytes = 0;
  // Of the multiplication by a weight, whose rows follow each other; null where they do not.
  MatmulHistory* history = nullptr;
};

struct MatmulDone {
  KernelKind kernel = KernelKind::reference;
  TreatedCounts treated;
};

// Throws Error, without the node's name.
// Scaling "per tensor" means here: all of one matrix of the first operand (one head, one expert),
// and all rows of the second that are multiplied with it.
// Of an OUT_PROD, out[i, j] = sum over t of a[i, t] b[j, t], the columns of a are the arithmetic's
// w and those of b its x.
MatmulDone compute_matmul(const ggml_tensor* node, const MatmulContext& context);

// Makes an OUT_PROD node, which is a gradient, one by the arithmetic's own derivative (see
// kernels/derivative.hpp): `at` is what it is taken with respect to, [i, j] as the result; a holds
// the other operand of the multiplication, b the gradient of its result. `side` says which operand
// `at` was there.
void take_own_derivative(ggml_tensor* out_prod, ggml_tensor* at, Side side);

}  // namespace napier
