#include "train/trainer.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "napier/error.hpp"
#include "small_model.hpp"
#include "support/test_support.hpp"

namespace napier {
namespace {

using test::small_shape;

std::vector<int32_t> some_tokens(size_t count, uint64_t salt) {
  return test::random_tokens(count, small_shape().vocabulary, salt);
}

struct Outcome {
  std::vector<double> losses;
  std::vector<std::vector<float>> gradients, weights;
};

Outcome steps(const TrainerOptions& options, int count,
              const TransformerShape& shape = small_shape()) {
  Trainer trainer(shape, options);
  trainer.initialise(7);
  Outcome outcome;
  const size_t tokens = static_cast<size_t>(shape.context) * options.sequences * options.passes;
  for (int step = 0; step < count; ++step) {
    const auto x = some_tokens(tokens, 2 * step), y = some_tokens(tokens, 2 * step + 1);
    outcome.losses.push_back(trainer.step(x, y, 1e-3, step).loss);
  }
  for (const TrainedTensor& tensor : trainer.parameters()) {
    outcome.gradients.emplace_back(tensor.gradient.begin(), tensor.gradient.end());
    outcome.weights.emplace_back(tensor.values.begin(), tensor.values.end());
  }
  return outcome;
}

double relative_difference(const std::vector<float>& a, const std::vector<float>& b) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    difference += (double{a[i]} - b[i]) * (double{a[i]} - b[i]);
    norm += double{b[i]} * b[i];
  }
  return std::sqrt(difference / norm);
}

TrainerOptions with_plans(const char* forward, const char* gradients) {
  TrainerOptions options;
  options.sequences = 3;
  options.clip = 0;
  options.forward = parse_plan(forward);
  if (gradients) {
    options.activation_gradients = options.weight_gradients = parse_plan(gradients);
  }
  return options;
}

TEST(Trainer, BitsDoNotDependOnThreads) {
  for (const char* plan : {"f32", "bf16", "lmul-m4", "fp8_e4m3/acc=bf16"}) {
    TrainerOptions options = with_plans(plan, plan);
    options.dropout = 0.1f;
    options.threads = 1;
    const Outcome one = steps(options, 3);
    options.threads = 3;
    const Outcome three = steps(options, 3);
    EXPECT_EQ(one.losses, three.losses) << plan;
    EXPECT_EQ(one.weights, three.weights) << plan;
  }
}

// How far each tensor's gradient by the own derivative is from that by the exact product's; the
// losses are the same.
std::vector<double> own_from_exact(const char* forward) {
  TrainerOptions options = with_plans(forward, nullptr);
  const Outcome exact = steps(options, 1);
  options.rule = GradientRule::own;
  const Outcome own = steps(options, 1);
  EXPECT_EQ(exact.losses, own.losses);
  std::vector<double> differences;
  for (size_t i = 0; i < exact.gradients.size(); ++i) {
    differences.push_back(relative_difference(own.gradients[i], exact.gradients[i]));
  }
  return differences;
}

// Where the product is exact, its own derivative is the exact one; PyTorch checks that.
TEST(Trainer, OwnDerivativeOfExactProductsIsTheExactOne) {
  for (const double difference : own_from_exact("f32")) EXPECT_LT(difference, 1e-5);
}

// tests/kernels/derivative_test.cpp has its values.
TEST(Trainer, OwnDerivativeIsAnotherGradient) {
  for (const double difference : own_from_exact("mul=lmul(k=23)")) {
    EXPECT_GT(difference, 1e-3);
    EXPECT_LT(difference, 2);
  }
}

TEST(Trainer, PassesAddUpToOneStep) {
  TrainerOptions options = with_plans("f32", nullptr);
  options.sequences = 4;
  const Outcome together = steps(options, 1);
  options.sequences = 1;
  options.passes = 4;
  const Outcome apart = steps(options, 1);
  for (size_t i = 0; i < together.gradients.size(); ++i) {
    EXPECT_LT(relative_difference(apart.gradients[i], together.gradients[i]), 1e-5) << i;
  }
}

TEST(Trainer, LossScaleIsTakenOutAgain) {
  TrainerOptions options = with_plans("f32", nullptr);
  const Outcome plain = steps(options, 2);
  options.loss_scaling.scale = 1024;
  const Outcome scaled = steps(options, 2);
  EXPECT_EQ(plain.weights, scaled.weights);  // a power of two
}

TEST(Trainer, DynamicLossScaleSkipsWhatOverflows) {
  TrainerOptions options = with_plans("f32", "x=f16:inf/w=f16:inf");
  options.loss_scaling = {.dynamic = true, .scale = 0x1p30f};
  Trainer trainer(small_shape(), options);
  trainer.initialise(7);
  const auto x = some_tokens(16 * 3, 0), y = some_tokens(16 * 3, 1);
  const std::vector<float> before(trainer.parameters()[0].values.begin(),
                                  trainer.parameters()[0].values.end());
  EXPECT_TRUE(trainer.step(x, y, 1e-3, 0).skipped);
  EXPECT_TRUE(std::ranges::equal(before, trainer.parameters()[0].values));
  EXPECT_EQ(trainer.state().loss_scale, 0x1p29f);
  int tries = 0;
  while (trainer.step(x, y, 1e-3, 0).skipped && ++tries < 40) {
  }
  EXPECT_LT(tries, 40);
  EXPECT_FALSE(std::ranges::equal(before, trainer.parameters()[0].values));
}

TEST(Trainer, ALossThatIsNoNumberNamesStepAndTensor) {
  Trainer trainer(small_shape(), with_plans("f32", nullptr));
  trainer.initialise(7);
  const auto x = some_tokens(16 * 3, 0), y = some_tokens(16 * 3, 1);
  trainer.step(x, y, 1e-3, 0);
  for (TrainedTensor& tensor : trainer.parameters()) {
    if (tensor.shape.name == "blk.1.ffn_up.weight") tensor.values[5] = std::nanf("");
  }
  try {
    trainer.step(x, y, 1e-3, 1);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.blame(), Blame::environment);
    EXPECT_NE(std::string(error.what()).find("step 2"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("blk.1.ffn_up"), std::string::npos) << error.what();
  }
  EXPECT_EQ(trainer.state().step, 1);
}

TEST(Trainer, RulesThatDecideNothingAreErrors) {
  EXPECT_THROW(Trainer(small_shape(), with_plans("blk.7.* -> bf16", nullptr)), Error);
  EXPECT_THROW(Trainer(small_shape(), with_plans("f32", "kqq-* -> bf16")), Error);
  EXPECT_NO_THROW(
      Trainer(small_shape(), with_plans("kq-* -> lmul-m4; *.weight -> bf16", "kqv-0 -> bf16")));
}

// A copy of dropout's test for the other thing that is random in a step.
TEST(Trainer, StochasticRoundingDrawsAnewInEachStep) {
  TrainerOptions options = with_plans("fp8_e4m3-sr", nullptr);
  Trainer trainer(small_shape(), options);
  trainer.initialise(7);
  const auto x = some_tokens(16 * 3, 0), y = some_tokens(16 * 3, 1);
  const double first = trainer.step(x, y, 0, 1).loss;
  EXPECT_NE(first, trainer.step(x, y, 0, 2).loss);
  EXPECT_EQ(first, trainer.step(x, y, 0, 1).loss);
  EXPECT_EQ(trainer.loss(x, y).sum, trainer.loss(x, y).sum);
  // On the way back too: the gradients of equal losses differ.
  options = with_plans("f32", "fp8_e4m3-sr");
  const auto gradient = [&](uint64_t seed) {
    Trainer one(small_shape(), options);
    one.initialise(7);
    one.step(x, y, 0, seed);
    const auto values = one.parameters()[0].gradient;
    return std::vector<float>(values.begin(), values.end());
  };
  EXPECT_EQ(gradient(1), gradient(1));
  EXPECT_NE(gradient(1), gradient(2));
}

TEST(Trainer, ALossAloneHasNoGradients) {
  Trainer trainer(small_shape(), with_plans("bf16", "bf16"));
  trainer.initialise(7);
  const auto x = some_tokens(16 * 3, 0), y = some_tokens(16 * 3, 1);
  trainer.loss(x, y);
  const auto ran = [&] {
    size_t backward = 0, all = 0;
    for (const CoverageEntry& entry : trainer.run().coverage().entries) {
      backward += entry.name.starts_with("dx-") || entry.name.starts_with("dw-");
      ++all;
    }
    return std::pair(all, backward);
  };
  EXPECT_GT(ran().first, 0u);
  EXPECT_EQ(ran().second, 0u);
  const double loss = trainer.loss(x, y).sum;
  EXPECT_EQ(trainer.step(x, y, 0, 0).loss, loss / (16 * 3));
  EXPECT_GT(ran().second, 0u);
}

TEST(Trainer, DropoutIsOfTrainingAlone) {
  TrainerOptions options = with_plans("f32", nullptr);
  options.dropout = 0.3f;
  Trainer trainer(small_shape(), options);
  trainer.initialise(7);
  Trainer plain(small_shape(), with_plans("f32", nullptr));
  plain.initialise(7);
  const auto x = some_tokens(16 * 3, 0), y = some_tokens(16 * 3, 1);
  EXPECT_EQ(trainer.loss(x, y).sum, plain.loss(x, y).sum);
  EXPECT_NE(trainer.step(x, y, 0, 0).loss, plain.step(x, y, 0, 0).loss);
  EXPECT_NE(trainer.step(x, y, 0, 1).loss, trainer.step(x, y, 0, 2).loss);
  EXPECT_EQ(trainer.step(x, y, 0, 1).loss, trainer.step(x, y, 0, 1).loss);
}

}  // namespace
}  // namespace napier
