// A workload's answers by the length of its numbers, digit by digit.
#pragma once

#include <vector>

#include "eval/task_run.hpp"

namespace napier {

struct LengthGroup {
  int shortest = 0, longest = 0;  // lengths that came up
  size_t questions = 0;
  Estimate exact, result;         // shares of right answers
  Estimate digit_match, dlength;  // means; of results in Notation::none nothing
  // Of decimal results, by the grading's tolerance: the share of results this near.
  std::vector<Estimate> within;
  // Of whole numbers: the share of results with the right digit at each place, from the ones on,
  // among those that have such a place.
  std::vector<double> places;
};

// All answers, then each group if there are several. Nothing for a task without grading.
std::vector<LengthGroup> by_length(const TaskEvaluation& evaluation, const TaskResult& result);

}  // namespace napier
