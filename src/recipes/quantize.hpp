// Computing what a recipe needs for a model, and reading it again.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "recipes/computed_file.hpp"
#include "recipes/recipe.hpp"

namespace napier {

struct QuantizeOptions {
  std::string text;  // path of the calibration text; may be empty where the recipe reads none
  int context = 512;
  int chunks = 32;  // of `context` tokens, at most; 0: all of the text
  int threads = 2;
  std::string output;  // path; empty: beside the model
  std::function<void(std::string_view what, double done)> on_progress;

  // Throws Error for what cannot be.
  void check() const;
};

struct ComputedMatrix {
  WeightMatrix matrix;
  Rule rule;
  MatrixStatistics statistics;  // without samples; empty where no text was read
};

struct Quantized {
  std::string path;
  int chunks = 0;         // read now
  int chunks_before = 0;  // by a run that was cut off
  std::vector<ComputedMatrix> matrices;
};

// Runs the text through the model in f32, gathers statistics, then runs the recipe's steps. What
// was cut off goes on where it was. Memory: the model, a tenth of it for packed weights, 32 rows
// of activations a matrix, and one matrix in f32 at a time. The file is there whole or not at all.
Quantized quantize(const std::string& model_path, const Recipe& recipe,
                   const QuantizeOptions& options);

// The recipe's plan for this model: its own, or with what was computed in front. Throws Error where
// that is not there, and says how to make it.
Plan plan_for(const Recipe& recipe, const std::string& model_path);
// Whether that file is there.
bool has_computed(const Recipe& recipe, const std::string& model_path);

}  // namespace napier
