#include "analysis/dot_error.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "napier/gemm.hpp"

namespace napier {
namespace {

struct Sums {
  double dots = 0, exact2 = 0, error2 = 0, cross = 0, found2 = 0, not_finite = 0;

  void add(const Sums& other, double sign = 1) {
    dots += sign * other.dots;
    exact2 += sign * other.exact2;
    error2 += sign * other.error2;
    cross += sign * other.cross;
    found2 += sign * other.found2;
    not_finite += sign * other.not_finite;
  }
  double snr_db() const { return 10 * std::log10(exact2 / error2); }
};

}  // namespace

DotErrors measure_dots(const Arithmetic& arithmetic, std::span<const OperandBlock> blocks,
                       ThreadPool& pool) {
  std::vector<Sums> sums(blocks.size());
  Sums total;
  std::vector<float> out;
  for (size_t b = 0; b < blocks.size(); ++b) {
    const OperandBlock& block = blocks[b];
    const auto row_of = [&](const std::vector<float>& rows) {
      return [&rows, k = block.k](int64_t row, float* to) {
        std::copy_n(rows.data() + row * k, k, to);
      };
    };
    const auto w = pack_weights(arithmetic, block.w_rows(), block.k, row_of(block.w), pool);
    out.resize(static_cast<size_t>(block.x_rows() * block.w_rows()));
    w->multiply(block.x_rows(), row_of(block.x), out.data(), block.w_rows(), pool);
    Sums& sum = sums[b];
    for (int64_t i = 0; i < block.x_rows(); ++i) {
      const auto x_row = block.x_row(i);
      for (int64_t j = 0; j < block.w_rows(); ++j) {
        const auto w_row = block.w_row(j);
        double exact = 0;
        for (size_t k = 0; k < x_row.size(); ++k) exact += double{x_row[k]} * double{w_row[k]};
        const double found = out[static_cast<size_t>(i * block.w_rows() + j)];
        if (!std::isfinite(found) || !std::isfinite(exact)) {
          ++sum.not_finite;
          continue;
        }
        ++sum.dots;
        sum.exact2 += exact * exact;
        sum.error2 += (found - exact) * (found - exact);
        sum.cross += found * exact;
        sum.found2 += found * found;
      }
    }
    total.add(sum);
  }
  DotErrors errors;
  errors.dots = total.dots;
  errors.snr_db = total.snr_db();
  errors.gain = total.cross / total.exact2;
  // Residual of found / gain: sum (found/g - exact)^2 = found2/g^2 - 2 cross/g + exact2.
  const double residual = total.found2 / (errors.gain * errors.gain) - total.exact2;
  errors.gained_snr_db = 10 * std::log10(total.exact2 / std::max(residual, 0.0));
  errors.not_finite = total.not_finite / (total.dots + total.not_finite);

  const auto count = static_cast<double>(blocks.size());
  double square = 0;
  for (const Sums& left_out : sums) {
    Sums rest = total;
    rest.add(left_out, -1);
    square += std::pow(rest.snr_db() - errors.snr_db, 2);
  }
  errors.snr_db_error = count < 2 ? std::numeric_limits<double>::quiet_NaN()
                                  : std::sqrt(square * (count - 1) / count);
  return errors;
}

}  // namespace napier
