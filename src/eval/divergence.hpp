// How far logits are from a text's tokens and from a reference's logits.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace napier {

// log(sum of exp(logits)), in double, stable for any finite logits.
double log_sum_exp(std::span<const float> logits);

// -log p(target): natural logarithm, softmax in double.
double negative_log_likelihood(std::span<const float> logits, size_t target);

// KL(reference || other) of two rows of logits, in nats, not below 0 but for rounding.
double kl_divergence(std::span<const float> reference, std::span<const float> other);

// The first of the largest.
size_t argmax(std::span<const float> logits);

// exp(mean) of negative log-likelihoods and the error of that, as llama-perplexity has them: the
// standard error of the mean times the perplexity. Too few values or none: an error of 0 or NaN.
struct Perplexity {
  double value = 0;
  double error = 0;
};
Perplexity perplexity(std::span<const double> nll);

// The value below which `fraction` of the values lie, linear between neighbours; NaN for none.
double percentile(std::vector<double> values, double fraction);

}  // namespace napier
