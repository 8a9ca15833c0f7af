// How fast kernels are, side by side.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "napier/gemm.hpp"

namespace napier {

// Seconds of the fastest of `repeats` calls of each task. The tasks take turns, so that what else
// the machine does falls on all of them alike.
std::vector<double> best_seconds(const std::vector<std::function<void()>>& tasks, int repeats);

// One multiplication to measure: weights packed before, activations within it. Its numbers are
// normal, seeded; `zeros` is the share of exact zeros among them, `spread` the number of binades
// that a uniform factor 2^-i, i < spread, adds to those of the activations.
struct SpeedCase {
  Arithmetic arithmetic;
  Shape shape;
  std::optional<KernelKind> kernel;  // in place of what lower() picks
  double zeros = 0;
  int spread = 0;
};

// A case made ready. With few rows the weights are several matrices in turn, more than the caches
// hold: decoding reads each weight once a token. Not thread safe; `pool` must outlive it.
class SpeedTask {
 public:
  SpeedTask(const SpeedCase& speed_case, ThreadPool& pool);

  void operator()();

  KernelKind kernel() const { return weights_.front()->kernel(); }

 private:
  Shape shape_;
  ThreadPool* pool_;
  std::vector<std::unique_ptr<PackedWeights>> weights_;
  size_t next_ = 0;
  std::vector<float> x_;
  std::vector<float> out_;
};

}  // namespace napier
