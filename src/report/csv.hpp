// Comma-separated values, as RFC 4180 has them.
#pragma once

#include <fmt/format.h>

#include <cmath>
#include <string>
#include <string_view>
#include <type_traits>

namespace napier {

// One field: a text quoted where it must be; a number in full, and none where it is NaN.
template <class Value>
std::string csv_field(const Value& value) {
  if constexpr (std::is_floating_point_v<Value>) {
    return std::isnan(value) ? "" : fmt::format("{}", value);
  } else if constexpr (std::is_arithmetic_v<Value>) {
    return fmt::format("{:d}", value);
  } else {
    const std::string_view text = value;
    if (text.find_first_of(",\"\r\n") == text.npos) return std::string(text);
    std::string quoted = "\"";
    for (const char c : text) quoted += c == '"' ? "\"\"" : std::string(1, c);
    return quoted + '"';
  }
}

// A row with its newline: csv_row("fp8_e4m3", 512, 0.25) is "fp8_e4m3,512,0.25\n".
template <class First, class... Others>
std::string csv_row(const First& first, const Others&... others) {
  return (csv_field(first) + ... + ("," + csv_field(others))) + "\n";
}

}  // namespace napier
