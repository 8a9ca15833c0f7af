// What a model's weights and activations take under a plan.
#pragma once

#include <span>
#include <string_view>

#include "model/coverage.hpp"
#include "model/weight_matrices.hpp"
#include "napier/plan.hpp"

namespace napier {

// Means over the elements of the matrices that the plan does not leave in f32.
struct StoredBits {
  double weight = 32;
  double activation = 32;
  double share =
      0;  // of all weights: those matrices'; 0: all are f32, as are weight and activation
};

// Formats with scales, zero points and choices of lists. Of treatments: equalise's factors and
// lowrank's matrices count as weights; outliers' columns, in the part that `measured` says, twice
// as weights (their values and the others' codes) and in their own format as activations. Results
// are not counted. `context` tokens are computed together. NaN where outliers were not measured.
StoredBits stored_bits(std::span<const WeightMatrix> matrices, const Plan& plan, int context,
                       const ModelCoverage* measured = nullptr);

// Whether the plan leaves a matrix of this name in f32, untreated.
bool leaves_in_f32(const Plan& plan, std::string_view name);

}  // namespace napier
