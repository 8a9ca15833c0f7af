// A sweep's results for people and programs.
#pragma once

#include <string>

#include "eval/sweep_results.hpp"

namespace napier {

enum class TableStyle { plain, markdown, latex };

// A table for each model and source.
std::string sweep_tables(const SweepResults& results, TableStyle style);
// A line for each model, source, arithmetic and metric.
std::string sweep_csv(const SweepResults& results);
std::string sweep_json(const SweepResults& results);

}  // namespace napier
