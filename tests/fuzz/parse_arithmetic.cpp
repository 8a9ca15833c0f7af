// Any text is an arithmetic that prints back to itself, or a ParseError within the text.
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
    const napier::Arithmetic arithmetic = napier::parse_arithmetic(text);
    const std::string written = napier::to_string(arithmetic);
    if (napier::parse_arithmetic(written) != arithmetic) std::abort();
    if (napier::to_string(napier::parse_arithmetic(written)) != written) std::abort();
    if (napier::parse_arithmetic(napier::display_name(arithmetic)) != arithmetic) std::abort();
    // And a sound one: it multiplies.
    const napier::Dyadic x = arithmetic.x.quantise(napier::Dyadic::from_float(1.75f));
    const napier::Dyadic w = arithmetic.w.quantise(napier::Dyadic::from_float(-3e-38f));
    const napier::Dyadic product = arithmetic.resolved_multiplier().multiply(x, w);
    arithmetic.accumulator.add(product, x);
  } catch (const napier::ParseError& error) {
    if (error.offset() > size) std::abort();
  }
  return 0;
}
