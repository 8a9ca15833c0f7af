// What the accumulators' files share: their declarations, and sums that lose nothing.
#pragma once

#include <span>

#include "napier/accumulator.hpp"

namespace napier {

#define NAPIER_ACCUMULATOR(name) extern const AccumulatorFamily k_##name##_accumulator;
#include "registry.inc"
#undef NAPIER_ACCUMULATOR

// Rounded to odd in 64 bits: rounding that to a format is rounding the sum. Zero is positive.
Dyadic exact_sum(std::span<const Dyadic> terms);

// Products one by one, from zero, every sum rounded.
inline Dyadic plain_sum(const Accumulator& accumulator, std::span<const Dyadic> products,
                        uint64_t position) {
  Dyadic result = Dyadic::zero();
  for (const Dyadic& product : products) result = accumulator.add(result, product, position++);
  return result;
}

}  // namespace napier
