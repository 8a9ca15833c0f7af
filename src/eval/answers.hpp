// Finding the answer in what a model wrote, as lm-evaluation-harness's filters do.
#pragma once

#include <string>
#include <string_view>

#include "eval/task.hpp"

namespace napier {

// What the harness says where nothing is found.
inline constexpr std::string_view k_no_answer = "[invalid]";

// The first of  The answer is (-?[0-9.,]+).  : its number.
std::string strict_number(std::string_view text);
// The last of  (-?[$0-9.,]{2,})|(-?[0-9]+)
std::string last_number(std::string_view text);
// The first of  (?<=the answer is )(.*)(?=.)  , without white space at its ends.
std::string answer_sentence(std::string_view text);

// As the harness's exact_match with GSM8K's regexes_to_ignore: without commas, dollars, all up to
// "#### " and a point at the end, in lower case.
std::string normalised_number(std::string_view text);

// The part of a text before the first of the stops.
std::string_view until_stop(std::string_view text, const std::vector<std::string>& stops);

struct Extracted {
  std::string strict, flexible;  // what was found
  bool strict_right = false, flexible_right = false;
};
Extracted extract(Extraction extraction, std::string_view text, std::string_view answer);
// Of Extraction::whole.
Extracted extract_result(const NumberGrading& grading, std::string_view text,
                         std::string_view answer);

}  // namespace napier
