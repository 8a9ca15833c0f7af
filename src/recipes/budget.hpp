// Choosing one candidate for each of many places within a budget.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace napier {

struct Candidate {
  double error = 0;
  double cost = 0;
};
using Places = std::span<const std::vector<Candidate>>;

// All give the index of a candidate for each place. Throws Error where even the cheapest are over
// the budget.

// The least sum of errors with a sum of costs within the budget: an integer linear program (as
// HAWQ-V3 has it), solved by CBC.
std::vector<size_t> choose_by_program(Places places, double budget);

// From the cheapest on, always the change that takes most error away for its cost.
std::vector<size_t> choose_greedily(Places places, double budget);

// FLIQS's search (2308.03290): a distribution over candidates for each place, learnt by REINFORCE
// with a moving mean as the baseline and an entropy term that fades, from samples rewarded by
// -error / (error of the cheapest) - penalty |1 - cost / budget|. The best sample within the budget
// is the answer. The same for the same seed.
struct ReinforceOptions {
  int samples = 4000;
  double rate = 0.1;
  double penalty = 1;
  double entropy = 0.05;
  uint64_t seed = 1;
};
std::vector<size_t> choose_by_reinforcement(Places places, double budget,
                                            const ReinforceOptions& options = {});

}  // namespace napier
