// How much of a model's multiplying was done in which arithmetic.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/graph_census.hpp"
#include "napier/plan.hpp"

namespace napier {

// Matrix multiplications of one role ("attn_q", "kq": a name without its layer) in one arithmetic.
struct RoleCoverage {
  std::string role;
  std::string arithmetic;  // its display name; empty: left to the engine
  uint64_t matmuls = 0;
  uint64_t multiplications = 0;
  TreatedCounts treated = {};  // of these
};

struct ModelCoverage {
  std::vector<RoleCoverage> roles;
  std::map<std::string, uint64_t> elementwise;  // multiplications left native, by ggml operation
  uint64_t napier = 0;    // matrices' multiplications in the plan's arithmetics
  uint64_t engine = 0;    // and those that the plan leaves to the engine
  TreatedCounts treated;  // of Napier's

  uint64_t elementwise_total() const;
  // The part of all matrices' multiplications that ran in the plan's arithmetics.
  double share() const;
  // The part of all multiplications that is element-wise.
  double elementwise_share() const;
};

// "blk.3.attn_q.weight" -> "attn_q", "kq-3" -> "kq", "output.weight" -> "output".
std::string role_of(std::string_view name);
// "blk.3.attn_q.weight" and "kq-3" -> 3; nothing for what is in no layer.
std::optional<int> layer_of(std::string_view name);

// Throws Error if a rule of the plan decides none of the model's matrix multiplications.
void check_every_rule_decides(const Plan& plan, const GraphCensus& census);

// Holds what the graphs had against what Napier's backend says it ran (by the same names). Throws
// Error (environment) on the first matrix multiplication that the plan names and Napier did not
// run.
ModelCoverage make_coverage(const Plan& plan, const GraphCensus& census,
                            const std::map<std::string, MatmulCount>& ran);

}  // namespace napier
