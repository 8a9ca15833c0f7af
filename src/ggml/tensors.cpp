#include "ggml/tensors.hpp"

#include <cstring>
#include <string>

#include "ggml/backend.hpp"
#include "napier/gemm.hpp"

namespace napier {
namespace {

bool is_matmul(const ggml_tensor* node) {
  return node->op == GGML_OP_MUL_MAT || node->op == GGML_OP_MUL_MAT_ID ||
         node->op == GGML_OP_OUT_PROD;
}

bool is_weight(const ggml_tensor* tensor) {
  const ggml_tensor* owner = data_owner(tensor);
  if (owner->flags & GGML_TENSOR_FLAG_PARAM) return true;
  if (is_served_weight(owner)) return true;
  return owner->buffer &&
         ggml_backend_buffer_get_usage(owner->buffer) == GGML_BACKEND_BUFFER_USAGE_WEIGHTS;
}

// The layer of a cache tensor named "cache_k_l3" or "cache_v_l3"; empty for others, cache copies
// ("cache_k_l3 (view) (copy)") included.
std::string_view cache_layer(const ggml_tensor* tensor) {
  const std::string_view name = tensor->name;
  if (!name.starts_with("cache_k_l") && !name.starts_with("cache_v_l")) return {};
  const std::string_view layer = name.substr(9);
  return layer.find_first_not_of("0123456789") == layer.npos ? layer : std::string_view();
}

// The cache tensor that an operand of attention is a view, copy or permutation of, or nullptr.
const ggml_tensor* cache_of(const ggml_tensor* tensor) {
  for (int step = 0; tensor && step < 8; step++) {
    const ggml_tensor* owner = data_owner(tensor);
    if (!cache_layer(owner).empty()) return owner;
    tensor = owner->src[0];
  }
  return nullptr;
}

}  // namespace

std::optional<MatmulIdentity> identify_matmul(const ggml_tensor* node, const Plan& plan) {
  if (!is_matmul(node)) return std::nullopt;
  MatmulIdentity identity;
  // An outer product is a gradient: it has a name of its own, and sums over its operands' rows.
  const bool is_gradient = node->op == GGML_OP_OUT_PROD;
  identity.is_weight = !is_gradient && is_weight(node->src[0]);
  identity.name = identity.is_weight ? data_owner(node->src[0])->name : node->name;
  identity.rule = plan.match(identity.name);
  identity.multiplications = static_cast<uint64_t>(ggml_nelements(node)) *
                             static_cast<uint64_t>(node->src[0]->ne[is_gradient ? 1 : 0]);
  return identity;
}

bool is_served_weight(const ggml_tensor* owner) {
  return owner->op == GGML_OP_NONE && owner->buffer &&
         ggml_backend_buffer_get_type(owner->buffer) == backend_buffer_type() &&
         std::string_view(owner->name).ends_with(".weight");
}

bool is_readable(const ggml_tensor* tensor) {
  if (tensor->type == GGML_TYPE_F32) return true;
  const ggml_type_traits* traits = ggml_get_type_traits(tensor->type);
  if (!traits->to_float) return false;
  return traits->blck_size == 1 || tensor->nb[0] == traits->type_size;
}

void read_row(const ggml_tensor* tensor, int64_t i1, int64_t i2, int64_t i3, float* out) {
  const char* row = static_cast<const char*>(tensor->data) + i1 * tensor->nb[1] +
                    i2 * tensor->nb[2] + i3 * tensor->nb[3];
  const int64_t count = tensor->ne[0];
  const size_t step = tensor->nb[0];
  if (tensor->type == GGML_TYPE_F32) {
    if (step == sizeof(float)) {
      const int64_t stride = static_cast<int64_t>(tensor->nb[1] / sizeof(float));
      copy_row(reinterpret_cast<const float*>(row), stride, count, out);
    } else {
      for (int64_t i = 0; i < count; i++) std::memcpy(out + i, row + i * step, sizeof(float));
    }
    return;
  }
  const ggml_type_traits* traits = ggml_get_type_traits(tensor->type);
  if (step == traits->type_size) {
    traits->to_float(row, out, count);
  } else {
    for (int64_t i = 0; i < count; i++) traits->to_float(row + i * step, out + i, 1);
  }
}

const char* cache_type(const ggml_tensor* node) {
  const ggml_tensor* cache = cache_of(node->src[0]);
  return cache ? ggml_type_name(cache->type) : nullptr;
}

bool hides_named_matmuls(const ggml_tensor* node, const Plan& plan) {
  if (node->op != GGML_OP_FLASH_ATTN_EXT) return false;
  // Without it this layer would have kq-N and kqv-N; N stands in its cache's name.
  const ggml_tensor* cache = cache_of(node->src[1]);
  const std::string layer(cache ? cache_layer(cache) : "0");
  return plan.match("kq-" + layer) || plan.match("kqv-" + layer);
}

bool is_fused_product(const ggml_tensor* node) {
  switch (node->op) {
    case GGML_OP_FLASH_ATTN_EXT:
    case GGML_OP_GATED_DELTA_NET:
    case GGML_OP_GATED_LINEAR_ATTN:
    case GGML_OP_LIGHTNING_INDEXER:
    case GGML_OP_SOLVE_TRI:
    case GGML_OP_DSV4_HC_COMB:
    case GGML_OP_DSV4_HC_PRE:
    case GGML_OP_DSV4_HC_POST:
    case GGML_OP_SSM_SCAN:
    case GGML_OP_RWKV_WKV6:
    case GGML_OP_RWKV_WKV7: return true;
    default: return false;
  }
}

}  // namespace napier
