// How products are summed.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "napier/operand.hpp"
#include "napier/parameter.hpp"

namespace napier {

struct Accumulator;

// What a sum is, for kernels: they are chosen by this, never by an accumulator's name.
struct SumForm {
  enum class Kind : uint8_t {
    plain,    // one by one in order of k, every sum rounded
    chunked,  // runs of `chunk` products so, their sums so again in `outer`
    exact,    // rounded once to f32 at the end
    aligned,  // `align` products and the sum so far cut to multiples of one power of two, `extra`
              // bits below the format's last
    other,    // only sum() knows
  };
  Kind kind = Kind::other;
  uint32_t chunk = 0;
  uint32_t align = 0;
  uint32_t extra = 0;
  Cast outer;  // of the total: the accumulator's own where runs have none
};

// A way of summing: one file in src/numerics/accumulators/ and one line in its registry. Written
// behind the sums' format, format[:rounding][:sat|inf|wrap](name=value{,key=value}): the first
// parameter bears the family's name. Without a format the name is all.
struct AccumulatorFamily {
  std::string_view name;  // empty: the format is all that is written
  std::string_view summary;
  std::span<const Parameter> parameters = {};
  bool has_format = true;

  // The sum of products, the first of which stands at `position`. Where no format is written it may
  // be rounded to odd in 64 bits, which is then rounded to f32.
  Dyadic (*sum)(const Accumulator& accumulator, std::span<const Dyadic> products,
                uint64_t position);
  SumForm (*form)(const Accumulator& accumulator) = nullptr;  // null: other
  // Why it cannot sum in this format with these settings, if so; null: it can in all.
  std::optional<std::string> (*why_not)(const Accumulator& accumulator) = nullptr;
  // Takes out a setting that says what its absence says: one written form for one arithmetic.
  void (*normalise)(Accumulator& accumulator) = nullptr;
};

std::span<const AccumulatorFamily* const> accumulator_families();

extern const AccumulatorFamily k_plain_accumulator;  // one by one

// Adds products in order of k, from zero. `settings` holds one value per parameter of the family.
//
// Exponents of aligned sums are the products' own, floor(log2 |x w|); hardware may take the
// operands' sum.
struct Accumulator {
  Cast cast{k_f32, Rounding::nearest_even, 0, Overflow::infinity};  // f32's where none is written
  const AccumulatorFamily* family = &k_plain_accumulator;
  std::vector<int> settings = {};

  bool operator==(const Accumulator&) const = default;

  // sum + term, rounded. `position` is the step k: it keys stochastic rounding.
  constexpr Dyadic add(const Dyadic& sum, const Dyadic& term, uint64_t position = 0) const {
    return cast(sum + term, position);
  }
  Dyadic sum(std::span<const Dyadic> products, uint64_t position = 0) const {
    return family->sum(*this, products, position);
  }

  SumForm form() const { return family->form != nullptr ? family->form(*this) : SumForm{}; }
  bool is_plain() const { return form().kind == SumForm::Kind::plain; }
  bool is_exact() const { return form().kind == SumForm::Kind::exact; }
  bool is_plain_f32() const { return *this == Accumulator{}; }
};

}  // namespace napier
