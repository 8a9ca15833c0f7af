// A matrix multiplication that was just computed, shown to whoever asked to see it.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "napier/arithmetic.hpp"
#include "napier/thread_pool.hpp"

struct ggml_tensor;

namespace napier {

// Valid while the observer runs. Not thread safe.
class MatmulObservation {
 public:
  MatmulObservation(std::string_view name, const ggml_tensor* node, ThreadPool& pool)
      : name_(name), node_(node), pool_(&pool) {}

  // As plans match it.
  std::string_view name() const { return name_; }

  // Whose sources are its operands.
  const ggml_tensor& node() const { return *node_; }

  // Every row of the weights (or of what stands in their place, as K and V do), then of the
  // activations; of experts all, chosen or not.
  using RowSink = std::function<void(std::span<const float> row)>;
  void weights(const RowSink& sink) const;
  void activations(const RowSink& sink) const;

  // The result that the same operands have under another arithmetic, dense, first axis fastest.
  // Throws Error where it cannot run on them.
  std::vector<float> under(const Arithmetic& arithmetic) const;

 private:
  std::string_view name_;
  const ggml_tensor* node_;
  ThreadPool* pool_;
};

using MatmulObserver = std::function<void(const MatmulObservation& observation)>;

}  // namespace napier
