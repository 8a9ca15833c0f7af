// GGUF files of trained models, and of what training needs to go on.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "train/trainer.hpp"

struct gguf_context;

namespace napier {

struct GgufDeleter {
  void operator()(gguf_context* file) const;
};
using GgufPointer = std::unique_ptr<gguf_context, GgufDeleter>;

// A model's description: architecture, sizes, vocabulary; no tensors.
GgufPointer describe_model(const TransformerShape& shape, const std::string& name);

// Writes the weights with a description, as f32. Replaces the file as a whole when all is on disk;
// throws Error (Blame::environment) if the disk is full.
void write_model(const std::string& path, const gguf_context* description, Trainer& trainer);

// What training has shown so far, by step.
struct LossRecord {
  std::vector<float> training;  // of every step
  struct Validation {
    int64_t step;
    float loss;
  };
  std::vector<Validation> validation;
};

// Weights, moments, state and record. `identity` says what must be the same to go on: the
// configuration and the data. Written as write_model() does.
void write_checkpoint(const std::string& path, const std::string& identity, Trainer& trainer,
                      const LossRecord& record);
// Throws Error if the file is damaged or was made by another configuration.
LossRecord read_checkpoint(const std::string& path, const std::string& identity, Trainer& trainer);

// A llama-like model to go on from. Throws Error for what is no such model, with the key that is
// other than what Trainer computes.
struct ModelStart {
  TransformerShape shape;  // with the file's context
  GgufPointer description;
};
ModelStart read_model_start(const std::string& path);
// Its weights as f32. Throws Error for tensors that are missing, left over or of another shape.
void read_model_weights(const std::string& path, Trainer& trainer);

}  // namespace napier
