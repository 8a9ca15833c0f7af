// How a number that a format does not hold becomes one that it holds.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace napier {

enum class Rounding : uint8_t {
  nearest_even,  // ties to the even code
  nearest_away,  // ties away from zero
  toward_zero,   // truncation, as L-Mul's paper
  up,            // toward +infinity
  down,          // toward -infinity
  to_odd,        // inexact results get the odd neighbour
  stochastic,    // up with the probability of the distance, from seeded bits
};

// What becomes of a number beyond the largest: that largest, or infinity (NaN where the format has
// no infinity, the largest where it has neither), or, of integers, what is left modulo 2^bits.
enum class Overflow : uint8_t { saturate, infinity, wrap };

// What an operand's subnormal is to the multiplier: its value, a zero, or its bits taken as if they
// were a normal number's (exponent field 0, implicit leading 1): what a bare adder would see.
enum class Subnormals : uint8_t { keep, flush, literal };

struct RoundingName {
  Rounding rounding;
  std::string_view name;
  std::string_view summary;
};

inline constexpr std::array k_rounding_names = {
    RoundingName{Rounding::nearest_even, "rne", "to nearest, ties to even"},
    RoundingName{Rounding::nearest_away, "rna", "to nearest, ties away from zero"},
    RoundingName{Rounding::toward_zero, "rtz", "toward zero (truncation)"},
    RoundingName{Rounding::up, "rup", "up, toward +infinity"},
    RoundingName{Rounding::down, "rdn", "down, toward -infinity"},
    RoundingName{Rounding::to_odd, "rto", "to odd"},
    RoundingName{Rounding::stochastic, "sr", "stochastic, seeded: sr or sr(seed)"},
};

// Whether a magnitude between two neighbouring codes goes to the upper one. `fraction` is its
// distance from the lower code in units of the gap, as a 64-bit fraction whose last bit is sticky
// (set when anything below it was not zero); 0 means exact. `odd` is the lower code's last bit.
// `random` are 32 uniform bits, used by stochastic rounding only: P(up) = floor(fraction 2^32)/2^32
constexpr bool rounds_up(Rounding rounding, bool negative, bool odd, uint64_t fraction,
                         uint32_t random) {
  constexpr uint64_t half = uint64_t{1} << 63;
  if (fraction == 0) return false;
  switch (rounding) {
    case Rounding::nearest_even: return fraction > half || (fraction == half && odd);
    case Rounding::nearest_away: return fraction >= half;
    case Rounding::toward_zero: return false;
    case Rounding::up: return !negative;
    case Rounding::down: return negative;
    case Rounding::to_odd: return !odd;
    case Rounding::stochastic: return random < (fraction >> 32);
  }
  return false;
}

// splitmix64's finaliser (Steele, Lea, Flood, OOPSLA 2014): every bit depends on every bit.
constexpr uint64_t splitmix64(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

// The random bits of stochastic rounding: a hash of the seed, a position and the bits of what is
// rounded. No state, hence the same for any number of threads and any order of work.
constexpr uint32_t random_bits(uint32_t seed, uint64_t position, uint64_t value) {
  const uint64_t key = (uint64_t{seed} << 32) + 0x9E3779B97F4A7C15u;
  return static_cast<uint32_t>(splitmix64(splitmix64(splitmix64(key) ^ position) ^ value) >> 32);
}

}  // namespace napier
