// Any bytes are a sweep's file, or an Error.
#include <cstdlib>
#include <string>

#include "napier/error.hpp"
#include "recipes/sweep_file.hpp"
#include "scratch.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static Scratch scratch;
  try {
    const napier::SweepSpec spec = napier::read_sweep_file(scratch.write("sweep.toml", data, size));
    if (spec.models.empty() || spec.subjects.empty() || spec.sources.empty()) std::abort();
  } catch (const napier::Error& error) {
    if (error.what()[0] == '\0') std::abort();
  }
  return 0;
}
