// Any text is a list whose parts hold no more than it does, or a ParseError within the text.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "napier/arithmetic.hpp"
#include "napier/error.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    size_t total = 0;
    for (const std::string& part : napier::split_list(text)) {
      if (part.empty() || text.find(part) == std::string_view::npos) std::abort();
      total += part.size();
    }
    if (total > size) std::abort();
    napier::parse_arithmetic_list(text);
  } catch (const napier::ParseError& error) {
    if (error.offset() > size) std::abort();
  }
  return 0;
}
