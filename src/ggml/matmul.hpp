// Computing a MUL_MAT or MUL_MAT_ID node under an arithmetic.
#pragma once

#include <ggml.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "ggml/weight_cache.hpp"
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
};

// Returns the kernel that ran. Throws Error, without the node's name.
// Scaling "per tensor" means here: all of one matrix of the first operand (one head, one expert),
// and all rows of the second that are multiplied with it.
KernelKind compute_matmul(const ggml_tensor* node, const MatmulContext& context);

}  // namespace napier
