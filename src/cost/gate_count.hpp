// Gates of multipliers, as L-Mul's paper counts them and as an array multiplier has them.
#pragma once

#include <optional>
#include <span>
#include <string_view>

namespace napier {

// A full adder is 11 gates, a half adder 5 (arXiv 2410.00907, section 2.2).
inline constexpr int k_full_adder_gates = 11;
inline constexpr int k_half_adder_gates = 5;

struct ArrayGates {
  int and_gates = 0;
  int half_adders = 0;
  int full_adders = 0;

  constexpr int total() const {
    return and_gates + half_adders * k_half_adder_gates + full_adders * k_full_adder_gates;
  }
};

// The paper's count for mantissas of j bits: (j+1)^2 AND, 3 half adders, 2j - 2 full adders.
constexpr ArrayGates paper_mantissa_gates(int j) { return {(j + 1) * (j + 1), 3, 2 * j - 2}; }

// An n x n array multiplier (n >= 2; n = j + 1 with the leading 1): n^2 AND gates make the partial
// products, n - 1 rows of n adders sum them, and in the first row and at each row's end one operand
// is missing: n half adders, n (n - 2) full adders.
constexpr ArrayGates array_multiplier_gates(int n) { return {n * n, n, n * (n - 2)}; }

// One row of the paper's totals. `rest` is what its formula leaves unexplained: as printed, not
// derivable.
struct PaperGates {
  std::string_view unit;
  int printed = 0;
  std::optional<int> mantissa_bits;  // where its formula is a part of it

  int by_formula() const {
    return mantissa_bits ? paper_mantissa_gates(*mantissa_bits).total() : 0;
  }
  int rest() const { return printed - by_formula(); }
  // With a whole array multiplier in place of the formula's part.
  int corrected() const {
    return mantissa_bits ? array_multiplier_gates(*mantissa_bits + 1).total() + rest() : printed;
  }
};

std::span<const PaperGates> paper_gates();

}  // namespace napier
