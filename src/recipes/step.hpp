// What a recipe can have computed: a file in steps/ and a line in steps.cpp each.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "model/weight_matrices.hpp"
#include "napier/plan.hpp"
#include "napier/thread_pool.hpp"
#include "recipes/recipe.hpp"
#include "recipes/statistics.hpp"

namespace napier {

// A model's matrix and the rule that is being made for it.
struct MatrixRule {
  WeightMatrix matrix;
  Rule rule;
};

struct StepContext {
  const StepSpec& spec;
  const WeightReader& weights;
  const Statistics& statistics;  // empty where the step reads no text
  ThreadPool& pool;
  std::vector<MatrixRule>& matrices;
  size_t first = 0;                            // matrices before it are done
  std::function<void(size_t index)> finished;  // saves a matrix's rule
  std::function<void(double done)> progress;

  // Visits the matrices that the spec's key "matrices" names (all but for that), saving each.
  void each(const std::function<void(MatrixRule& matrix)>& visit);
  bool concerns(const WeightMatrix& matrix) const;
  // Throws Error if the text did not reach the matrix.
  const MatrixStatistics& of(const WeightMatrix& matrix) const;
};

struct Step {
  std::string_view name;
  std::string_view summary;
  std::span<const std::string_view> keys;  // besides step and matrices
  bool (*needs_text)(const StepSpec& spec);
  // Throws Error (a sentence without the file's name) for values that cannot be.
  void (*check)(const StepSpec& spec);
  void (*run)(StepContext& context);
};

std::span<const Step* const> steps();
// Throws Error for a name that is none.
const Step& step_called(std::string_view name);

extern const Step k_static_step;
extern const Step k_equalise_step;
extern const Step k_lowrank_step;
extern const Step k_choose_step;
extern const Step k_bias_step;

// What steps share.

// The weights as the rule's product has them, rounded and scaled back, n rows of k: without
// treatments.
std::vector<float> rounded_weights(const Operand& operand, int64_t n, int64_t k,
                                   const std::vector<float>& weights);

// Some rows and some channels of a product, to try arithmetics on.
struct Trial {
  int64_t m = 0, n = 0, k = 0;
  std::vector<float> x, w;
  std::vector<double> exact;

  Trial(const WeightMatrix& matrix, const MatrixStatistics& statistics,
        const WeightReader& weights);
  // Squared error of the rule's product, relative to the product's own square.
  double error(const Rule& rule, ThreadPool& pool) const;
};

}  // namespace napier
