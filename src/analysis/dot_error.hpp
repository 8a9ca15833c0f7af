// How wrong sums of products are.
#pragma once

#include <cstdint>
#include <span>

#include "analysis/operands.hpp"
#include "napier/arithmetic.hpp"
#include "napier/thread_pool.hpp"

namespace napier {

// Dot products of rows, by the kernel that models run on (so with its order of accumulation),
// against sums in double of the unquantised operands.
struct DotErrors {
  double dots = 0;
  double snr_db = 0;         // 10 log10(sum of exact^2 / sum of error^2)
  double snr_db_error = 0;   // standard error, by leaving out a block at a time
  double gain = 0;           // of the sums on the exact ones, by least squares
  double gained_snr_db = 0;  // once that gain is divided away: what a constant factor cannot mend
  double not_finite = 0;     // the part of sums that are infinite or NaN, left out
};

// Every row of x with every row of w, block by block. Throws Error as pack_weights().
DotErrors measure_dots(const Arithmetic& arithmetic, std::span<const OperandBlock> blocks,
                       ThreadPool& pool);

}  // namespace napier
