// What the activations of each matrix multiplication are like, gathered while a text runs through.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ggml/observation.hpp"
#include "model/weight_matrices.hpp"

namespace napier {

// Of one multiplication with a weight matrix of k columns. Memory does not grow with the text.
struct MatrixStatistics {
  static constexpr int k_bins_an_octave = 8;
  static constexpr int k_lowest_octave = -32;  // magnitudes from 2^-32 to 2^32
  static constexpr size_t k_bins = 64 * k_bins_an_octave;
  static constexpr int64_t k_samples = 32;  // rows kept
  static constexpr double k_outlier = 6;    // LLM.int8()'s criterion of magnitude

  double rows = 0;  // tokens
  // Of each column.
  std::vector<double> absmax, least, greatest, squares;  // `squares`: their sum
  std::vector<double> outliers;                          // rows with a magnitude of k_outlier
  std::vector<double> magnitudes;                        // counts, by bins; zeros in the first
  std::vector<double> samples;                           // k_samples rows at most
  double result_least = 0, result_greatest = 0;          // of the product

  double largest() const;
  // The magnitude that so many percent do not exceed, to the next bin's edge (9 %).
  double percentile(double percent) const;
  // Columns with outliers in a share of the rows (LLM.int8() says 6 %).
  int64_t outlier_columns(double share) const;
};

using Statistics = std::map<std::string, MatrixStatistics>;

// Adds what it is shown to the statistics of the named matrices. Not thread safe.
class StatisticsCollector {
 public:
  // About `tokens` rows will be seen: samples are spread over them evenly.
  StatisticsCollector(std::span<const WeightMatrix> matrices, Statistics& statistics,
                      int64_t tokens);
  void watch(const MatmulObservation& observation);

 private:
  Statistics* statistics_;
  std::map<std::string, int64_t, std::less<>> columns_;
  int64_t stride_;
};

}  // namespace napier
