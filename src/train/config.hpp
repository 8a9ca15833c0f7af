// What a file of training says.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "train/trainer.hpp"

namespace napier {

enum class Tokenizer : uint8_t { characters, bytes, sentencepiece };

struct TrainConfig {
  std::string path;     // of the file
  std::string content;  // its text
  std::string name;     // of the model
  std::string output;   // folder

  // From nothing a shape, whose vocabulary the data decide; else a GGUF file to go on from, whose
  // context may be shortened.
  std::string from;
  TransformerShape shape;

  // A text file, or samples of a workload (eval/workload.hpp), end to end.
  std::string text;
  std::string workload;
  int samples = 0;
  Tokenizer tokenizer = Tokenizer::characters;
  std::string vocabulary;  // SentencePiece's file
  double validation = 0;   // the share of the text, at its end, that is not trained on

  TrainerOptions options;
  int steps = 0;
  double rate = 0, least_rate = 0;
  int warmup = 0;
  uint64_t seed = 0;
  int checkpoint_every = 0, validate_every = 0;
};

// Paths in it are relative to its folder. Throws Error that names the file, the key and what would
// be right. docs/training.md lists the keys.
TrainConfig read_train_config(const std::string& path);

// Warm-up by equal steps, then half a cosine from `rate` to `least_rate`.
double rate_at(const TrainConfig& config, int64_t step);

}  // namespace napier
