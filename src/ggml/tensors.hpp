// Reading ggml's tensors: rows as f32, the name by which plans know a matrix multiplication.
#pragma once

#include <ggml-backend.h>
#include <ggml.h>

#include <cstdint>
#include <optional>
#include <string_view>

#include "napier/gemm.hpp"
#include "napier/plan.hpp"

namespace napier {

// A MUL_MAT, MUL_MAT_ID or OUT_PROD node as the plan sees it.
struct MatmulIdentity {
  // The weight's name where the first operand lies in a buffer of weights (or is trained), else
  // the node's; of an OUT_PROD always the node's. Lives as long as the tensor.
  std::string_view name;
  bool is_weight = false;
  std::optional<size_t> rule;    // of the plan, nothing if it is left to the engine
  uint64_t multiplications = 0;  // scalar ones
};

// Nothing for other nodes.
std::optional<MatmulIdentity> identify_matmul(const ggml_tensor* node, const Plan& plan);

// The tensor that owns the data of a view.
inline const ggml_tensor* data_owner(const ggml_tensor* tensor) {
  return tensor->view_src ? tensor->view_src : tensor;
}

// Whether a tensor that owns its data is a weight in the memory of a server of llama.cpp's RPC,
// which is told names, but not which buffers hold weights.
bool is_served_weight(const ggml_tensor* owner);

// Whether rows of this tensor can be read as f32.
bool is_readable(const ggml_tensor* tensor);

// Row i1 of matrix (i2, i3), of any type and with any strides.
void read_row(const ggml_tensor* tensor, int64_t i1, int64_t i2, int64_t i3, float* out);

// The type of the K or V cache that an attention product reads, or nullptr.
const char* cache_type(const ggml_tensor* node);

// Whether a flash attention stands in for the products kq and kqv of a layer, where the plan names
// one of them.
bool hides_named_matmuls(const ggml_tensor* node, const Plan& plan);

// Whether a node multiplies matrices within a larger operation, which no plan can name.
bool is_fused_product(const ggml_tensor* node);

}  // namespace napier
