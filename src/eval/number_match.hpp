// How near a number that a model wrote is to the right one, digit by digit.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace napier {

// How a number is written, and so which digits of two numbers stand at the same place.
enum class Notation : uint8_t {
  none,        // several numbers, or words: digits are not compared
  integer,     // 123: from the right
  reversed,    // 321, the last digit first: from the left
  decimal,     // 12.5: from the point
  fraction,    // 7/13: both parts from the right
  scientific,  // 1.25e10: from the point, and the exponent from the right
};

// The number at the beginning of a text, if it is written so, else "". Of scientific notation "E"
// becomes "e" and the exponent loses its sign: the Number Cookbook's rule (arXiv 2411.03766).
std::string leading_number(std::string_view text, Notation notation);

// The Number Cookbook's metrics. `places`: of integers, whether the expected digit of each place is
// there, from the ones on.
struct NumberMatch {
  double digit_match = 0;  // the share of the expected digits that stand at their place
  int dlength = 0;         // how many digits more or fewer there are
  std::vector<bool> places;
};
NumberMatch match_numbers(std::string_view found, std::string_view expected, Notation notation);

}  // namespace napier
