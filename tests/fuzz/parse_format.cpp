// Any text is a format that prints back to itself, or a ParseError within the text.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "napier/error.hpp"
#include "napier/format.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    const napier::Format format = napier::parse_format(text);
    if (napier::parse_format(napier::format_name(format)) != format) std::abort();
    // And a sound one: its largest number has the code it came from.
    const napier::Rounding rounding = napier::Rounding::to_odd;
    const napier::Overflow overflow = napier::Overflow::infinity;
    if (format.encode(format.max_finite(), rounding, overflow) != format.max_code()) std::abort();
  } catch (const napier::ParseError& error) {
    if (error.offset() > size) std::abort();
  }
  return 0;
}
