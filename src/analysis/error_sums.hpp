// Sums that ProductErrors are made of.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>

#include "analysis/product_error.hpp"

namespace napier {

// Sums over pairs; those of one block or row are added to the whole's, which keeps them accurate.
struct ErrorSums {
  double pairs = 0, relative = 0, absolute = 0, square = 0, step = 0;
  double error2 = 0, exact2 = 0, cross = 0;
  double zeros = 0, wrong_zeros = 0, flushed = 0, not_finite = 0, max_abs = 0;

  void add(double exact, double product, double times = 1) {
    if (exact == 0) {
      zeros += times;
      if (product != 0) wrong_zeros += times;
      return;
    }
    if (!std::isfinite(product) || !std::isfinite(exact)) {
      not_finite += times;
      return;
    }
    const double error = product - exact;
    const double r = error / exact;
    pairs += times;
    if (product == 0) flushed += times;
    relative += times * r;
    absolute += times * std::fabs(r);
    square += times * r * r;
    max_abs = std::max(max_abs, std::fabs(r));
    error2 += times * error * error;
    exact2 += times * exact * exact;
    cross += times * product * exact;
  }

  void add(const ErrorSums& other) {
    pairs += other.pairs;
    relative += other.relative;
    absolute += other.absolute;
    square += other.square;
    step += other.step;
    error2 += other.error2;
    exact2 += other.exact2;
    cross += other.cross;
    zeros += other.zeros;
    wrong_zeros += other.wrong_zeros;
    flushed += other.flushed;
    not_finite += other.not_finite;
    max_abs = std::max(max_abs, other.max_abs);
  }

  ProductErrors result() const {
    ProductErrors errors;
    errors.pairs = pairs;
    errors.bias = relative / pairs;
    errors.mean_abs = absolute / pairs;
    errors.rms = std::sqrt(square / pairs);
    errors.variance = square / pairs - errors.bias * errors.bias;
    errors.max_abs = max_abs;
    errors.mean_step = step / pairs;
    errors.nmse = error2 / exact2;
    errors.gain = cross / exact2;
    const double all = pairs + not_finite;
    errors.zeros = zeros / (all + zeros);
    errors.wrong_zeros = zeros > 0 ? wrong_zeros / zeros : 0;
    errors.flushed = flushed / pairs;
    errors.not_finite = not_finite / all;
    return errors;
  }
};

// (product - exact) / 2^(xe + we).
inline double step_of(double x, double w, double product) {
  return std::ldexp(product - x * w, -std::ilogb(x) - std::ilogb(w)) *
         (std::signbit(x) != std::signbit(w) ? -1 : 1);
}

// The standard error of a ratio of sums, sum / pairs, over independent blocks.
inline double clustered_error(std::span<const ErrorSums> blocks, double ErrorSums::*sum) {
  const auto count = static_cast<double>(blocks.size());
  if (count < 2) return std::numeric_limits<double>::quiet_NaN();
  double total = 0;
  double pairs = 0;
  for (const ErrorSums& block : blocks) {
    total += block.*sum;
    pairs += block.pairs;
  }
  double square = 0;
  for (const ErrorSums& block : blocks) {
    const double residual = block.*sum - total / pairs * block.pairs;
    square += residual * residual;
  }
  return std::sqrt(square * count / (count - 1)) / pairs;
}

// Of independent blocks, with standard errors.
inline ProductErrors sampled_result(std::span<const ErrorSums> blocks) {
  ErrorSums total;
  for (const ErrorSums& block : blocks) total.add(block);
  ProductErrors result = total.result();
  result.bias_error = clustered_error(blocks, &ErrorSums::relative);
  result.mean_abs_error = clustered_error(blocks, &ErrorSums::absolute);
  result.mean_step_error = clustered_error(blocks, &ErrorSums::step);
  return result;
}

}  // namespace napier
