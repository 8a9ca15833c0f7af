#include "eval/length_groups.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>

namespace napier {
namespace {

bool is_near(const std::string& found, const std::string& expected, double tolerance) {
  if (leading_number(found.substr(found.starts_with('-')), Notation::decimal).empty()) return false;
  const double difference =
      std::strtod(found.c_str(), nullptr) - std::strtod(expected.c_str(), nullptr);
  constexpr double k_slack = 1e-9;  // decimals are no binary fractions
  return std::abs(difference) <= tolerance + k_slack;
}

LengthGroup group_of(const TaskEvaluation& evaluation, const TaskResult& result,
                     const std::vector<size_t>& questions) {
  const NumberGrading& grading = *evaluation.grading;
  const bool whole =
      grading.notation == Notation::integer || grading.notation == Notation::reversed;
  LengthGroup group;
  group.questions = questions.size();
  std::vector<Unit> exact, right, digits, lengths;
  std::vector<std::vector<Unit>> within(grading.tolerances.size());
  std::vector<Unit> places;
  group.shortest = group.longest = evaluation.lengths[questions[0]];
  for (const size_t i : questions) {
    const Answer& answer = result.answers[i];
    group.shortest = std::min(group.shortest, evaluation.lengths[i]);
    group.longest = std::max(group.longest, evaluation.lengths[i]);
    exact.push_back({answer.right[0] ? 1.0 : 0.0, 1});
    right.push_back({answer.right[1] ? 1.0 : 0.0, 1});
    if (grading.notation == Notation::none) continue;
    const std::string expected = grading.result_of(evaluation.answers[i]);
    const std::string& found = answer.found[1];
    const NumberMatch match = match_numbers(found, expected, grading.notation);
    digits.push_back({match.digit_match, 1});
    lengths.push_back({static_cast<double>(match.dlength), 1});
    for (size_t t = 0; t < within.size(); ++t) {
      within[t].push_back({is_near(found, expected, grading.tolerances[t]) ? 1.0 : 0.0, 1});
    }
    if (!whole) continue;
    places.resize(std::max(places.size(), match.places.size()));
    for (size_t place = 0; place < match.places.size(); ++place) {
      places[place].sum += match.places[place];
      places[place].count += 1;
    }
  }
  group.exact = estimate(exact);
  group.result = estimate(right);
  group.digit_match = estimate(digits);
  group.dlength = estimate(lengths);
  for (const auto& units : within) group.within.push_back(estimate(units));
  for (const Unit& place : places) group.places.push_back(place.sum / place.count);
  return group;
}

}  // namespace

std::vector<LengthGroup> by_length(const TaskEvaluation& evaluation, const TaskResult& result) {
  std::vector<LengthGroup> groups;
  if (!evaluation.grading || result.answers.empty()) return groups;
  const std::vector<int>& ends = evaluation.grading->groups;
  std::vector<size_t> all;
  std::map<int, std::vector<size_t>> parts;
  for (size_t i = 0; i < result.answers.size(); ++i) {
    all.push_back(i);
    const int length = evaluation.lengths[i];
    const auto end = std::lower_bound(ends.begin(), ends.end(), length);
    // What is longer than the last group's goes with it.
    parts[ends.empty() ? length : end == ends.end() ? ends.back() : *end].push_back(i);
  }
  groups.push_back(group_of(evaluation, result, all));
  for (const auto& [end, questions] : parts) {
    if (parts.size() == 1) break;
    groups.push_back(group_of(evaluation, result, questions));
  }
  return groups;
}

}  // namespace napier
