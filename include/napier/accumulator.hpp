// How products are summed.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "napier/operand.hpp"

namespace napier {

// Adds products one by one in order of k, rounding every sum into a format (a fused addition: the
// product is not rounded again before it is added). With a chunk, each run of `chunk` products is
// summed from zero and the run's sum is then added to the total in `outer`.
// Written  format[:rounding][:sat|inf][(chunk=n[,outer=format])].
//
struct Accumulator {
  Cast cast{k_f32, Rounding::nearest_even, 0, Overflow::infinity};
  uint32_t chunk = 0;           // products a chunk; 0: plain
  std::optional<Format> outer;  // of the total over chunks; the accumulator's own if not given

  bool operator==(const Accumulator&) const = default;

  // sum + term, rounded. `position` is the step k: it keys stochastic rounding.
  constexpr Dyadic add(const Dyadic& sum, const Dyadic& term, uint64_t position = 0) const {
    return cast(sum + term, position);
  }

  // The rounding of the total over chunks.
  constexpr Cast outer_cast() const {
    if (!outer) return cast;
    return Cast{*outer, cast.rounding, cast.seed, default_overflow(*outer)};
  }

  bool is_plain_f32() const { return chunk == 0 && *this == Accumulator{}; }
};

}  // namespace napier
