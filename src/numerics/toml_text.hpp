// What TOML text must be before toml++ reads it.
#pragma once

#include <string>
#include <string_view>

namespace napier {

// Throws Error that names `where` and the line, where a character beyond ASCII stands outside
// strings and comments. TOML 1.0 allows none there, but toml++ 3.3 (Debian 12) reaches
// __builtin_unreachable() in is_non_ascii_horizontal_whitespace() at U+00A0 to U+0499. Safe on
// several threads.
//   refuse_beyond_ascii("caf\xC3\xA9 = 1", "plan.toml");  // throws
void refuse_beyond_ascii(std::string_view text, const std::string& where);

}  // namespace napier
