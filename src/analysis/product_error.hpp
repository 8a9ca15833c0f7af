// How wrong products are.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "analysis/operands.hpp"
#include "napier/arithmetic.hpp"

namespace napier {

// A product is compared with the exact product of the operands before they were quantised: an
// error is the whole arithmetic's, but for the accumulator. Means are over pairs whose exact
// product is not zero and whose product is finite; `_error` are standard errors, 0 where the pairs
// were enumerated.
struct ProductErrors {
  double pairs = 0;
  double bias = 0;  // mean of product / exact - 1
  double bias_error = 0;
  double mean_abs = 0;  // of |product / exact - 1|
  double mean_abs_error = 0;
  double rms = 0;        // of product / exact - 1
  double variance = 0;   // of product / exact - 1
  double max_abs = 0;    // of |product / exact - 1|
  double mean_step = 0;  // of (product - exact) / 2^(xe + we), e the exponents before quantising
  double mean_step_error = 0;
  double nmse = 0;         // sum of squared errors over the sum of squared exact products
  double gain = 0;         // of the products on the exact ones, by least squares
  double zeros = 0;        // the part of pairs with an exact product that is zero, left out
  double wrong_zeros = 0;  // of these, the part whose product is not zero
  double flushed = 0;      // the part of the others whose product is zero
  double not_finite = 0;   // the part whose product is infinite or NaN, left out

  double snr_db() const;  // -10 log10(nmse)
};

// Whether each operand's quantised value depends on nothing but the operand.
bool can_enumerate(const Arithmetic& arithmetic);

// Every pair of mantissas of `source_bits` bits (1 to 14), exponents 0, positive: exact but for
// the double in which means are summed. Requires can_enumerate().
ProductErrors enumerate_products(const Arithmetic& arithmetic, int source_bits);

// Of every block, the pairs x[i][k], w[j][k] with j = i, i + x_rows, ...: each weight once. The
// standard errors take blocks for independent.
// Throws Error where a block scale does not divide the rows.
ProductErrors measure_products(const Arithmetic& arithmetic, std::span<const OperandBlock> blocks);

// What multipliers see of dense rows: quantised numbers and the scale of each.
struct QuantisedRows {
  std::vector<double> values;
  std::vector<float> scales;
};
QuantisedRows quantise_rows(const Operand& operand, std::span<const float> rows, int64_t k);

}  // namespace napier
