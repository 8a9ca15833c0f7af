#include "eval/number_match.hpp"

#include <algorithm>
#include <array>
#include <span>

namespace napier {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// What stands between the parts of a number, and where the digits of each part are counted from.
struct Form {
  std::string_view separators;
  std::array<bool, 3> from_right;
};

Form form_of(Notation notation) {
  switch (notation) {
    case Notation::decimal: return {".", {true, false, false}};
    case Notation::fraction: return {"/", {true, true, false}};
    case Notation::scientific: return {".e", {true, false, true}};
    case Notation::reversed: return {"", {false, false, false}};
    default: return {"", {true, false, false}};
  }
}

// The digits of each part; parts that are missing are empty.
std::vector<std::string> parts_of(std::string_view number, const Form& form) {
  std::vector<std::string> parts(form.separators.size() + 1);
  size_t part = 0;
  for (const char c : number) {
    if (part < form.separators.size() && c == form.separators[part]) {
      ++part;
    } else if (is_digit(c)) {
      parts[part] += c;
    }
  }
  return parts;
}

}  // namespace

std::string leading_number(std::string_view text, Notation notation) {
  const Form form = form_of(notation);
  std::string number;
  size_t at = std::min(text.find_first_not_of(" \t\r\n"), text.size());
  for (size_t part = 0;; ++part) {
    const size_t begin = at;
    while (at < text.size() && is_digit(text[at])) number += text[at++];
    if (at == begin) return "";
    if (part == form.separators.size()) return number;
    const char separator = form.separators[part];
    const bool found =
        at < text.size() && (text[at] == separator || (separator == 'e' && text[at] == 'E'));
    if (!found) return "";
    number += separator;
    ++at;
    if (separator == 'e' && at < text.size() && (text[at] == '+' || text[at] == '-')) ++at;
  }
}

NumberMatch match_numbers(std::string_view found, std::string_view expected, Notation notation) {
  const Form form = form_of(notation);
  std::vector<std::string> given = parts_of(found, form), right = parts_of(expected, form);
  NumberMatch match;
  size_t matches = 0, digits = 0, given_digits = 0;
  for (size_t part = 0; part < right.size(); ++part) {
    digits += right[part].size();
    given_digits += given[part].size();
    if (form.from_right[part]) {
      std::reverse(given[part].begin(), given[part].end());
      std::reverse(right[part].begin(), right[part].end());
    }
    for (size_t i = 0; i < right[part].size(); ++i) {
      const bool is_there = i < given[part].size() && given[part][i] == right[part][i];
      matches += is_there;
      match.places.push_back(is_there);
    }
  }
  if (right.size() > 1) match.places.clear();
  match.digit_match = digits == 0 ? 0 : static_cast<double>(matches) / static_cast<double>(digits);
  match.dlength =
      static_cast<int>(digits > given_digits ? digits - given_digits : given_digits - digits);
  return match;
}

}  // namespace napier
