// Steps of training: forward, backward, AdamW, with f32 master weights.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "ggml/session.hpp"
#include "napier/plan.hpp"
#include "train/transformer.hpp"

namespace napier {

struct LossScaling {
  bool dynamic = false;
  float scale = 1;  // to begin with, if dynamic
};

struct TrainerOptions {
  int sequences = 1;  // of one pass
  int passes = 1;     // of a step: their gradients are added
  int threads = 2;
  float dropout = 0;
  // Which multiplications run in which arithmetic; what a plan does not name runs in f32. Names are
  // the forward multiplication's in all three.
  Plan forward, activation_gradients, weight_gradients;
  // own: by the derivative of the forward arithmetic; the two plans of gradients must be empty.
  GradientRule rule = GradientRule::exact;
  LossScaling loss_scaling;
  double beta1 = 0.9, beta2 = 0.99, epsilon = 1e-8;
  double weight_decay = 0.1;  // of matrices, not of norms
  double clip = 1;            // the gradient's norm, at most; 0: as it is
};

// Everything that the next step depends on, besides its data and rate.
struct TrainerState {
  int64_t step = 0;     // taken so far
  int64_t updates = 0;  // of them, those that changed the weights
  float loss_scale = 1;
  int64_t since_overflow = 0;  // updates since the loss scale last changed
};

struct StepResult {
  double loss = 0;           // mean nats of a target
  double gradient_norm = 0;  // before clipping
  bool skipped = false;      // a gradient overflowed under the loss scale, which is now halved
};

// One array of a trained tensor's numbers.
struct TrainedTensor {
  ParameterShape shape;
  std::span<float> values, first_moment, second_moment;
  std::span<const float> gradient;  // of the last step, as its norm was taken
};

// Not thread safe, and the only one of its process while it computes: it puts its plan in force.
// Results depend on options and data alone, not on the machine's threads at work elsewhere; two
// trainers with the same number of threads give the same bits.
class Trainer {
 public:
  // Throws Error if a rule of a plan decides nothing, or memory is short.
  Trainer(const TransformerShape& shape, const TrainerOptions& options);
  ~Trainer();
  Trainer(const Trainer&) = delete;
  Trainer& operator=(const Trainer&) = delete;

  const TransformerShape& shape() const;
  std::span<TrainedTensor> parameters();
  TrainerState& state();

  // Draws all parameters anew.
  void initialise(uint64_t seed);

  // One step, from `passes * sequences` rows of `context` tokens, and the token that follows each
  // (negative: not counted). `seed` decides what is dropped, and
  // how stochastic roundings fall. Throws Error (Blame::environment)
  // where the loss is no finite number: names step and tensor, and leaves the weights as they were.
  StepResult step(std::span<const int32_t> tokens, std::span<const int32_t> targets, double rate,
                  uint64_t seed);

  // Mean loss of `sequences` rows, and how many targets there were. Nothing is changed or dropped.
  struct Loss {
    double sum = 0;
    int64_t count = 0;
  };
  Loss loss(std::span<const int32_t> tokens, std::span<const int32_t> targets);

  // What ran in which kernel, since the beginning.
  const PlanRun& run() const;
  // Bytes of weights, moments, gradients and activations.
  size_t bytes() const;

 private:
  struct Engine;
  std::unique_ptr<Engine> engine_;
};

}  // namespace napier
