#include "analysis/offset.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>

namespace napier {
namespace {

// A pair as L-Mul sees it: its product is unit (1 + g(sum + offset)), unit = +-2^(xe + we).
struct Pair {
  double unit;
  double sum;  // of the two mantissas
  double exact;
};

std::vector<Pair> pairs_of(const Arithmetic& arithmetic, std::span<const OperandBlock> blocks) {
  std::vector<Pair> pairs;
  for (const OperandBlock& block : blocks) {
    const std::vector<double> x = quantise_rows(arithmetic.x, block.x, block.k).values;
    const std::vector<double> w = quantise_rows(arithmetic.w, block.w, block.k).values;
    for (size_t j = 0; j < w.size(); ++j) {
      const size_t i = j % x.size();
      const double exact = double{block.x[i]} * double{block.w[j]};
      if (exact == 0 || x[i] == 0 || w[j] == 0 || !std::isfinite(x[i] * w[j])) continue;
      const double x_unit = std::ldexp(1.0, std::ilogb(x[i]));
      const double w_unit = std::ldexp(1.0, std::ilogb(w[j]));
      const double unit = std::copysign(x_unit * w_unit, exact);
      pairs.push_back({unit, std::fabs(x[i]) / x_unit + std::fabs(w[j]) / w_unit - 2, exact});
    }
  }
  return pairs;
}

double product_of(const Pair& pair, double offset, bool formula) {
  const double s = pair.sum + offset;
  return pair.unit * (formula ? 1 + s : std::max({1 + s, 2 * s, 4 * (s - 1)}));
}

}  // namespace

Arithmetic LmulVariant::with(int k, int l) const {
  std::string_view rounding_name;
  for (const RoundingName& name : k_rounding_names) {
    if (name.rounding == rounding) rounding_name = name.name;
  }
  return parse_arithmetic(fmt::format("x=e8m{0}:{1}/w=e8m{0}:{1}/mul=lmul(reading={2},l={3})", k,
                                      rounding_name, formula ? "formula" : "adder", l));
}

std::vector<OffsetErrors> measure_offsets(const LmulVariant& variant, std::span<const int> ks,
                                          std::span<const int> ls,
                                          std::span<const OperandBlock> blocks, ThreadPool& pool) {
  std::vector<OffsetErrors> result;
  for (const int k : ks) {
    for (const int l : ls) {
      const Arithmetic arithmetic = variant.with(k, l);
      result.push_back(
          {k, l, measure_products(arithmetic, blocks), measure_dots(arithmetic, blocks, pool)});
    }
  }
  return result;
}

BestOffset find_best_offset(const LmulVariant& variant, int k,
                            std::span<const OperandBlock> blocks) {
  const std::vector<Pair> pairs = pairs_of(variant.with(k, 0), blocks);
  const auto bias = [&](double offset) {
    double sum = 0;
    for (const Pair& pair : pairs)
      sum += product_of(pair, offset, variant.formula) / pair.exact - 1;
    return sum;
  };
  const auto squares = [&](double offset) {
    double sum = 0;
    for (const Pair& pair : pairs) {
      const double error = product_of(pair, offset, variant.formula) - pair.exact;
      sum += error * error;
    }
    return sum;
  };
  BestOffset best;
  double low = 0;
  double high = 0.5;
  for (int step = 0; step < 30; ++step) {  // the products grow with the offset
    const double middle = (low + high) / 2;
    (bias(middle) < 0 ? low : high) = middle;
  }
  best.unbiased = (low + high) / 2;
  low = 0;
  high = 0.5;
  for (int step = 0; step < 40; ++step) {  // thirds: errors fall, then rise
    const double left = low + (high - low) / 3;
    const double right = high - (high - low) / 3;
    (squares(left) > squares(right) ? low : high) = squares(left) > squares(right) ? left : right;
  }
  best.least_squares = (low + high) / 2;
  return best;
}

}  // namespace napier
