// Pairs of operands, and which part each is for.
#pragma once

#include <algorithm>
#include <compare>
#include <cstdint>
#include <string>

#include "eval/workloads/drawing.hpp"

namespace napier {

struct Pair {
  int a, b;
  auto operator<=>(const Pair&) const = default;
};

// A tenth of all pairs is kept for questions, whatever the seed.
inline bool is_for(Part part, const Pair& pair) {
  const uint64_t number = static_cast<uint64_t>(pair.a) * 1000003 + static_cast<uint64_t>(pair.b);
  return ((number * 0x9E3779B97F4A7C15 >> 40) % 10 == 0) == (part == Part::test);
}

// Digits of the longer one.
inline int length_of(const Pair& pair) {
  return static_cast<int>(std::to_string(std::max(pair.a, pair.b)).size());
}

}  // namespace napier
