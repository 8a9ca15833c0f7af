// A Kulisch accumulator: nothing is lost until the sum is rounded to f32.
#include <algorithm>
#include <vector>

#include "families.hpp"

namespace napier {
namespace {

// A sum that loses nothing: a two's complement integer in units of 2^lowest, as long as it takes.
class ExactSum {
 public:
  explicit ExactSum(std::span<const Dyadic> terms) {
    bool any = false;
    int highest = 0;
    for (const Dyadic& term : terms) {
      if (!term.is_finite()) special_ = special_ + term;
      if (term.kind != Dyadic::Kind::finite) continue;
      lowest_ = any ? std::min(lowest_, term.exponent - 63) : term.exponent - 63;
      highest = any ? std::max(highest, term.exponent) : term.exponent;
      any = true;
    }
    // 64 bits above the largest: for the sign and for sums of up to 2^62 terms.
    const int bits = any ? highest - lowest_ + 1 + 64 : 64;
    limbs_.assign(static_cast<size_t>(bits + 63) / 64 + 1, 0);
    for (const Dyadic& term : terms) {
      if (term.kind == Dyadic::Kind::finite) add(term);
    }
  }

  // Rounded to odd in 64 bits; zero is positive.
  Dyadic value() const {
    if (!special_.is_zero()) return special_;
    std::vector<uint64_t> magnitude = limbs_;
    const bool negative = magnitude.back() >> 63 != 0;
    if (negative) {
      bool carry = true;
      for (uint64_t& limb : magnitude) {
        limb = ~limb + (carry ? 1 : 0);
        carry = carry && limb == 0;
      }
    }
    size_t top = magnitude.size();
    while (top > 0 && magnitude[top - 1] == 0) --top;
    if (top == 0) return Dyadic::zero();
    const uint64_t below = top > 1 ? magnitude[top - 2] : 0;
    bool lost = false;
    for (size_t i = 0; i + 2 < top; ++i) lost = lost || magnitude[i] != 0;
    // A sticky bit below the two limbs is one of the lowest limb, as the sum has 65 bits or more.
    const uint128 head = uint128{magnitude[top - 1]} << 64 | below | (lost ? 1 : 0);
    return Dyadic::make_to_odd(negative, head, lowest_ + (static_cast<int>(top) - 2) * 64);
  }

 private:
  void add(const Dyadic& term) {
    const int shift = term.exponent - 63 - lowest_;
    const uint128 shifted = uint128{term.significand} << (shift % 64);
    uint64_t parts[2] = {static_cast<uint64_t>(shifted), static_cast<uint64_t>(shifted >> 64)};
    uint64_t carry = 0;
    for (size_t i = static_cast<size_t>(shift / 64), j = 0; i < limbs_.size(); ++i, ++j) {
      const uint64_t part = j < 2 ? parts[j] : 0;
      if (j >= 2 && carry == 0) break;
      const uint128 next =
          term.negative ? uint128{limbs_[i]} - part - carry : uint128{limbs_[i]} + part + carry;
      limbs_[i] = static_cast<uint64_t>(next);
      carry = static_cast<uint64_t>(next >> 64) != 0 ? 1 : 0;
    }
  }

  Dyadic special_ = Dyadic::zero();
  int lowest_ = 0;
  std::vector<uint64_t> limbs_;
};

}  // namespace

Dyadic exact_sum(std::span<const Dyadic> terms) { return ExactSum(terms).value(); }

const AccumulatorFamily k_exact_accumulator = {
    .name = "exact",
    .summary = "nothing is lost until the sum is rounded to f32 (Kulisch)",
    .has_format = false,
    .sum = [](const Accumulator&, std::span<const Dyadic> products,
              uint64_t) { return exact_sum(products); },
    .form =
        [](const Accumulator& accumulator) {
          return SumForm{.kind = SumForm::Kind::exact, .outer = accumulator.cast};
        },
};

}  // namespace napier
