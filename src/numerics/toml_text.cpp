#include "numerics/toml_text.hpp"

#include <algorithm>

#include "napier/error.hpp"

namespace napier {
namespace {

constexpr std::string_view k_byte_order_mark = "\xEF\xBB\xBF";

// The place after the string that begins at `begin`. One that does not end on its line, as only one
// in triple quotes may, ends there: toml++ stops at it.
size_t after_string(std::string_view text, size_t begin) {
  const char quote = text[begin];
  const std::string triple(3, quote);
  const bool many_lines = text.substr(begin, 3) == triple;
  size_t at = begin + (many_lines ? 3 : 1);
  while (at < text.size()) {
    if (text[at] == '\\' && quote == '"') {
      at += 2;
    } else if (many_lines && text.substr(at, 3) == triple) {
      at += 3;
      // Up to two quotes before the closing three are the string's own.
      for (int own = 0; own < 2 && at < text.size() && text[at] == quote; ++own) ++at;
      return at;
    } else if (!many_lines && (text[at] == quote || text[at] == '\n')) {
      return at + 1;
    } else {
      ++at;
    }
  }
  return text.size();
}

}  // namespace

void refuse_beyond_ascii(std::string_view text, const std::string& where) {
  size_t at = text.starts_with(k_byte_order_mark) ? k_byte_order_mark.size() : 0;
  while (at < text.size()) {
    const char c = text[at];
    if (c == '#') {
      at = std::min(text.find('\n', at), text.size());
    } else if (c == '"' || c == '\'') {
      at = after_string(text, at);
    } else if (static_cast<unsigned char>(c) > 0x7F) {
      const auto line = std::count(text.begin(), text.begin() + static_cast<long>(at), '\n') + 1;
      throw Error(where + ", line " + std::to_string(line) +
                  ": has a character beyond ASCII outside quotes, which TOML does not allow");
    } else {
      ++at;
    }
  }
}

}  // namespace napier
