// Reading the written forms: a position in a text, and errors that know it.
#pragma once

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "napier/error.hpp"

namespace napier {

// The fewest digits that read back as the same number.
inline std::string shortest(double value) {
  char text[32];
  return {text, std::to_chars(text, text + sizeof text, value).ptr};
}

class Cursor {
 public:
  // Reads text[begin, end); errors quote the whole text and count positions in it.
  Cursor(std::string_view text, size_t begin, size_t end) : text_(text), at_(begin), end_(end) {}
  explicit Cursor(std::string_view text) : Cursor(text, 0, text.size()) {}

  std::string_view text() const { return text_; }
  size_t offset() const { return at_; }
  bool done() const { return at_ == end_; }
  char peek() const { return done() ? '\0' : text_[at_]; }
  std::string_view rest() const { return text_.substr(at_, end_ - at_); }

  bool take(char c) {
    if (peek() != c || done()) return false;
    ++at_;
    return true;
  }
  bool take(std::string_view word) {
    if (!rest().starts_with(word)) return false;
    at_ += word.size();
    return true;
  }
  void expect(char c, const std::string& where) {
    if (!take(c)) fail(std::string("expected '") + c + "' " + where + found());
  }
  void skip_spaces() {
    while (!done() && (peek() == ' ' || peek() == '\t' || peek() == '\n')) ++at_;
  }

  // A run of letters, digits and underscores; may be empty. `extra` are further characters.
  std::string_view word(std::string_view extra = {}) {
    const size_t begin = at_;
    while (!done() && (is_word(peek()) || extra.find(peek()) != std::string_view::npos)) ++at_;
    return text_.substr(begin, at_ - begin);
  }

  // A decimal number without sign in [min, max].
  uint32_t number(uint32_t min, uint32_t max, const std::string& what) {
    const size_t begin = at_;
    const std::string_view digits = word();
    uint32_t value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (digits.empty() || end != digits.data() + digits.size() || error != std::errc{} ||
        value < min || value > max) {
      fail_at(begin, what + " must be a whole number from " + std::to_string(min) + " to " +
                         std::to_string(max) +
                         (digits.empty() ? found() : ", not '" + std::string(digits) + "'"));
    }
    return value;
  }

  // A finite positive number such as 0.25 or 1e-3, at most `max`.
  double real(double max, const std::string& what) {
    const size_t begin = at_;
    const std::string_view digits = word(".+-");
    double value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (digits.empty() || end != digits.data() + digits.size() || error != std::errc{} ||
        !(value > 0 && value <= max)) {
      std::string limit = " must be a positive number";
      if (max < 1e9) limit += " up to " + shortest(max);
      fail_at(begin,
              what + limit + (digits.empty() ? found() : ", not '" + std::string(digits) + "'"));
    }
    return value;
  }

  [[noreturn]] void fail(const std::string& problem) const { fail_at(at_, problem); }
  [[noreturn]] void fail_at(size_t offset, const std::string& problem) const {
    throw ParseError(text_, offset, problem);
  }

  // ", found 'x'" or ", found the end".
  std::string found() const {
    if (done()) return ", found the end";
    size_t length = 1;  // a character beyond ASCII is several bytes: 0b10xxxxxx follow the first
    while (at_ + length < end_ && (text_[at_ + length] & 0b11000000) == 0b10000000) ++length;
    return ", found '" + std::string(text_.substr(at_, length)) + "'";
  }

 private:
  static bool is_word(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  }

  std::string_view text_;
  size_t at_;
  size_t end_;
};

// "a, b or c".
inline std::string alternatives(const std::vector<std::string>& names) {
  std::string result;
  for (size_t i = 0; i < names.size(); ++i) {
    if (i > 0) result += i + 1 == names.size() ? " or " : ", ";
    result += names[i];
  }
  return result;
}

// Levenshtein distance, in which swapped neighbours are one mistake; for suggestions.
inline size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<size_t>> d(a.size() + 1, std::vector<size_t>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i) d[i][0] = i;
  for (size_t j = 0; j <= b.size(); ++j) d[0][j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t substituted = d[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      d[i][j] = std::min({substituted, d[i - 1][j] + 1, d[i][j - 1] + 1});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
      }
    }
  }
  return d[a.size()][b.size()];
}

// "; did you mean 'x'?" for the nearest name, or nothing where none is near.
inline std::string suggestion(std::string_view word, const std::vector<std::string>& names) {
  if (word.size() > 64) return {};
  size_t best = std::numeric_limits<size_t>::max();
  std::string nearest;
  for (const std::string& name : names) {
    const size_t distance = edit_distance(word, name);
    if (distance < best) {
      best = distance;
      nearest = name;
    }
  }
  if (best > 1 + word.size() / 3) return {};
  return "; did you mean '" + nearest + "'?";
}

}  // namespace napier
