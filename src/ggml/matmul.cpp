#include "ggml/matmul.hpp"

#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "ggml/tensors.hpp"
#include "napier/error.hpp"

namespace napier {
namespace {

using Packed = WeightCache::Packed;

// One matrix of the first operand, made ready.
Packed packed_matrix(const ggml_tensor* w, int64_t i2, int64_t i3, const MatmulContext& context) {
  const bool keep = context.buffer != 0;
  // A copy of what says where the numbers lie: what is packed may read them again.
  const RowReader reader = [=, tensor = *w](int64_t row, float* out) {
    read_row(&tensor, row, i2, i3, out);
    if (!keep) return;
    for (int64_t i = 0; i < tensor.ne[0]; i++) {
      if (!std::isfinite(out[i])) {
        throw Error("weight " + std::to_string(i) + " of row " + std::to_string(row) +
                    " is not a finite number: the model file is damaged");
      }
    }
  };
  const auto pack = [&]() -> Packed {
    return pack_weights(context.arithmetic, context.treatments, w->ne[1], w->ne[0], reader,
                        context.pool);
  };
  if (!keep) return pack();
  PackedKey key;
  key.buffer = context.buffer;
  key.data = static_cast<const char*>(w->data) + i2 * w->nb[2] + i3 * w->nb[3];
  key.type = w->type;
  key.n = w->ne[1];
  key.k = w->ne[0];
  key.row_stride = w->nb[1];
  key.element_stride = w->nb[0];
  key.arithmetic = context.arithmetic_id;
  return context.cache.get(key, context.cache_bytes, pack);
}

float* row_of(const ggml_tensor* out, int64_t i1, int64_t i2, int64_t i3) {
  return reinterpret_cast<float*>(static_cast<char*>(out->data) + i1 * out->nb[1] +
                                  i2 * out->nb[2] + i3 * out->nb[3]);
}

// Matrices of w serve r2 x r3 matrices of x each (grouped queries share a K head). The r2 lie one
// after the other in the output, so they are one multiplication with r2 times the rows.
KernelKind compute_mul_mat(const ggml_tensor* out, const MatmulContext& context) {
  const ggml_tensor* w = out->src[0];
  const ggml_tensor* x = out->src[1];
  const int64_t rows = x->ne[1];
  const int64_t r2 = x->ne[2] / w->ne[2];
  const int64_t r3 = x->ne[3] / w->ne[3];
  const bool stacked = out->nb[2] == static_cast<size_t>(rows) * out->nb[1];
  const int64_t together = stacked ? r2 : 1;

  KernelKind kernel = KernelKind::reference;
  for (int64_t w3 = 0; w3 < w->ne[3]; w3++) {
    for (int64_t w2 = 0; w2 < w->ne[2]; w2++) {
      const Packed packed = packed_matrix(w, w2, w3, context);
      kernel = packed->kernel();
      for (int64_t x3 = w3 * r3; x3 < (w3 + 1) * r3; x3++) {
        for (int64_t x2 = w2 * r2; x2 < (w2 + 1) * r2; x2 += together) {
          const RowReader reader = [=](int64_t row, float* to) {
            read_row(x, row % rows, x2 + row / rows, x3, to);
          };
          packed->multiply(rows * together, reader, row_of(out, 0, x2, x3),
                           static_cast<int64_t>(out->nb[1] / sizeof(float)), context.pool);
        }
      }
    }
  }
  return kernel;
}

// w holds a matrix for each expert; ids[slot, token] names the one that multiplies row
// (slot mod x->ne[1], token) of x. Each expert's rows are gathered, multiplied and put back.
KernelKind compute_mul_mat_id(const ggml_tensor* out, const MatmulContext& context) {
  const ggml_tensor* w = out->src[0];
  const ggml_tensor* x = out->src[1];
  const ggml_tensor* ids = out->src[2];
  struct Place {
    int64_t slot, token;
  };
  std::vector<std::vector<Place>> places(w->ne[2]);
  for (int64_t token = 0; token < ids->ne[1]; token++) {
    for (int64_t slot = 0; slot < ids->ne[0]; slot++) {
      int32_t expert = 0;
      std::memcpy(&expert,
                  static_cast<const char*>(ids->data) + token * ids->nb[1] + slot * ids->nb[0],
                  sizeof expert);
      if (expert < 0 || expert >= w->ne[2]) {
        throw Error("expert " + std::to_string(expert) + " was chosen of only " +
                    std::to_string(w->ne[2]));
      }
      places[expert].push_back({slot, token});
    }
  }

  KernelKind kernel = KernelKind::reference;
  const int64_t n = w->ne[1];
  std::vector<float> results;
  for (int64_t expert = 0; expert < w->ne[2]; expert++) {
    const std::vector<Place>& rows = places[expert];
    if (rows.empty()) continue;
    const Packed packed = packed_matrix(w, expert, 0, context);
    kernel = packed->kernel();
    const RowReader reader = [&](int64_t row, float* to) {
      read_row(x, rows[row].slot % x->ne[1], rows[row].token, 0, to);
    };
    results.resize(rows.size() * n);
    packed->multiply(static_cast<int64_t>(rows.size()), reader, results.data(), n, context.pool);
    for (size_t row = 0; row < rows.size(); row++) {
      std::memcpy(row_of(out, rows[row].slot, rows[row].token, 0), results.data() + row * n,
                  n * sizeof(float));
    }
  }
  return kernel;
}

}  // namespace

KernelKind compute_matmul(const ggml_tensor* node, const MatmulContext& context) {
  if (node->type != GGML_TYPE_F32 || node->nb[0] != sizeof(float)) {
    throw Error("its result must be of type f32 with adjacent elements");
  }
  for (int operand = 0; operand < 2; operand++) {
    if (!is_readable(node->src[operand])) {
      throw Error(std::string("an operand of type ") + ggml_type_name(node->src[operand]->type) +
                  " cannot be read as f32");
    }
  }
  return node->op == GGML_OP_MUL_MAT ? compute_mul_mat(node, context)
                                     : compute_mul_mat_id(node, context);
}

}  // namespace napier
