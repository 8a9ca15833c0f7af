// Any text is a plan that prints back to itself and can be matched, or a ParseError.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "napier/error.hpp"
#include "napier/plan.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  napier::glob_matches(text, "kq-0");  // any text is a glob, too
  try {
    const napier::Plan plan = napier::parse_plan(text);
    if (napier::parse_plan(napier::to_string(plan)) != plan) std::abort();
    plan.match("blk.0.attn_q.weight");
  } catch (const napier::ParseError& error) {
    if (error.offset() > size) std::abort();
  }
  return 0;
}
