#include "eval/statistics.hpp"

#include <algorithm>
#include <array>
#include <boost/math/distributions/binomial.hpp>
#include <boost/math/distributions/normal.hpp>
#include <boost/math/distributions/students_t.hpp>
#include <cmath>
#include <limits>
#include <random>

namespace napier {
namespace {

constexpr double k_nan = std::numeric_limits<double>::quiet_NaN();
constexpr int k_resamples = 4000;
constexpr uint64_t k_seed = 1614;

double ratio(const Unit& total) { return total.sum / total.count; }

Unit total_of(std::span<const Unit> units) {
  Unit total;
  for (const Unit& unit : units) {
    total.sum += unit.sum;
    total.count += unit.count;
  }
  return total;
}

// The fraction at each end that makes the percentile interval as wide, for normal data, as
// Student's: a bootstrap over n units is too narrow by sqrt((n - 1) / n), and knows no t.
double expanded_tail(size_t units) {
  const auto n = static_cast<double>(units);
  const double t = boost::math::quantile(boost::math::students_t(n - 1), 0.975);
  return boost::math::cdf(boost::math::normal(), -std::sqrt(n / (n - 1)) * t);
}

}  // namespace

Estimate estimate(std::span<const Unit> units) {
  Estimate result{k_nan, k_nan, k_nan, k_nan};
  const Unit total = total_of(units);
  if (!(total.count > 0)) return result;
  result.mean = ratio(total);
  if (units.size() < 2 || !std::isfinite(result.mean)) return result;

  const auto n = static_cast<double>(units.size());
  double squares = 0;
  for (const Unit& unit : units) {
    const double rest = unit.sum - result.mean * unit.count;
    squares += rest * rest;
  }
  result.error = std::sqrt(n / (n - 1) * squares) / total.count;
  if (units.size() < k_fewest_units) return result;

  std::mt19937_64 random(k_seed);
  std::vector<double> means(k_resamples);
  for (double& mean : means) {
    Unit sample;
    for (size_t i = 0; i < units.size(); ++i) {
      const Unit& unit = units[((random() >> 32) * units.size()) >> 32];
      sample.sum += unit.sum;
      sample.count += unit.count;
    }
    mean = ratio(sample);
  }
  const double tail = expanded_tail(units.size());
  const std::vector<double> ends = percentiles(std::move(means), std::array{tail, 1 - tail});
  result.low = ends[0];
  result.high = ends[1];
  return result;
}

double mcnemar(size_t only_first_right, size_t only_second_right) {
  const auto all = static_cast<double>(only_first_right + only_second_right);
  const auto fewer = static_cast<double>(std::min(only_first_right, only_second_right));
  if (all == 0) return 1;
  return std::min(1.0, 2 * boost::math::cdf(boost::math::binomial(all, 0.5), fewer));
}

Perplexity perplexity(std::span<const double> nll) {
  const auto count = static_cast<double>(nll.size());
  double sum = 0;
  double squares = 0;
  for (const double value : nll) {
    sum += value;
    squares += value * value;
  }
  const double mean = sum / count;
  const double variance = squares / count - mean * mean;
  Perplexity result{std::exp(mean), 0};
  if (variance > 0 && count > 1) result.error = result.value * std::sqrt(variance / (count - 1));
  if (std::isnan(mean)) result.error = mean;
  return result;
}

std::vector<double> percentiles(std::vector<double> values, std::span<const double> fractions) {
  std::vector<double> result(fractions.size(), k_nan);
  const bool any_nan =
      std::any_of(values.begin(), values.end(), [](double v) { return std::isnan(v); });
  if (values.empty() || any_nan) return result;
  std::sort(values.begin(), values.end());
  for (size_t i = 0; i < fractions.size(); ++i) {
    const double place = fractions[i] * static_cast<double>(values.size() - 1);
    const auto lower = static_cast<size_t>(place);
    const size_t upper = std::min(lower + 1, values.size() - 1);
    const double weight = place - static_cast<double>(lower);
    result[i] = weight == 0 ? values[lower] : (1 - weight) * values[lower] + weight * values[upper];
  }
  return result;
}

}  // namespace napier
