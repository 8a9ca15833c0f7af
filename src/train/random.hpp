// Random numbers that are functions of where they are used: no state to save or to share between
// threads.
#pragma once

#include <cmath>
#include <cstdint>
#include <numbers>

#include "napier/rounding.hpp"

namespace napier {

// A step of splitmix64: zero does not stay zero.
inline uint64_t mix(uint64_t x) { return splitmix64(x + 0x9E3779B97F4A7C15); }

inline uint64_t random_bits(uint64_t seed, uint64_t index) { return mix(mix(seed) ^ index); }

// Below `count`, which is small against 2^64.
inline uint64_t random_below(uint64_t seed, uint64_t index, uint64_t count) {
  return random_bits(seed, index) % count;
}

// Of the standard normal distribution (Box and Muller).
inline double random_normal(uint64_t seed, uint64_t index) {
  const double u = (static_cast<double>(random_bits(seed, 2 * index) >> 11) + 0.5) * 0x1p-53;
  const double v = static_cast<double>(random_bits(seed, 2 * index + 1) >> 11) * 0x1p-53;
  return std::sqrt(-2 * std::log(u)) * std::cos(2 * std::numbers::pi * v);
}

}  // namespace napier
