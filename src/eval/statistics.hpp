// Means over chunks or documents, and how sure they are.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace napier {

// What one chunk or document adds to a mean: the sum over its tokens, and how many they are.
struct Unit {
  double sum = 0;
  double count = 0;
};

// A mean a token, with its standard error and a 95 % confidence interval. Tokens of one unit are
// not independent of each other; units are taken to be.
struct Estimate {
  double mean = 0;
  double error = 0;  // NaN for fewer than two units
  double low = 0;    // NaN for fewer than k_fewest_units
  double high = 0;
};

// With fewer units than this the bootstrap covers too little to be called a 95 % interval.
inline constexpr size_t k_fewest_units = 10;

// The ratio of the sums to the counts. The error is that of a ratio estimator (Cochran, Sampling
// Techniques, 1977, Eq. 6.13); the interval the expanded percentile interval of a bootstrap over
// units (Hesterberg, "What Teachers Should Know About the Bootstrap", 2015, section 5.3). Random
// numbers start at the same place in every call: equal data give equal intervals. NaN where a sum
// is NaN, and for no units.
Estimate estimate(std::span<const Unit> units);

// McNemar's exact test of paired answers: the probability that, of the questions that one of two
// answers right and the other wrong, so unequal a part or a more unequal one goes to one of them by
// chance. 1 where there are none.
double mcnemar(size_t only_first_right, size_t only_second_right);

// exp(mean) of negative log-likelihoods and the error of that, as llama-perplexity has them: the
// standard error of the mean times the perplexity, every token taken as independent. Too few values
// or none: an error of 0 or NaN.
struct Perplexity {
  double value = 0;
  double error = 0;
};
Perplexity perplexity(std::span<const double> nll);

// The values below which the fractions of the values lie, linear between neighbours; NaN for none.
std::vector<double> percentiles(std::vector<double> values, std::span<const double> fractions);

}  // namespace napier
