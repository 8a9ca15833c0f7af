// A text without white space at its ends.
#pragma once

#include <cstddef>
#include <string_view>

namespace napier {

// White space is what Python's strip() takes away of ASCII, as lm-evaluation-harness does.
//   trimmed(" a b\n")  is "a b"
inline std::string_view trimmed(std::string_view text) {
  constexpr std::string_view white = " \t\r\n\v\f";
  const size_t begin = text.find_first_not_of(white);
  if (begin == text.npos) return {};
  return text.substr(begin, text.find_last_not_of(white) - begin + 1);
}

}  // namespace napier
