// The league table: for people, as CSV and JSON for programs, and as a plot.
#pragma once

#include <span>
#include <string>

#include "eval/league.hpp"

namespace napier {

// One table a league, sorted by divergence, with what the columns mean.
std::string league_table(std::span<const League> leagues);

// A header and a line for each arithmetic of each model and text.
std::string league_csv(std::span<const League> leagues);

// [{model, text, ctx, chunks, tokens, scored, reference: {perplexity, ...}, results: [{arith,
// written, weight_bits, activation_bits, share, energy_pj, no_energy (why, where it is null),
// perplexity, perplexity_error, kl_mean, kl_p99, top1_agreement, tokens_per_second}]}]. A figure
// that is not a finite number is null.
std::string league_json(std::span<const League> leagues);

// SVG: mean divergence (logarithmic) against bits a weight and against energy, two panels a league;
// what no other beats in both is named and joined.
std::string league_plot(std::span<const League> leagues);

}  // namespace napier
