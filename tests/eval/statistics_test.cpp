#include "eval/statistics.hpp"

#include <array>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "support/test_support.hpp"

namespace napier {
namespace {

// Made-up chunks whose true mean is known. Tokens of one chunk share a part of their value, as they
// do in a text; `skew` draws values as KL divergences are, most small and few large.
struct Population {
  size_t units;
  double fewest_tokens;  // a unit has up to twice as many
  double within;         // weight of what a unit's tokens do not share
  bool skew;

  double mean() const { return skew ? std::exp(0.5) + 1 : 1; }

  std::vector<Unit> draw(std::mt19937_64& random) const {
    std::normal_distribution<double> normal;
    std::uniform_real_distribution<double> longer(1, 2);
    std::vector<Unit> result(units);
    for (Unit& unit : result) {
      const double shared = 0.3 * normal(random);
      unit.count = std::floor(fewest_tokens * (fewest_tokens > 1 ? longer(random) : 1));
      for (int token = 0; token < unit.count; ++token) {
        const double value = normal(random);
        unit.sum += 1 + shared + within * (skew ? std::exp(value) : value);
      }
    }
    return result;
  }
};

struct Cover {
  double interval = 0;     // part of the intervals that hold the true mean
  double two_errors = 0;   // part within 1.96 standard errors
  double error_ratio = 0;  // mean standard error over the spread of the means
};

Cover simulate(const Population& population, int times) {
  std::mt19937_64 random(test::seed());
  Cover cover;
  double errors = 0, sum = 0, squares = 0;
  for (int i = 0; i < times; ++i) {
    const Estimate found = estimate(population.draw(random));
    const double off = found.mean - population.mean();
    cover.interval += found.low <= population.mean() && population.mean() <= found.high;
    cover.two_errors += std::abs(off) <= 1.96 * found.error;
    errors += found.error;
    sum += off;
    squares += off * off;
  }
  cover.interval /= times;
  cover.two_errors /= times;
  cover.error_ratio = errors / times / std::sqrt(squares / times - sum / times * sum / times);
  return cover;
}

TEST(Statistics, IntervalsCoverNinetyFivePercent) {
  const int times = test::full_tier() ? 4000 : 1500;
  for (const Population& population : {Population{10, 32, 1, false},
                                       {20, 32, 1, false},
                                       {20, 32, 1, true},
                                       {40, 32, 1, true},
                                       {100, 16, 1, true}}) {
    const Cover cover = simulate(population, times);
    EXPECT_NEAR(cover.interval, 0.95, 0.02) << population.units << " units";
    EXPECT_NEAR(cover.error_ratio, 1, 0.06) << population.units << " units";
    RecordProperty(
        "cover_of_" + std::to_string(population.units) + (population.skew ? "_skew" : ""),
        std::to_string(cover.interval));
    std::printf(
        "%3zu units%s: %.1f %% of the intervals hold the mean, %.1f %% within 1.96 errors\n",
        population.units, population.skew ? ", skew" : "", 100 * cover.interval,
        100 * cover.two_errors);
  }
}

// What the simulation must be able to find: taken as units, tokens that are not independent give
// intervals that are far too narrow.
TEST(Statistics, TokensAsUnitsCoverTooLittle) {
  std::mt19937_64 random(test::seed());
  int held = 0;
  constexpr int k_times = 300;
  for (int i = 0; i < k_times; ++i) {
    std::vector<Unit> tokens;
    std::normal_distribution<double> normal;
    for (int unit = 0; unit < 20; ++unit) {
      const double shared = normal(random);
      for (int token = 0; token < 16; ++token) tokens.push_back({shared + normal(random), 1});
    }
    const Estimate found = estimate(tokens);
    held += found.low <= 0 && 0 <= found.high;
  }
  EXPECT_LT(held, 0.7 * k_times);
}

TEST(Statistics, ErrorOfARatio) {
  // Means 1, 2, 3 of equal counts: the ordinary standard error of a mean.
  const std::array<Unit, 3> equal = {Unit{4, 4}, {8, 4}, {12, 4}};
  const Estimate found = estimate(equal);
  EXPECT_EQ(found.mean, 2);
  EXPECT_NEAR(found.error, 1 / std::sqrt(3.0), 1e-12);
  EXPECT_TRUE(std::isnan(found.low));
  // Residuals of sums 1, 5 and counts 1, 3 about the ratio 1.5: -0.5, 0.5.
  const std::array<Unit, 2> unequal = {Unit{1, 1}, {5, 3}};
  EXPECT_NEAR(estimate(unequal).error, std::sqrt(2 * 0.5) / 4, 1e-12);
}

TEST(Statistics, DegenerateDataGiveNoFalseFigures) {
  EXPECT_TRUE(std::isnan(estimate({}).mean));
  const std::array<Unit, 1> one = {Unit{3, 2}};
  EXPECT_EQ(estimate(one).mean, 1.5);
  EXPECT_TRUE(std::isnan(estimate(one).error));
  const std::vector<Unit> same(20, Unit{3, 2});
  EXPECT_EQ(estimate(same).error, 0);
  EXPECT_EQ(estimate(same).low, 1.5);
  EXPECT_EQ(estimate(same).high, 1.5);
  std::vector<Unit> broken = same;
  broken[3].sum = std::numeric_limits<double>::quiet_NaN();
  EXPECT_TRUE(std::isnan(estimate(broken).mean));
  EXPECT_TRUE(std::isnan(estimate(broken).low));
}

TEST(Statistics, IntervalsRepeatAndAreMonotone) {
  std::mt19937_64 random(test::seed());
  const std::vector<Unit> units = Population{30, 8, 1, true}.draw(random);
  const Estimate first = estimate(units);
  const Estimate second = estimate(units);
  EXPECT_EQ(first.low, second.low);
  EXPECT_LT(first.low, first.mean);
  EXPECT_GT(first.high, first.mean);
}

TEST(Statistics, McNemarsTestIsExact) {
  EXPECT_EQ(mcnemar(0, 0), 1);
  EXPECT_EQ(mcnemar(4, 4), 1);  // a tail of more than a half, twice
  EXPECT_NEAR(mcnemar(1, 9), 2 * (1 + 10) / 1024.0, 1e-12);
  EXPECT_NEAR(mcnemar(9, 1), 2 * (1 + 10) / 1024.0, 1e-12);
  EXPECT_NEAR(mcnemar(0, 5), 2 / 32.0, 1e-12);
}

TEST(Statistics, PerplexityAndItsError) {
  const std::array<double, 4> nll = {1, 2, 3, 4};
  const Perplexity figure = perplexity(nll);
  EXPECT_NEAR(figure.value, std::exp(2.5), 1e-12);
  EXPECT_NEAR(figure.error, std::exp(2.5) * std::sqrt(1.25 / 3), 1e-12);
  const std::array<double, 2> broken = {1, std::numeric_limits<double>::quiet_NaN()};
  EXPECT_TRUE(std::isnan(perplexity(broken).value));
}

TEST(Statistics, PercentilesAreLinearBetweenNeighbours) {
  EXPECT_EQ(percentiles({3, 1, 2}, std::array{0.5})[0], 2);
  EXPECT_NEAR(percentiles({0, 10}, std::array{0.99})[0], 9.9, 1e-12);
  EXPECT_TRUE(std::isnan(percentiles({}, std::array{0.5})[0]));
}

}  // namespace
}  // namespace napier
