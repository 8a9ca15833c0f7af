#include "ggml/observation.hpp"

#include "ggml/matmul.hpp"
#include "ggml/tensors.hpp"

namespace napier {
namespace {

void each_row(const ggml_tensor* tensor, const MatmulObservation::RowSink& sink) {
  std::vector<float> row(static_cast<size_t>(tensor->ne[0]));
  for (int64_t i3 = 0; i3 < tensor->ne[3]; ++i3) {
    for (int64_t i2 = 0; i2 < tensor->ne[2]; ++i2) {
      for (int64_t i1 = 0; i1 < tensor->ne[1]; ++i1) {
        read_row(tensor, i1, i2, i3, row.data());
        sink(row);
      }
    }
  }
}

}  // namespace

void MatmulObservation::weights(const RowSink& sink) const { each_row(node_->src[0], sink); }
void MatmulObservation::activations(const RowSink& sink) const { each_row(node_->src[1], sink); }

std::vector<float> MatmulObservation::under(const Arithmetic& arithmetic) const {
  std::vector<float> result(static_cast<size_t>(ggml_nelements(node_)));
  ggml_tensor node = *node_;
  node.data = result.data();
  node.nb[0] = sizeof(float);
  for (int i = 1; i < GGML_MAX_DIMS; ++i) {
    node.nb[i] = node.nb[i - 1] * static_cast<size_t>(node.ne[i - 1]);
  }
  WeightCache nothing_kept;
  compute_matmul(&node, {.arithmetic = arithmetic, .pool = *pool_, .cache = nothing_kept});
  return result;
}

}  // namespace napier
