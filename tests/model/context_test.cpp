#include "model/context.hpp"

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "model/generate.hpp"
#include "model/probe.hpp"
#include "napier/error.hpp"
#include "support/test_support.hpp"

namespace napier {
namespace {

constexpr const char* k_model = "data/models/stories260K.gguf";

std::vector<Token> some_tokens(const Model& model) {
  std::string text;
  for (int i = 0; i < 30; ++i) text += "Once upon a time, there was a little girl named Lily. ";
  std::vector<Token> tokens = model.tokenise(text, true, false);
  tokens.resize(std::min<size_t>(tokens.size(), 300));
  return tokens;
}

// Logits of every position under a plan; the empty plan is llama.cpp's own computation.
std::vector<std::vector<float>> logits_under(const Model& model, const Plan& plan, int threads) {
  const std::vector<Token> tokens = some_tokens(model);
  ContextOptions options;
  options.threads = threads;
  Context context(model, plan, options);
  context.warm_up();
  context.decode(tokens, static_cast<int>(tokens.size()));
  std::vector<std::vector<float>> rows;
  for (size_t i = 0; i < tokens.size(); ++i) {
    const auto row = context.logits(static_cast<int>(i));
    rows.emplace_back(row.begin(), row.end());
  }
  EXPECT_EQ(context.coverage().share(), plan.rules.empty() ? 0 : 1);
  return rows;
}

TEST(Context, F32EqualsTheEngine) {
  NAPIER_NEED_SHARED(k_model);
  const Model model(test::shared_file(k_model));
  const auto engine = logits_under(model, Plan{}, 1);
  const auto ours = logits_under(model, parse_plan("f32"), 1);
  ASSERT_EQ(engine.size(), ours.size());
  double worst = 0;
  for (size_t i = 0; i < engine.size(); ++i) {
    float largest = 0;
    float difference = 0;
    for (size_t j = 0; j < engine[i].size(); ++j) {
      largest = std::max(largest, std::abs(engine[i][j]));
      difference = std::max(difference, std::abs(engine[i][j] - ours[i][j]));
    }
    worst = std::max<double>(worst, difference / largest);
    ASSERT_LE(difference, 1e-5f * largest) << "position " << i;
  }
  RecordProperty("worst_relative_difference", std::to_string(worst));
}

TEST(Context, BitsDoNotDependOnThreadsOrRepetition) {
  NAPIER_NEED_SHARED(k_model);
  const Model model(test::shared_file(k_model));
  for (const char* plan : {"f32", "lmul-m4", "kq-* -> lmul-m4; kqv-* -> bf16/acc=bf16; * -> f32"}) {
    const auto once = logits_under(model, parse_plan(plan), 1);
    EXPECT_EQ(once, logits_under(model, parse_plan(plan), 2)) << plan;
    EXPECT_EQ(once, logits_under(model, parse_plan(plan), 1)) << plan;
  }
}

TEST(Context, ContextsOfOneModelMayTakeTurns) {
  NAPIER_NEED_SHARED(k_model);
  const Model model(test::shared_file(k_model));
  const auto alone = logits_under(model, parse_plan("lmul-m4"), 1);
  const std::vector<Token> tokens = some_tokens(model);
  Context other(model, parse_plan("bf16"), {});
  Context context(model, parse_plan("lmul-m4"), {});
  other.warm_up();
  context.warm_up();
  for (int turn = 0; turn < 2; ++turn) {
    other.clear();
    other.decode(tokens, 1);
    context.clear();
    context.decode(tokens, static_cast<int>(tokens.size()));
    const auto last = context.logits(static_cast<int>(tokens.size()) - 1);
    EXPECT_TRUE(std::equal(last.begin(), last.end(), alone.back().begin()));
  }
  EXPECT_EQ(other.coverage().share(), 1);
  EXPECT_EQ(context.coverage().share(), 1);
}

// What shares a llama_context gives the bits of what has one of its own, and counts for itself.
TEST(Context, SiblingsTakeTurns) {
  NAPIER_NEED_SHARED(k_model);
  const Model model(test::shared_file(k_model));
  const auto alone = logits_under(model, parse_plan("lmul-m4"), 1);
  const std::vector<Token> tokens = some_tokens(model);
  Context first(model, parse_plan("bf16"), {.threads = 1});
  EXPECT_FALSE(first.sibling(parse_plan("lmul-m4")).has_value());  // nothing is known yet
  first.warm_up();
  EXPECT_FALSE(first.sibling(parse_plan("kq-* -> lmul-m4")).has_value());
  std::optional<Context> second = first.sibling(parse_plan("lmul-m4"));
  ASSERT_TRUE(second.has_value());
  EXPECT_EQ(second->handle(), first.handle());
  second->warm_up();
  for (int turn = 0; turn < 3; ++turn) {
    first.clear();
    first.decode(tokens, 1);
    second->clear();
    second->decode(tokens, static_cast<int>(tokens.size()));
    const auto last = second->logits(static_cast<int>(tokens.size()) - 1);
    EXPECT_TRUE(std::equal(last.begin(), last.end(), alone.back().begin()));
  }
  EXPECT_THROW(first.decode(tokens, 1), Error);  // its tokens are no longer there
  EXPECT_EQ(first.coverage().roles.front().arithmetic, "bf16");
  EXPECT_EQ(second->coverage().roles.front().arithmetic, "lmul-m4");
  EXPECT_EQ(second->coverage().roles.front().multiplications,
            first.coverage().roles.front().multiplications);
}

TEST(Context, WrongRequestsAreErrors) {
  NAPIER_NEED_SHARED(k_model);
  const Model model(test::shared_file(k_model));
  EXPECT_THROW(Context(model, Plan{}, {.context = 1}), Error);
  EXPECT_THROW(Context(model, Plan{}, {.threads = 0}), Error);
  EXPECT_THROW(Context(model, Plan{}, {.threads = 100000}), Error);
  Context context(model, parse_plan("nothing* -> bf16"), {});
  EXPECT_THROW(context.warm_up(), Error);
}

TEST(Probe, ASoundModelPasses) {
  NAPIER_NEED_SHARED(k_model);
  EXPECT_NO_THROW(probe_model(test::shared_file(k_model), {}, "Once upon a time"));
}

TEST(Generate, HoldsBackIncompleteCharacters) {
  EXPECT_EQ(incomplete_tail(""), 0u);
  EXPECT_EQ(incomplete_tail("abc"), 0u);
  EXPECT_EQ(incomplete_tail("\xC3"), 1u);
  EXPECT_EQ(incomplete_tail("\xC3\xA4"), 0u);
  EXPECT_EQ(incomplete_tail("a\xE2\x82"), 2u);
  EXPECT_EQ(incomplete_tail("\xF0\x9F\x98"), 3u);
  EXPECT_EQ(incomplete_tail("\x80\x80\x80"), 0u);  // no character begins here: let it pass
}

}  // namespace
}  // namespace napier
