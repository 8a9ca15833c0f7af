// Plans: globs over tensor names, and the written form.
#include "napier/plan.hpp"

#include "cursor.hpp"
#include "written.hpp"

namespace napier {
namespace {

// Matches one [set] at the head of `pattern` against `c`; returns the set's length, or 0 where the
// bracket is never closed (then it stands for itself).
size_t match_set(std::string_view pattern, char c, bool& matched) {
  size_t i = 1;
  const bool negated = i < pattern.size() && pattern[i] == '!';
  if (negated) ++i;
  bool in_set = false;
  for (const size_t first = i; i < pattern.size(); ++i) {
    if (pattern[i] == ']' && i > first) {
      matched = in_set != negated;
      return i + 1;
    }
    if (i + 2 < pattern.size() && pattern[i + 1] == '-' && pattern[i + 2] != ']') {
      in_set |= pattern[i] <= c && c <= pattern[i + 2];
      i += 2;
    } else {
      in_set |= pattern[i] == c;
    }
  }
  return 0;
}

// Where the word "with" stands by itself, outside parentheses, or `end`.
size_t find_with(std::string_view text, size_t begin, size_t end) {
  constexpr std::string_view word = "with";
  const auto is_space = [&](size_t i) {
    return text[i] == ' ' || text[i] == '\t' || text[i] == '\n';
  };
  int depth = 0;
  for (size_t i = begin; i < end; ++i) {
    if (text[i] == '(') ++depth;
    if (text[i] == ')') --depth;
    if (depth != 0 || text.substr(i, word.size()) != word || i == begin || !is_space(i - 1))
      continue;
    if (const size_t after = i + word.size(); after <= end && (after == end || is_space(after)))
      return i;
  }
  return end;
}

Rule take_product(std::string pattern, std::string_view text, size_t begin, size_t end) {
  const size_t with = find_with(text, begin, end);
  Rule rule{std::move(pattern), parse_arithmetic(text, begin, with)};
  if (with != end) rule.treatments = parse_treatments(text, with + 4, end);
  return rule;
}

}  // namespace

bool glob_matches(std::string_view pattern, std::string_view name) {
  // The last '*' seen and the name's position tried for it: on a mismatch that star takes one more
  // character. Linear in pattern x name, whatever the pattern.
  size_t p = 0;
  size_t n = 0;
  size_t star = std::string_view::npos;
  size_t resume = 0;
  while (n < name.size()) {
    size_t step = 0;
    if (p < pattern.size()) {
      bool matched = false;
      if (pattern[p] == '*') {
        star = p++;
        resume = n;
        continue;
      }
      if (pattern[p] == '?') {
        step = 1;
      } else if (pattern[p] == '[') {
        const size_t length = match_set(pattern.substr(p), name[n], matched);
        step = length == 0 ? (name[n] == '[' ? 1 : 0) : (matched ? length : 0);
      } else {
        step = pattern[p] == name[n] ? 1 : 0;
      }
    }
    if (step > 0) {
      p += step;
      ++n;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      n = ++resume;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

std::optional<size_t> Plan::match(std::string_view name) const {
  for (size_t i = 0; i < rules.size(); ++i) {
    if (glob_matches(rules[i].pattern, name)) return i;
  }
  return std::nullopt;
}

Plan parse_plan(std::string_view text) {
  Plan plan;
  if (text.find_first_of(";>*?") == std::string_view::npos) {  // no rule: one arithmetic
    plan.rules.push_back(take_product("*", text, 0, text.size()));
    return plan;
  }
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find(';', begin), text.size());
    Cursor cursor(text, begin, end);
    cursor.skip_spaces();
    if (cursor.done()) {
      // A semicolon may close the last rule; elsewhere an empty rule is a slip.
      if (end == text.size() && !plan.rules.empty()) break;
      cursor.fail(std::string("expected a rule 'pattern -> arithmetic', found ") +
                  (end == text.size() ? "the end" : "';'"));
    }
    const size_t arrow = text.substr(0, end).find("->", cursor.offset());
    if (arrow == std::string_view::npos) {
      cursor.fail("expected a rule 'pattern -> arithmetic', found no '->'");
    }
    size_t pattern_end = arrow;
    while (pattern_end > cursor.offset() && text[pattern_end - 1] == ' ') --pattern_end;
    const std::string pattern(text.substr(cursor.offset(), pattern_end - cursor.offset()));
    if (pattern.empty()) cursor.fail("expected a pattern of tensor names before '->'");
    if (pattern.find_first_of(" \t\n") != std::string::npos) {
      cursor.fail("a pattern of tensor names has no spaces: '" + pattern + "'");
    }
    plan.rules.push_back(take_product(pattern, text, arrow + 2, end));
    begin = end + 1;
  }
  if (plan.rules.empty()) throw ParseError(text, 0, "a plan needs at least one rule");
  return plan;
}

std::string to_string(const Plan& plan) {
  std::string text;
  for (const Rule& rule : plan.rules) {
    if (!text.empty()) text += "; ";
    text += rule.pattern + " -> " + to_string(rule.arithmetic) + to_string(rule.treatments);
  }
  return text;
}

std::string display_name(const Rule& rule) {
  std::string text = display_name(rule.arithmetic) + to_string(rule.treatments);
  constexpr std::string_view given = "given=";
  for (size_t at = 0; (at = text.find(given, at)) != std::string::npos;) {
    at += given.size() - 1;
    text.erase(at, text.find(')', at) - at);
  }
  return text;
}

}  // namespace napier
