// Sums as tensor cores make them: n products and the sum so far are cut, toward zero, to multiples
// of 2^(e - M - extra), e the largest of their exponents and M the format's mantissa bits; these
// are added exactly and the sum is rounded into the format.
#include <algorithm>
#include <array>
#include <vector>

#include "families.hpp"

namespace napier {
namespace {

enum Setting { k_align, k_extra };

constexpr std::array k_parameters = {
    Parameter{.name = "align",
              .min = 1,
              .max = 4096,
              .summary = "products that are added together",
              .required = true},
    Parameter{.name = "extra", .max = 24, .summary = "bits kept below the format's last"},
};

SumForm form_of(const Accumulator& accumulator) {
  return {.kind = SumForm::Kind::aligned,
          .align = static_cast<uint32_t>(accumulator.settings[k_align]),
          .extra = static_cast<uint32_t>(accumulator.settings[k_extra]),
          .outer = accumulator.cast};
}

// Toward zero to a multiple of 2^quantum.
Dyadic cut(const Dyadic& value, int quantum) {
  if (value.kind != Dyadic::Kind::finite) return value;
  const int drop = quantum - (value.exponent - 63);
  if (drop <= 0) return value;
  if (drop >= 64) return Dyadic::zero(value.negative);
  return Dyadic::make(value.negative, value.significand >> drop, quantum);
}

Dyadic aligned_sum(const Accumulator& accumulator, std::span<const Dyadic> products,
                   uint64_t position) {
  const SumForm form = form_of(accumulator);
  const Cast& cast = accumulator.cast;
  Dyadic total = Dyadic::zero();
  std::vector<Dyadic> terms;
  for (size_t first = 0; first < products.size(); first += form.align) {
    const auto group =
        products.subspan(first, std::min<size_t>(form.align, products.size() - first));
    terms.assign(group.begin(), group.end());
    terms.push_back(total);
    const Dyadic largest = *std::max_element(
        terms.begin(), terms.end(),
        [](const Dyadic& a, const Dyadic& b) { return compare_magnitude(a, b) < 0; });
    if (largest.kind == Dyadic::Kind::finite) {
      const int quantum =
          largest.exponent - (cast.format.significand_bits() - 1) - static_cast<int>(form.extra);
      for (Dyadic& term : terms) term = cut(term, quantum);
    }
    total = cast(exact_sum(terms), position + first + group.size() - 1);
  }
  return total;
}

}  // namespace

const AccumulatorFamily k_align_accumulator = {
    .name = "align",
    .summary = "as tensor cores: products are cut to the largest's exponent and added exactly",
    .parameters = k_parameters,
    .sum = aligned_sum,
    .form = form_of,
    .why_not = [](const Accumulator& accumulator) -> std::optional<std::string> {
      const Format& format = accumulator.cast.format;
      if (format.is_float() && format.bits() <= 32) return std::nullopt;
      return "aligned sums are floats of at most 32 bits";
    },
};

}  // namespace napier
