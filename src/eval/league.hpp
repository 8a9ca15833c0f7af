// Arithmetics and recipes on one model: what each runs on, what its numbers take, what it costs.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cost/price_table.hpp"
#include "eval/evaluation.hpp"
#include "eval/stored_bits.hpp"
#include "model/weight_matrices.hpp"

namespace napier {

// Matrices whose rows a plan's blocks do not divide are left in f32.
struct Entrant {
  Subject subject;
  std::string written;  // the arithmetic, or the recipe's plan before anything is computed
  StoredBits bits;
  // A token's, as `napier cost` has it with a whole context before it; nothing where there is no
  // price, and why.
  std::optional<double> energy_pj;
  std::string no_energy;
};

// The plan on a model of these matrices; nothing if its blocks divide no row of what it names.
std::optional<Entrant> league_entrant(std::span<const WeightMatrix> matrices, Subject subject);

// An arithmetic for every product with a weight; attention's two products stay in f32. Throws
// ParseError for a name that is none.
std::optional<Entrant> league_entrant(std::span<const WeightMatrix> matrices,
                                      const std::string& name);

// All presets, and those whose operands are truncated rounded to nearest, the unscaled fp8 ones
// truncated: so that L-Mul and fp8 meet under either rounding.
std::vector<std::string> league_names();

struct League {
  std::vector<Entrant> entrants;
  Evaluation evaluation;  // its results in the order of the entrants
  std::optional<double> reference_pj;
};

// Fills in the entrants' bits and energies, of which some depend on what was evaluated.
void count_costs(League& league, std::span<const WeightMatrix> matrices, const Prices& prices);

}  // namespace napier
