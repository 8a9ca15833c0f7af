#include "eval/divergence.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace napier {

double log_sum_exp(std::span<const float> logits) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - largest);
  return largest + std::log(sum);
}

double negative_log_likelihood(std::span<const float> logits, size_t target) {
  return log_sum_exp(logits) - logits[target];
}

double kl_divergence(std::span<const float> reference, std::span<const float> other) {
  const double reference_norm = log_sum_exp(reference);
  const double other_norm = log_sum_exp(other);
  double sum = 0;
  for (size_t i = 0; i < reference.size(); ++i) {
    const double log_p = reference[i] - reference_norm;
    const double p = std::exp(log_p);
    if (p > 0) sum += p * (log_p - (other[i] - other_norm));
  }
  return sum;
}

size_t argmax(std::span<const float> logits) {
  return static_cast<size_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
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

double percentile(std::vector<double> values, double fraction) {
  const bool any_nan =
      std::any_of(values.begin(), values.end(), [](double v) { return std::isnan(v); });
  if (values.empty() || any_nan) return std::numeric_limits<double>::quiet_NaN();
  std::sort(values.begin(), values.end());
  const double place = fraction * static_cast<double>(values.size() - 1);
  const auto lower = static_cast<size_t>(place);
  const size_t upper = std::min(lower + 1, values.size() - 1);
  const double weight = place - static_cast<double>(lower);
  return (1 - weight) * values[lower] + weight * values[upper];
}

}  // namespace napier
