#include "eval/answers.hpp"

#include <algorithm>
#include <cctype>
#include <cstdlib>

#include "eval/trimmed.hpp"

namespace napier {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_number_part(char c) { return is_digit(c) || c == '.' || c == ','; }

// How far from `at` the characters are of a kind.
template <typename Kind>
size_t run_of(std::string_view text, size_t at, Kind kind) {
  size_t end = at;
  while (end < text.size() && kind(text[end])) ++end;
  return end - at;
}

bool equal_numbers(const std::string& a, const std::string& b) {
  char* end_a = nullptr;
  char* end_b = nullptr;
  const double x = std::strtod(a.c_str(), &end_a);
  const double y = std::strtod(b.c_str(), &end_b);
  return !a.empty() && !b.empty() && *end_a == '\0' && *end_b == '\0' && x == y;
}

}  // namespace

std::string strict_number(std::string_view text) {
  constexpr std::string_view lead = "The answer is ";
  for (size_t at = text.find(lead); at != text.npos; at = text.find(lead, at + 1)) {
    const size_t begin = at + lead.size();
    const size_t sign = begin < text.size() && text[begin] == '-' ? 1 : 0;
    size_t length = run_of(text, begin + sign, is_number_part);
    // Any character but a newline must follow: the last of the run where nothing else does.
    const size_t after = begin + sign + length;
    if (length > 0 && (after == text.size() || text[after] == '\n')) --length;
    if (length > 0) return std::string(text.substr(begin, sign + length));
  }
  return std::string(k_no_answer);
}

std::string last_number(std::string_view text) {
  std::string last(k_no_answer);
  for (size_t i = 0; i < text.size();) {
    const size_t sign = text[i] == '-' ? 1 : 0;
    size_t length = run_of(text, i + sign, [](char c) { return is_number_part(c) || c == '$'; });
    if (length == 1 && !is_digit(text[i + sign])) length = 0;
    if (length > 0) last = text.substr(i, sign + length);
    i += length > 0 ? sign + length : 1;
  }
  return last;
}

std::string answer_sentence(std::string_view text) {
  constexpr std::string_view lead = "the answer is ";
  for (size_t at = text.find(lead); at != text.npos; at = text.find(lead, at + 1)) {
    const size_t begin = at + lead.size();
    size_t length = run_of(text, begin, [](char c) { return c != '\n'; });
    if (length == 0) continue;
    // The last character, which may be of several bytes, only has to be there.
    do {
      --length;
    } while (length > 0 && (text[begin + length] & 0xC0) == 0x80);
    return std::string(trimmed(text.substr(begin, length)));
  }
  return std::string(k_no_answer);
}

std::string normalised_number(std::string_view text) {
  std::string result;
  for (const char c : text) {
    if (c != ',' && c != '$') result += c;
  }
  constexpr std::string_view mark = "#### ";
  const size_t at = result.rfind(mark);
  if (at != std::string::npos) result.erase(0, at + mark.size());
  if (result.ends_with('.')) result.pop_back();
  for (char& c : result) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return result;
}

std::string_view until_stop(std::string_view text, const std::vector<std::string>& stops) {
  size_t end = text.size();
  for (const std::string& stop : stops) end = std::min(end, text.find(stop));
  return text.substr(0, end);
}

Extracted extract(Extraction extraction, std::string_view text, std::string_view answer) {
  Extracted found;
  if (extraction == Extraction::sentence) {
    found.strict = found.flexible = answer_sentence(text);
    found.strict_right = found.flexible_right = found.strict == answer;
    return found;
  }
  found.strict = strict_number(text);
  found.flexible = last_number(text);
  const std::string expected = normalised_number(answer);
  const auto right = [&](const std::string& number) {
    const std::string given = normalised_number(number);
    return extraction == Extraction::value ? equal_numbers(given, expected) : given == expected;
  };
  found.strict_right = right(found.strict);
  found.flexible_right = right(found.flexible);
  return found;
}

Extracted extract_result(const NumberGrading& grading, std::string_view text,
                         std::string_view answer) {
  Extracted found;
  found.strict = trimmed(text);
  found.flexible = grading.result_of(found.strict);
  found.strict_right = found.strict == answer;
  found.flexible_right = found.flexible == grading.result_of(answer);
  return found;
}

}  // namespace napier
