// Texts sampled under arithmetics: tables, JSON, CSV.
#pragma once

#include <string>

#include "eval/sampling_study.hpp"

namespace napier {

std::string sampling_table(const SamplingStudy& study);
// With every text.
std::string sampling_json(const SamplingStudy& study);
// A line for each arithmetic and setting.
std::string sampling_csv(const SamplingStudy& study);

}  // namespace napier
