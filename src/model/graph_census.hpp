// What the graphs that llama.cpp computes are made of.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "napier/gemm.hpp"

struct ggml_tensor;

namespace napier {

struct MatmulCount {
  uint64_t calls = 0;
  uint64_t multiplications = 0;
  TreatedCounts treated;  // of these
};

// Counts the nodes of every graph that it is shown, as an evaluation callback of ggml's scheduler.
// It only looks on: no graph is split for it.
//
// Element-wise multiplications are counted where a clear count exists, per element of the result:
// MUL, SCALE and gated units 1; RMS_NORM, NORM, L2_NORM and GROUP_NORM 2 (square, scale); SOFT_MAX
// 2 (scale, normalise); ROPE 2 per rotated element. Exponentials, divisions and square roots are
// none.
class GraphCensus {
 public:
  // A ggml_backend_sched_eval_callback, with this object as its user data.
  static bool on_node(ggml_tensor* node, bool ask, void* census);

  void clear();

  const std::map<std::string, MatmulCount>& matmuls() const { return matmuls_; }  // by plan name
  const std::map<std::string, uint64_t>& elementwise() const { return elementwise_; }  // by op
  // Operations that multiply matrices out of a plan's sight, such as fused attention, by op.
  const std::map<std::string, uint64_t>& opaque() const { return opaque_; }

 private:
  void count(const ggml_tensor& node);

  std::map<std::string, MatmulCount> matmuls_;
  std::map<std::string, uint64_t> elementwise_;
  std::map<std::string, uint64_t> opaque_;
};

}  // namespace napier
