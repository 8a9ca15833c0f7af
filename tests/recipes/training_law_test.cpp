// The law's figures as its paper prints them (arXiv 2501.02423).
#include "recipes/training_law.hpp"

#include <cmath>
#include <string>
#include <vector>

#include "napier/error.hpp"
#include "support/test_support.hpp"

namespace napier {
namespace {

TEST(TrainingLaw, CriticalTokensAreThePapers) {
  const TrainingSetting setting{.parameters = 1e9, .block = 128};
  EXPECT_NEAR(critical_tokens(setting, {8, 7}) / 1e12, 1730, 1);
  EXPECT_NEAR(critical_tokens(setting, {4, 3}) / 1e12, 27.3, 0.05);
  EXPECT_NEAR(critical_tokens(setting, {2, 1}) / 1e12, 0.393, 0.0005);
}

TEST(TrainingLaw, LossTurnsAtTheCriticalTokens) {
  TrainingSetting setting{.parameters = 1e9, .block = 128};
  for (const FloatLayout layout : {FloatLayout{2, 1}, FloatLayout{4, 3}}) {
    const double critical = critical_tokens(setting, layout);
    const auto at = [&](double part) {
      setting.tokens = critical * part;
      return training_loss(setting, layout);
    };
    EXPECT_LT(at(1), at(0.8));
    EXPECT_LT(at(1), at(1.25));
  }
}

TEST(TrainingLaw, LossesAreThePapers) {
  struct Row {
    double parameters, tokens;
    FloatLayout layout;
    double loss;
  };
  for (const Row& row : std::vector<Row>{{41e6, 10e9, {8, 7}, 3.472},
                                         {41e6, 10e9, {4, 3}, 3.472},
                                         {41e6, 10e9, {2, 1}, 3.494},
                                         {41e6, 10e9, {1, 1}, 3.588},
                                         {679e6, 100e9, {8, 7}, 2.612},
                                         {679e6, 100e9, {4, 3}, 2.612},
                                         {679e6, 100e9, {2, 1}, 2.650},
                                         {679e6, 100e9, {1, 1}, 2.809}}) {
    EXPECT_NEAR(training_loss({row.parameters, row.tokens, 128}, row.layout), row.loss, 0.0006);
  }
}

TEST(TrainingLaw, BestLayoutsAreThePapers) {
  const std::vector<FloatLayout> layouts = {{1, 1}, {2, 1}, {2, 2}, {3, 2}, {3, 3}, {4, 3}, {4, 4},
                                            {5, 4}, {5, 5}, {6, 5}, {6, 6}, {7, 6}, {7, 7}, {8, 7}};
  for (size_t i = 0; i < layouts.size(); ++i) {
    const FloatLayout best = best_layout(static_cast<int>(i) + 3);
    EXPECT_EQ(best.exponent, layouts[i].exponent) << i + 3;
    EXPECT_EQ(best.mantissa, layouts[i].mantissa) << i + 3;
    EXPECT_NEAR(best_mantissa(best.bits()), best.mantissa, 0.75);
  }
  EXPECT_THROW(best_layout(2), Error);
}

}  // namespace
}  // namespace napier
