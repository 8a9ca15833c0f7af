#include "eval/divergence.hpp"

#include <algorithm>
#include <cmath>

namespace napier {

double log_sum_exp(std::span<const float> logits) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - largest);
  return largest + std::log(sum);
}

double kl_divergence(std::span<const float> reference, double reference_norm,
                     std::span<const float> other, double other_norm) {
  double sum = 0;
  for (size_t i = 0; i < reference.size(); ++i) {
    const double log_p = reference[i] - reference_norm;
    const double p = std::exp(log_p);
    if (p > 0) sum += p * (log_p - (other[i] - other_norm));
  }
  return sum;
}

double sharpness(std::span<const float> logits, size_t target, double epsilon) {
  const auto reach = [&](size_t i) { return epsilon * (std::fabs(double{logits[i]}) + 1); };
  const double at = logits[target] - reach(target);
  double largest = at;
  for (size_t i = 0; i < logits.size(); ++i) {
    if (i != target) largest = std::max(largest, logits[i] + reach(i));
  }
  double sum = 0;
  for (size_t i = 0; i < logits.size(); ++i) {
    sum += std::exp((i == target ? at : logits[i] + reach(i)) - largest);
  }
  const double loss = log_sum_exp(logits) - logits[target];
  const double worst = largest + std::log(sum) - at;
  return 100 * (worst - loss) / (1 + loss);
}

size_t TopTokens::shared_with(const TopTokens& other) const {
  const auto end = other.tokens.begin() + static_cast<ptrdiff_t>(other.count);
  size_t shared = 0;
  for (size_t i = 0; i < count; ++i) {
    shared += std::find(other.tokens.begin(), end, tokens[i]) != end;
  }
  return shared;
}

TopTokens top_tokens(std::span<const float> logits) {
  TopTokens top;
  for (uint32_t token = 0; token < logits.size(); ++token) {
    const bool full = top.count == TopTokens::k_most;
    if (full && !(logits[token] > logits[top.tokens.back()])) continue;
    size_t place = full ? top.count - 1 : top.count++;
    for (; place > 0 && logits[token] > logits[top.tokens[place - 1]]; --place) {
      top.tokens[place] = top.tokens[place - 1];
    }
    top.tokens[place] = token;
  }
  return top;
}

}  // namespace napier
