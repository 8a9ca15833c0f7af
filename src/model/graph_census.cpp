#include "model/graph_census.hpp"

#include <ggml.h>

#include <cstring>

#include "ggml/tensors.hpp"

namespace napier {
namespace {

uint64_t per_element(const ggml_tensor& node) {
  switch (node.op) {
    case GGML_OP_MUL:
    case GGML_OP_SCALE:
    case GGML_OP_SQR: return 1;
    // The gate, and what an activation such as x sigmoid(x) or x Phi(x) multiplies by x last.
    case GGML_OP_GLU: return ggml_get_glu_op(&node) == GGML_GLU_OP_REGLU ? 1 : 2;
    case GGML_OP_UNARY:
      switch (ggml_get_unary_op(&node)) {
        case GGML_UNARY_OP_SILU:
        case GGML_UNARY_OP_GELU:
        case GGML_UNARY_OP_GELU_ERF:
        case GGML_UNARY_OP_GELU_QUICK: return 1;
        default: return 0;
      }
    case GGML_OP_RMS_NORM:
    case GGML_OP_NORM:
    case GGML_OP_L2_NORM:
    case GGML_OP_GROUP_NORM:
    case GGML_OP_SOFT_MAX: return 2;
    default: return 0;
  }
}

}  // namespace

bool GraphCensus::on_node(ggml_tensor* node, bool ask, void* census) {
  auto* const self = static_cast<GraphCensus*>(census);
  if (!ask) {
    self->on_matmul_(*node);
    return true;
  }
  self->count(*node);
  // Where this is false there is no need to stop here, and the other call is never made.
  return self->on_matmul_ && (node->op == GGML_OP_MUL_MAT || node->op == GGML_OP_MUL_MAT_ID);
}

void GraphCensus::clear() {
  matmuls_.clear();
  elementwise_.clear();
  opaque_.clear();
}

void GraphCensus::count(const ggml_tensor& node) {
  if (!(node.flags & GGML_TENSOR_FLAG_COMPUTE) || ggml_is_empty(&node)) return;
  switch (node.op) {
    case GGML_OP_MUL_MAT:
    case GGML_OP_MUL_MAT_ID: {
      static const Plan no_plan;
      MatmulCount& count = matmuls_[std::string(identify_matmul(&node, no_plan)->name)];
      ++count.calls;
      count.multiplications += static_cast<uint64_t>(ggml_nelements(&node) * node.src[0]->ne[0]);
      return;
    }
    case GGML_OP_FLASH_ATTN_EXT:
    case GGML_OP_OUT_PROD:
    case GGML_OP_SOLVE_TRI:
    case GGML_OP_CONV_2D:
    case GGML_OP_CONV_2D_DW:
    case GGML_OP_CONV_3D:
    case GGML_OP_CONV_TRANSPOSE_1D:
    case GGML_OP_CONV_TRANSPOSE_2D:
    case GGML_OP_SSM_CONV:
    case GGML_OP_SSM_SCAN:
    case GGML_OP_RWKV_WKV6:
    case GGML_OP_RWKV_WKV7:
    case GGML_OP_GATED_DELTA_NET:
    case GGML_OP_LIGHTNING_INDEXER:
    case GGML_OP_DSV4_HC_COMB:
    case GGML_OP_DSV4_HC_PRE:
    case GGML_OP_DSV4_HC_POST:
    case GGML_OP_GATED_LINEAR_ATTN: ++opaque_[ggml_op_name(node.op)]; return;
    case GGML_OP_ROPE: {
      int32_t rotated;  // dimensions of each head, ggml.c: ggml_rope_impl
      std::memcpy(&rotated, node.op_params + 1, sizeof rotated);
      elementwise_["ROPE"] +=
          2 * static_cast<uint64_t>(ggml_nrows(&node)) * static_cast<uint64_t>(rotated);
      return;
    }
    default: break;
  }
  if (const uint64_t each = per_element(node)) {
    elementwise_[ggml_op_name(node.op)] += each * static_cast<uint64_t>(ggml_nelements(&node));
  }
}

}  // namespace napier
