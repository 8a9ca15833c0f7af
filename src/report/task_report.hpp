// Results of tasks: tables, JSON, CSV.
#pragma once

#include <span>
#include <string>

#include "eval/task_run.hpp"

namespace napier {

std::string task_table(std::span<const TaskEvaluation> evaluations);
// Every answer, and what changed against the reference.
std::string task_json(std::span<const TaskEvaluation> evaluations);
// A line for each task, arithmetic and measure.
std::string task_csv(std::span<const TaskEvaluation> evaluations);

}  // namespace napier
