#include "analysis/product_error.hpp"

#include <algorithm>
#include <cmath>

#include "analysis/error_sums.hpp"
#include "kernels/kernel.hpp"
#include "kernels/quantise.hpp"
#include "napier/error.hpp"

namespace napier {

double ProductErrors::snr_db() const { return -10 * std::log10(nmse); }

bool can_enumerate(const Arithmetic& arithmetic) {
  const auto plain = [](const Operand& operand) {
    return operand.scaling.empty() && operand.cast.rounding != Rounding::stochastic;
  };
  const auto product = arithmetic.multiplier.product();
  return plain(arithmetic.x) && plain(arithmetic.w) &&
         (!product || product->rounding != Rounding::stochastic);
}

ProductErrors enumerate_products(const Arithmetic& arithmetic, int source_bits) {
  if (source_bits < 1 || source_bits > 14) {
    throw Error(std::to_string(source_bits) +
                " bits of mantissa cannot be enumerated: give 1 to 14");
  }
  const auto count = size_t{1} << source_bits;
  const Multiplier multiplier = arithmetic.resolved_multiplier();
  const auto source = [&](size_t i) { return Dyadic::make(false, count + i, -source_bits); };
  // Quantised weights, one of each value, and which of them each mantissa becomes.
  std::vector<Dyadic> kept;
  std::vector<size_t> becomes(count);
  for (size_t j = 0; j < count; ++j) {
    const Dyadic w = arithmetic.w.quantise(source(j));
    if (kept.empty() || kept.back() != w) kept.push_back(w);
    becomes[j] = kept.size() - 1;
  }
  std::vector<double> products(kept.size());
  std::optional<Dyadic> last;
  ErrorSums total;
  for (size_t i = 0; i < count; ++i) {
    const Dyadic x = arithmetic.x.quantise(source(i));
    if (!last || *last != x) {
      for (size_t j = 0; j < kept.size(); ++j) {
        products[j] = to_double(multiplier.multiply(x, kept[j]));
      }
      last = x;
    }
    const double exact_x = to_double(source(i));
    ErrorSums row;
    for (size_t j = 0; j < count; ++j) {
      const double exact = exact_x * (1 + static_cast<double>(j) / static_cast<double>(count));
      const double product = products[becomes[j]];
      row.add(exact, product);
      row.step += std::isfinite(product) ? product - exact : 0;
    }
    total.add(row);
  }
  return total.result();
}

QuantisedRows quantise_rows(const Operand& operand, std::span<const float> rows, int64_t k) {
  const Quantiser quantiser(operand);
  const Scaler scaler(operand, k);
  const int64_t count = static_cast<int64_t>(rows.size()) / k;
  ThreadPool pool(1);
  const auto read = [&](int64_t row, float* to) { std::copy_n(rows.data() + row * k, k, to); };
  const CommonGroups common = scaler.common_groups(count, read, pool);
  QuantisedRows result;
  result.values.resize(rows.size());
  result.scales.assign(rows.size(), 1.0f);
  std::vector<Group> groups(static_cast<size_t>(scaler.groups()));
  const int64_t size = scaler.group() == 0 ? k : scaler.group();
  for (int64_t row = 0; row < count; ++row) {
    if (scaler.is_scaled()) scaler.choose(rows.data() + row * k, common, groups.data());
    for (int64_t at = 0; at < k; at += size) {
      const Group& group = groups[static_cast<size_t>(at / size)];
      const int64_t first = row * k + at;
      quantiser(rows.data() + first, size, group, at, result.values.data() + first);
      std::fill_n(result.scales.begin() + first, size, group.scale);
    }
  }
  return result;
}

ProductErrors measure_products(const Arithmetic& arithmetic, std::span<const OperandBlock> blocks) {
  const Multiplier multiplier = arithmetic.resolved_multiplier();
  std::vector<ErrorSums> sums(blocks.size());
  for (size_t b = 0; b < blocks.size(); ++b) {
    const OperandBlock& block = blocks[b];
    check_shape(arithmetic, block.k);
    const QuantisedRows x = quantise_rows(arithmetic.x, block.x, block.k);
    const QuantisedRows w = quantise_rows(arithmetic.w, block.w, block.k);
    ErrorSums& sum = sums[b];
    for (int64_t j = 0; j < block.w_rows(); ++j) {
      const int64_t i = j % block.x_rows();
      for (int64_t k = 0; k < block.k; ++k) {
        const auto at_x = static_cast<size_t>(i * block.k + k);
        const auto at_w = static_cast<size_t>(j * block.k + k);
        const double exact = double{block.x[at_x]} * double{block.w[at_w]};
        const Dyadic product =
            multiplier.multiply(Dyadic::from_double(x.values[at_x]),
                                Dyadic::from_double(w.values[at_w]), static_cast<uint64_t>(k));
        const double value = to_double(product) * double{x.scales[at_x]} * double{w.scales[at_w]};
        sum.add(exact, value);
        if (exact != 0 && std::isfinite(exact) && std::isfinite(value)) {
          sum.step += step_of(block.x[at_x], block.w[at_w], value);
        }
      }
    }
  }
  return sampled_result(sums);
}

}  // namespace napier
