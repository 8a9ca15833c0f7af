// What is trained on: one row of tokens, from which windows are cut at random.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "train/config.hpp"
#include "train/model_file.hpp"

namespace napier {

struct TrainData {
  std::vector<int32_t> training, validation;
  GgufPointer description;  // of the model, with its vocabulary
  uint64_t hash = 0;        // of all tokens
};

// Reads or makes the data, and decides the configuration's shape that they leave open. Throws Error
// where there are too few tokens for a window, or the vocabulary lacks a character.
TrainData read_train_data(TrainConfig& config);

// Windows of `context` tokens, and for each token the one that follows.
struct Batch {
  std::vector<int32_t> tokens, targets;
};
// `count` windows, at places that step and seed decide.
Batch random_batch(std::span<const int32_t> data, int context, int count, uint64_t seed,
                   int64_t step);
// Windows one after the other from `begin` on; what goes beyond the end is masked.
Batch batch_at(std::span<const int32_t> data, int context, int count, size_t begin);

}  // namespace napier
