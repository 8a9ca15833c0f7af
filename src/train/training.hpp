// Training from a configuration to a GGUF file, with checkpoints.
#pragma once

#include <functional>
#include <string>

#include "train/config.hpp"
#include "train/model_file.hpp"

namespace napier {

struct TrainProgress {
  int64_t step = 0;
  double loss = 0;  // smoothed
  double tokens_per_second = 0;
  double seconds_left = 0;
};

struct TrainRun {
  std::string model;       // the file that was written
  int64_t resumed_at = 0;  // the step that the checkpoint had; 0: begun anew
  LossRecord record;
  size_t parameters = 0;
  size_t tokens = 0;             // of the data that is trained on
  size_t bytes = 0;              // of memory
  double tokens_per_second = 0;  // of this process's steps
  int64_t skipped = 0;           // steps of this process that overflowed under the loss scale
  std::string kernels;           // what ran where, for people
};

// Trains to the end, from config.output/checkpoint.gguf if it is there, and writes
// config.output/model.gguf. A run that is interrupted, however, and begun again gives the same bits
// as one that is not. Throws Error; where a loss is no number it says at which step and where, and
// which checkpoint is left.
TrainRun train(TrainConfig config, const std::function<void(const TrainProgress&)>& on_step);

}  // namespace napier
