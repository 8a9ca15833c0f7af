// A sweep's results as one page.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "eval/sweep_results.hpp"

namespace napier {

// The plots of a sweep: a name fit for a file, and the SVG.
using NamedPlots = std::vector<std::pair<std::string, std::string>>;
NamedPlots sweep_plots(const SweepResults& results);

// One HTML file that needs no other: tables that sort by a click, plots, flips side by side, how to
// reproduce it. Light and dark as the reader's screen is; narrow screens too. `figures` are further
// SVG plots with their captions, such as those of `napier where`.
std::string sweep_page(const SweepResults& results,
                       const std::vector<std::pair<std::string, std::string>>& figures);

}  // namespace napier
