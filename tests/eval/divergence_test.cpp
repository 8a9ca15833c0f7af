#include "eval/divergence.hpp"

#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "eval/evaluation.hpp"
#include "napier/error.hpp"
#include "support/test_support.hpp"

namespace napier {
namespace {

TEST(Divergence, OfKnownDistributions) {
  const std::array<float, 2> half = {0.0f, 0.0f};
  const std::array<float, 2> quarter = {0.0f, std::log(3.0f)};
  EXPECT_NEAR(negative_log_likelihood(quarter, 0), std::log(4.0), 1e-7);
  EXPECT_NEAR(kl_divergence(half, quarter), 0.5 * std::log(0.5 / 0.25) + 0.5 * std::log(0.5 / 0.75),
              1e-7);
  EXPECT_EQ(kl_divergence(half, half), 0);
  EXPECT_EQ(argmax(half), 0u);
  EXPECT_EQ(argmax(quarter), 1u);
}

TEST(Divergence, IsStableForLargeLogits) {
  const std::array<float, 2> large = {1e30f, -1e30f};
  EXPECT_EQ(negative_log_likelihood(large, 0), 0);
  EXPECT_EQ(kl_divergence(large, large), 0);
}

TEST(Divergence, PerplexityAndItsError) {
  const std::array<double, 4> nll = {1, 2, 3, 4};
  const Perplexity figure = perplexity(nll);
  EXPECT_NEAR(figure.value, std::exp(2.5), 1e-12);
  EXPECT_NEAR(figure.error, std::exp(2.5) * std::sqrt(1.25 / 3), 1e-12);
  const std::array<double, 2> broken = {1, std::numeric_limits<double>::quiet_NaN()};
  EXPECT_TRUE(std::isnan(perplexity(broken).value));
}

TEST(Divergence, PercentilesAreLinearBetweenNeighbours) {
  EXPECT_EQ(percentile({3, 1, 2}, 0.5), 2);
  EXPECT_NEAR(percentile({0, 10}, 0.99), 9.9, 1e-12);
  EXPECT_TRUE(std::isnan(percentile({}, 0.5)));
}

TEST(Evaluation, ChunksAreCountedFromTheTokens) {
  EvaluationOptions options;
  options.context = 512;
  EXPECT_EQ(count_chunks(1023, options), 1);
  EXPECT_EQ(count_chunks(1024, options), 2);
  EXPECT_THROW(count_chunks(511, options), Error);
  options.chunks = 3;
  EXPECT_THROW(count_chunks(1535, options), Error);
  options.chunks = -1;
  EXPECT_THROW(count_chunks(1535, options), Error);
  options.chunks = 0;
  options.context = 3;
  EXPECT_THROW(count_chunks(1535, options), Error);
}

}  // namespace
}  // namespace napier
