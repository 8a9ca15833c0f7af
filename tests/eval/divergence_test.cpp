#include "eval/divergence.hpp"

#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "support/test_support.hpp"

namespace napier {
namespace {

double kl(std::span<const float> reference, std::span<const float> other) {
  return kl_divergence(reference, log_sum_exp(reference), other, log_sum_exp(other));
}

std::vector<uint32_t> top(const std::vector<float>& logits) {
  const TopTokens found = top_tokens(logits);
  return {found.tokens.begin(), found.tokens.begin() + static_cast<ptrdiff_t>(found.count)};
}

TEST(Divergence, OfKnownDistributions) {
  const std::array<float, 2> half = {0.0f, 0.0f};
  const std::array<float, 2> quarter = {0.0f, std::log(3.0f)};
  EXPECT_NEAR(log_sum_exp(quarter), std::log(4.0), 1e-7);
  EXPECT_NEAR(kl(half, quarter), 0.5 * std::log(0.5 / 0.25) + 0.5 * std::log(0.5 / 0.75), 1e-7);
  EXPECT_EQ(kl(half, half), 0);
}

TEST(Divergence, IsStableForLargeLogits) {
  const std::array<float, 2> large = {1e30f, -1e30f};
  EXPECT_EQ(log_sum_exp(large), 1e30f);
  EXPECT_EQ(kl(large, large), 0);
}

TEST(Divergence, TopTokensAreInOrderAndOfEqualsTheLowerFirst) {
  EXPECT_EQ(top({1, 7, 3, 9, 2, 8, 0}), (std::vector<uint32_t>{3, 5, 1, 2, 4}));
  EXPECT_EQ(top({1, 1, 1, 1, 1, 1}), (std::vector<uint32_t>{0, 1, 2, 3, 4}));
  EXPECT_EQ(top({1, 2}), (std::vector<uint32_t>{1, 0}));
  EXPECT_EQ(top_tokens(std::array{1.f, 2.f, 3.f}).shared_with(top_tokens(std::array{3.f, 2.f})),
            2u);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(top({nan, nan, nan, nan, nan, nan}).size(), 5u);
}

// The closed form is the maximum: no corner of the box, and nothing within it, is larger.
TEST(Divergence, SharpnessIsTheLargestLossInTheBox) {
  const std::vector<float> logits = {1.5f, -2.25f, 0.0f, 3.0f, -0.5f};
  constexpr double epsilon = 0.05;
  const auto loss = [](std::span<const double> z, size_t target) {
    double sum = 0;
    for (const double logit : z) sum += std::exp(logit);
    return std::log(sum) - z[target];
  };
  const std::vector<double> z(logits.begin(), logits.end());
  for (size_t target = 0; target < z.size(); ++target) {
    double largest = 0;
    for (int corner = 0; corner < 1 << 5; ++corner) {
      for (const double part : {0.5, 1.0}) {
        std::vector<double> moved = z;
        for (size_t i = 0; i < z.size(); ++i) {
          const double reach = part * epsilon * (std::fabs(z[i]) + 1);
          moved[i] += (corner >> i) & 1 ? reach : -reach;
        }
        largest = std::max(largest, loss(moved, target));
      }
    }
    const double wanted = 100 * (largest - loss(z, target)) / (1 + loss(z, target));
    EXPECT_NEAR(sharpness(logits, target, epsilon), wanted, 1e-6 * wanted);
  }
  EXPECT_NEAR(sharpness(logits, 0, 0), 0, 1e-6);
}

}  // namespace
}  // namespace napier
