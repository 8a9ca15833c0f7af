// Whether a circuit computes what the C++ arithmetic does.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "hw/tool.hpp"
#include "hw/unit.hpp"

namespace napier {

// Codes of x, w and the sum.
using Stimulus = std::vector<std::array<uint64_t, 3>>;

// Every pair of codes where there are at most 2^16, with sums drawn for a step; else `count`:
// zeros, subnormals, ones, largest, infinities and NaNs of both signs with each other, then codes
// drawn uniformly, and sums drawn as codes or close to the product, so that it cancels.
// `exhaustive` says whether every pair is there.
Stimulus make_vectors(const HardwareUnit& unit, int64_t count, uint64_t seed, bool& exhaustive);

struct Equivalence {
  int64_t vectors = 0;
  bool exhaustive = false;  // every pair of operands
  int64_t mismatches = 0;
  std::string first;  // mismatch, in words
};

// Simulates `verilog` (the unit's own, or a netlist with its cells) on the vectors with Verilator,
// or Icarus where `icarus` is set (no compilation, but slower vectors). Throws Error where the
// simulator is not installed.
Equivalence check_equivalence(const HardwareUnit& unit, const std::string& verilog,
                              const Stimulus& stimulus, const WorkFolder& folder, bool icarus);

}  // namespace napier
