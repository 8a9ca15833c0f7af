// Results of tasks: tables, JSON, CSV.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "eval/task_run.hpp"
#include "eval/workload.hpp"

namespace napier {

// A JSON object of one line: task, prompt, answer, length.
std::string sample_line(std::string_view task, const Sample& sample);

std::string task_table(std::span<const TaskEvaluation> evaluations);
// Every answer, and what changed against the reference.
std::string task_json(std::span<const TaskEvaluation> evaluations);
// A line for each task, arithmetic and measure.
std::string task_csv(std::span<const TaskEvaluation> evaluations);

}  // namespace napier
