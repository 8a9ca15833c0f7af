// What a product errs by on average when mantissas are uniform, by formula.
//
// Operands are x = 1 + i/2^m, i uniform in [0, 2^m): one binade stands for all, since every error
// scales with 2^(xe + we). Errors here are product less exact product, so the paper's are negated.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "napier/arithmetic.hpp"

namespace napier {

// arXiv 2410.00907, section 2.3: truncating m mantissa bits to k costs an exact product f1 (times
// 2^(xe + we)) on average, and L-Mul's formula f1 + f2 with its offset 2^-l (l = 0: none).
double paper_f1(int m, int k);
double paper_f2(int k, int l);

struct ClosedForm {
  double mean_error = 0;  // of (product - exact product) / 2^(xe + we)
  // Algebra all through, or a sum over the pairs of kept mantissas with weights from algebra.
  bool is_formula = false;
};

// For unscaled floating-point operands, truncated or rounded to nearest even, of any multiplier.
// Nothing where that is not so, where four binades do not fit the formats, or where the sum would
// have more than 2^22 terms.
std::optional<ClosedForm> closed_form(const Arithmetic& arithmetic, int source_bits);

// How many of the 2^m mantissas become 1 + i/2^k, i = 0..2^k: truncated or rounded to nearest even.
std::vector<double> kept_weights(int m, int k, Rounding rounding);

// The mean of what L-Mul's adder (offset > 0) or Mitchell's (0) gives on k-bit mantissas that came
// from uniform m-bit ones by truncation or by rounding to nearest even.
double mean_pattern_sum(int m, int k, double offset, Rounding rounding);

}  // namespace napier
