// How products are summed.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "napier/operand.hpp"

namespace napier {

// Adds products in order of k, from zero, in one of these ways:
//   one by one, every sum rounded into a format (a fused addition: the product is not rounded again
//   before it is added)                                  format[:rounding][:sat|inf|wrap]
//   exactly, as a Kulisch accumulator, rounded once to f32 at the end                   exact
//   as tensor cores do: `align` products and the sum so far are cut, toward zero, to multiples of
//   2^(e - M - extra), e the largest of their exponents and M the format's mantissa bits; these are
//   added exactly and the sum is rounded into the format      format[...](align=n[,extra=k])
// With a chunk, each run of `chunk` products is summed from zero and the run's sum is then added to
// the total in `outer`.                              format[...](chunk=n[,outer=format])
//
// Exponents are the products' own, floor(log2 |x w|); hardware may take the operands' sum.
struct Accumulator {
  Cast cast{k_f32, Rounding::nearest_even, 0, Overflow::infinity};
  uint32_t chunk = 0;           // products a chunk; 0: plain
  std::optional<Format> outer;  // of the total over chunks; the accumulator's own if not given
  uint32_t align = 0;           // products that are aligned together; 0: none are
  uint32_t extra = 0;           // bits kept below the format's last
  bool is_exact = false;        // then cast is f32's

  bool operator==(const Accumulator&) const = default;

  // sum + term, rounded. `position` is the step k: it keys stochastic rounding.
  constexpr Dyadic add(const Dyadic& sum, const Dyadic& term, uint64_t position = 0) const {
    return cast(sum + term, position);
  }

  // The sum of products, the first of which stands at `position`. Exact sums are rounded to odd in
  // 64 bits: rounding that to f32 is rounding the sum.
  Dyadic sum(std::span<const Dyadic> products, uint64_t position = 0) const;

  // The rounding of the total over chunks.
  constexpr Cast outer_cast() const {
    if (!outer) return cast;
    return Cast{*outer, cast.rounding, cast.seed, default_overflow(*outer)};
  }

  bool is_plain() const { return chunk == 0 && align == 0 && !is_exact; }
  bool is_plain_f32() const { return *this == Accumulator{}; }
};

inline constexpr uint32_t k_max_extra_bits = 24;
inline constexpr uint32_t k_max_aligned = 4096;

}  // namespace napier
