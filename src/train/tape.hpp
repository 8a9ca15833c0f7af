// A graph of ggml's operations that is built forward and then, in reverse, into its gradients.
//
// ggml's own differentiation is not used: it makes each gradient a product of two operands, while
// an arithmetic's own derivative needs all three (kernels/derivative.hpp); it cannot mask a
// position out of its cross-entropy; and its gradients have no names for a plan to match.
#pragma once

#include <ggml.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace napier {

// Which derivative a multiplication has on the way back.
enum class GradientRule : uint8_t {
  exact,  // the exact product's ("straight through" the arithmetic)
  own,    // the arithmetic's, as kernels/derivative.hpp defines it
};

// What changes from step to step without the graph being built anew. Outlives the graph.
struct StepState {
  uint64_t seed = 0;          // of this step: decides what is dropped
  bool training = true;       // nothing is dropped otherwise
  float gradient_scale = 1;   // of the loss, before it is differentiated
  std::vector<float> losses;  // nats of each position; 0 where the target is masked
};

// Tensors are ggml's, [columns, rows, ...]. Not thread safe; lives as long as the graph.
class Tape {
 public:
  Tape(ggml_context* context, StepState& state, GradientRule rule)
      : context_(context), state_(&state), rule_(rule) {}

  // Marks a tensor to be differentiated for; results of marked ones are marked.
  void want_gradient(ggml_tensor* tensor) { wanted_.insert(tensor); }

  // out[n, m] = sum over k of w[k, n] x[k, m], for each matrix; matrices of w may serve several of
  // x. Plans know it by w's name if that is a parameter, else by `name`; its gradients, products as
  // well, by "dx-" (with respect to x) or "dw-" and that name.
  ggml_tensor* multiply(ggml_tensor* w, ggml_tensor* x, const std::string& name = {});
  ggml_tensor* add(ggml_tensor* a, ggml_tensor* b);
  ggml_tensor* rows(ggml_tensor* table, ggml_tensor* ids);
  // `a` and, for each of its matrices, `b`.
  ggml_tensor* add_to_each(ggml_tensor* a, ggml_tensor* b);
  ggml_tensor* rms_norm(ggml_tensor* x, ggml_tensor* weight, float epsilon);
  ggml_tensor* layer_norm(ggml_tensor* x, ggml_tensor* weight, float epsilon);
  ggml_tensor* rope(ggml_tensor* x, ggml_tensor* positions, float base);
  ggml_tensor* soft_max(ggml_tensor* x, ggml_tensor* mask, float scale);
  ggml_tensor* swiglu(ggml_tensor* gate, ggml_tensor* up);
  ggml_tensor* squared_relu(ggml_tensor* x);
  // 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))): exact, where ggml's looks it up in a table.
  ggml_tensor* gelu(ggml_tensor* x);
  ggml_tensor* reshape(ggml_tensor* x, int64_t ne0, int64_t ne1, int64_t ne2 = 1, int64_t ne3 = 1);
  // Columns [first, first + count) of a matrix.
  ggml_tensor* columns(ggml_tensor* x, int64_t first, int64_t count);
  // Axis i of x becomes axis axes[i] of the result, which is a view unless `dense`.
  ggml_tensor* permute(ggml_tensor* x, const int (&axes)[4], bool dense);
  // Zeroes elements with this probability and divides the others by what is left of 1.
  ggml_tensor* dropout(ggml_tensor* x, float probability);

  // Ends the graph: cross-entropy of logits [vocabulary, positions] for `targets` (i32, negative:
  // masked), into StepState::losses. Then builds all gradients, of the sum of the losses times
  // StepState::gradient_scale.
  void differentiate_cross_entropy(ggml_tensor* logits, ggml_tensor* targets);

  // After that: the gradient of a marked tensor, or nullptr if the loss does not depend on it.
  ggml_tensor* gradient(const ggml_tensor* tensor) const;

 private:
  struct DropoutSite;
  struct LossSite;
  struct NormSite;

  bool wants(const ggml_tensor* tensor) const { return wanted_.count(tensor) != 0; }
  // Registers how the gradient of `result` flows to `sources`.
  ggml_tensor* record(ggml_tensor* result, std::initializer_list<ggml_tensor*> sources,
                      std::function<void(ggml_tensor* gradient)> backward);
  void flow(ggml_tensor* to, ggml_tensor* gradient);
  ggml_tensor* dense(ggml_tensor* tensor);
  ggml_tensor* drop(ggml_tensor* x, DropoutSite& site);

  ggml_context* context_;
  StepState* state_;
  GradientRule rule_;
  std::unordered_set<const ggml_tensor*> wanted_;
  std::unordered_map<const ggml_tensor*, ggml_tensor*> gradients_;
  std::vector<std::pair<ggml_tensor*, std::function<void(ggml_tensor*)>>> steps_;

  // Given to operations of ours; addresses that stay.
  struct DropoutSite {
    const StepState* state;
    uint64_t number;
    float probability;
  };
  struct LossSite {
    StepState* state;
  };
  struct NormSite {
    float epsilon;
  };
  std::deque<NormSite> norms_;
  std::deque<DropoutSite> dropouts_;
  LossSite loss_{};
};

}  // namespace napier
