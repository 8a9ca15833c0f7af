#include "recipes/statistics.hpp"

#include <ggml.h>

#include <algorithm>
#include <cmath>

#include "ggml/tensors.hpp"

namespace napier {
namespace {

size_t bin_of(double magnitude) {
  if (!(magnitude > 0)) return 0;
  const double at = (std::log2(magnitude) - MatrixStatistics::k_lowest_octave) *
                    MatrixStatistics::k_bins_an_octave;
  return static_cast<size_t>(
      std::clamp(std::floor(at), 0.0, static_cast<double>(MatrixStatistics::k_bins - 1)));
}

double upper_edge(size_t bin) {
  return std::exp2(static_cast<double>(bin + 1) / MatrixStatistics::k_bins_an_octave +
                   MatrixStatistics::k_lowest_octave);
}

}  // namespace

double MatrixStatistics::largest() const {
  return absmax.empty() ? 0 : *std::max_element(absmax.begin(), absmax.end());
}

double MatrixStatistics::percentile(double percent) const {
  double total = 0;
  for (const double count : magnitudes) total += count;
  double below = 0;
  for (size_t bin = 0; bin < magnitudes.size(); ++bin) {
    below += magnitudes[bin];
    if (below >= percent / 100 * total) return std::min(upper_edge(bin), largest());
  }
  return largest();
}

int64_t MatrixStatistics::outlier_columns(double share) const {
  return std::count_if(outliers.begin(), outliers.end(),
                       [&](double count) { return count > 0 && count >= share * rows; });
}

StatisticsCollector::StatisticsCollector(std::span<const WeightMatrix> matrices,
                                         Statistics& statistics, int64_t tokens)
    : statistics_(&statistics),
      stride_(std::max<int64_t>(1, tokens / MatrixStatistics::k_samples)) {
  for (const WeightMatrix& matrix : matrices) columns_[matrix.name] = matrix.k;
}

void StatisticsCollector::watch(const MatmulObservation& observation) {
  const auto found = columns_.find(observation.name());
  if (found == columns_.end()) return;
  const auto k = static_cast<size_t>(found->second);
  MatrixStatistics& s = (*statistics_)[found->first];
  if (s.absmax.empty()) {
    for (auto* column : {&s.absmax, &s.least, &s.greatest, &s.squares, &s.outliers}) {
      column->assign(k, 0);
    }
    s.magnitudes.assign(MatrixStatistics::k_bins, 0);
  }
  observation.activations([&](std::span<const float> row) {
    const auto number = static_cast<int64_t>(s.rows);
    if (number % stride_ == 0 && s.samples.size() < MatrixStatistics::k_samples * k) {
      s.samples.insert(s.samples.end(), row.begin(), row.end());
    }
    s.rows += 1;
    for (size_t i = 0; i < k; ++i) {
      const double value = double{row[i]};
      const double magnitude = std::fabs(value);
      s.absmax[i] = std::max(s.absmax[i], magnitude);
      s.least[i] = std::min(s.least[i], value);
      s.greatest[i] = std::max(s.greatest[i], value);
      s.squares[i] += value * value;
      s.outliers[i] += magnitude >= MatrixStatistics::k_outlier;
      s.magnitudes[bin_of(magnitude)] += 1;
    }
  });
  const ggml_tensor& node = observation.node();
  std::vector<float> row(static_cast<size_t>(node.ne[0]));
  for (int64_t i3 = 0; i3 < node.ne[3]; ++i3) {
    for (int64_t i2 = 0; i2 < node.ne[2]; ++i2) {
      for (int64_t i1 = 0; i1 < node.ne[1]; ++i1) {
        read_row(&node, i1, i2, i3, row.data());
        const auto [least, greatest] = std::minmax_element(row.begin(), row.end());
        s.result_least = std::min(s.result_least, double{*least});
        s.result_greatest = std::max(s.result_greatest, double{*greatest});
      }
    }
  }
}

}  // namespace napier
