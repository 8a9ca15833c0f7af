// Whether a circuit computes what the C++ arithmetic does.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "hw/tool.hpp"
#include "hw/unit.hpp"

namespace napier {

// What a unit is given, operation after operation: codes of x and w, by lane, and of the sum.
struct Stimulus {
  size_t lanes = 1;
  std::vector<uint64_t> x, w;  // [operation][lane]
  std::vector<uint64_t> sum;   // [operation]

  size_t size() const { return sum.size(); }
  void add(std::span<const uint64_t> x_codes, std::span<const uint64_t> w_codes, uint64_t sum_code);
  void add(uint64_t x_code, uint64_t w_code, uint64_t sum_code) {
    add(std::span(&x_code, 1), std::span(&w_code, 1), sum_code);
  }
  std::span<const uint64_t> x_of(size_t i) const { return std::span(x).subspan(i * lanes, lanes); }
  std::span<const uint64_t> w_of(size_t i) const { return std::span(w).subspan(i * lanes, lanes); }
  // "x w sum" of the unit's ports in hexadecimal, the first lane lowest.
  std::string line(const HardwareUnit& unit, size_t i) const;
};

// Every pair of codes where there are at most 2^16, with sums drawn for a step; else `count`:
// zeros, subnormals, ones, largest, infinities and NaNs of both signs with each other, then codes
// drawn uniformly, and sums drawn as codes or close to the product, so that it cancels. Lanes of a
// dot are drawn so, or all near one code, so that none is shifted far.
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
