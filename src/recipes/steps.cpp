#include <algorithm>
#include <array>

#include "napier/error.hpp"
#include "napier/gemm.hpp"
#include "recipes/step.hpp"

namespace napier {
namespace {

constexpr std::array k_steps = {&k_static_step, &k_equalise_step, &k_lowrank_step, &k_choose_step,
                                &k_bias_step};

constexpr int64_t k_trial_channels = 64;

RowReader rows_of(const std::vector<float>& data, int64_t k) {
  return [&data, k](int64_t row, float* to) { std::copy_n(data.data() + row * k, k, to); };
}

}  // namespace

std::span<const Step* const> steps() { return k_steps; }

const Step& step_called(std::string_view name) {
  std::string known;
  for (const Step* step : k_steps) {
    if (step->name == name) return *step;
    known += (known.empty() ? "" : ", ") + std::string(step->name);
  }
  throw Error("'" + std::string(name) + "' is no step; there are " + known);
}

bool StepContext::concerns(const WeightMatrix& matrix) const {
  return glob_matches(spec.text("matrices", "*"), matrix.name);
}

const MatrixStatistics& StepContext::of(const WeightMatrix& matrix) const {
  const auto found = statistics.find(matrix.name);
  if (found == statistics.end() || found->second.rows == 0) {
    throw Error(matrix.name + ": the calibration text did not reach it");
  }
  return found->second;
}

void StepContext::each(const std::function<void(MatrixRule& matrix)>& visit) {
  for (size_t i = first; i < matrices.size(); ++i) {
    progress(static_cast<double>(i) / static_cast<double>(matrices.size()));
    if (!concerns(matrices[i].matrix)) continue;
    try {
      visit(matrices[i]);
    } catch (const Error& error) {
      throw Error(matrices[i].matrix.name + ": " + error.what(), error.blame());
    }
    finished(i);
  }
}

std::vector<float> rounded_weights(const Operand& operand, int64_t n, int64_t k,
                                   const std::vector<float>& weights) {
  for (const ScaleLevel& level : operand.scaling) {
    if (level.granularity != Granularity::block || k % level.block == 0) continue;
    throw Error("blocks of " + std::to_string(level.block) + " do not divide rows of " +
                std::to_string(k) + " elements");
  }
  const std::vector<Group> groups = choose_groups(operand, n, k, weights.data());
  std::vector<float> rounded(weights.size());
  for (size_t i = 0; i < weights.size(); ++i) {
    const Dyadic scaled = Dyadic::from_double(double{weights[i]} / double{groups[i].scale});
    const auto position = static_cast<uint64_t>(i) % static_cast<uint64_t>(k);
    rounded[i] = static_cast<float>(to_double(operand.quantise(scaled, position, groups[i])) *
                                    double{groups[i].scale});
  }
  return rounded;
}

Trial::Trial(const WeightMatrix& matrix, const MatrixStatistics& statistics,
             const WeightReader& weights)
    : m(static_cast<int64_t>(statistics.samples.size()) / matrix.k),
      n(std::min(matrix.rows, k_trial_channels)),
      k(matrix.k),
      x(statistics.samples.begin(), statistics.samples.end()) {
  std::vector<int64_t> channels;  // spread over all
  for (int64_t j = 0; j < n; ++j) channels.push_back(j * matrix.rows / n);
  w = weights.rows(matrix.name, channels);
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      double sum = 0;
      for (int64_t c = 0; c < k; ++c) {
        sum +=
            double{x[static_cast<size_t>(i * k + c)]} * double{w[static_cast<size_t>(j * k + c)]};
      }
      exact.push_back(sum);
    }
  }
}

double Trial::error(const Rule& rule, ThreadPool& pool) const {
  const auto packed = pack_weights(rule.arithmetic, rule.treatments, n, k, rows_of(w, k), pool);
  std::vector<float> out(exact.size());
  packed->multiply(m, rows_of(x, k), out.data(), n, pool);
  double error = 0;
  double square = 0;
  for (size_t i = 0; i < exact.size(); ++i) {
    const double difference = double{out[i]} - exact[i];
    error += difference * difference;
    square += exact[i] * exact[i];
  }
  return square > 0 ? error / square : error;
}

}  // namespace napier
