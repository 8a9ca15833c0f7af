// An evaluation as a table for people, and as CSV and JSON for programs.
#pragma once

#include <string>

#include "eval/evaluation.hpp"

namespace napier {

// Aligned columns; below them what ran in which arithmetic, and what the columns mean.
std::string evaluation_table(const Evaluation& evaluation);

// A header and a line per result, the reference first.
std::string evaluation_csv(const Evaluation& evaluation);

// {model, text, ctx, chunks, tokens, reference, results: [{arith, plan, perplexity,
// perplexity_error, kl_mean, kl_p99, top1_agreement, tokens_per_second, coverage, matmuls}]}.
// `reference` has the members of a result. `coverage` is the part of all matrices' multiplications
// that ran in the plan's arithmetics; `matmuls` has the counts behind it, by role. A figure that is
// not a finite number is null.
std::string evaluation_json(const Evaluation& evaluation);

}  // namespace napier
