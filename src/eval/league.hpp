// All arithmetics on one model: what each runs on, and what its numbers take.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "eval/evaluation.hpp"
#include "model/weight_matrices.hpp"

namespace napier {

// An arithmetic for every product with a weight; attention's two products stay in f32, and so do
// matrices whose rows its blocks do not divide.
struct Entrant {
  Subject subject;
  double weight_bits = 0;      // stored bits a weight, scales and the like included, over the
  double activation_bits = 0;  // matrices that it runs on; the same of the activations
  double share = 0;            // of the weights: those of the matrices that it runs on
};

// Of the named arithmetics those that run on any matrix. `context` tokens are computed together.
// Throws ParseError for a name that is none.
std::vector<Entrant> league_entrants(std::span<const WeightMatrix> matrices,
                                     std::span<const std::string> names, int context);

// All presets, and those whose operands are truncated rounded to nearest, the unscaled fp8 ones
// truncated: so that L-Mul and fp8 meet under either rounding.
std::vector<std::string> league_names();

struct League {
  std::vector<Entrant> entrants;
  Evaluation evaluation;  // its results in the order of the entrants
};

}  // namespace napier
