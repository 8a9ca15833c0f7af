// Files that training writes, as llama.cpp reads them.
#include "train/model_file.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include "model/context.hpp"
#include "model/model.hpp"
#include "napier/error.hpp"
#include "small_model.hpp"
#include "support/test_support.hpp"
#include "train/vocabulary.hpp"

namespace napier {
namespace {

using test::random_tokens;
using test::small_shape;

namespace fs = std::filesystem;

class Folder {
 public:
  Folder() : path_(fs::path(::testing::TempDir()) / ("napier-train-" + std::to_string(getpid()))) {
    fs::create_directories(path_);
  }
  ~Folder() { fs::remove_all(path_); }
  std::string file(const std::string& name) const { return (path_ / name).string(); }

 private:
  fs::path path_;
};

// The loss of each position under llama.cpp's graph and cache, and under the one that is trained.
void expect_equal_losses(const TransformerShape& shape, const std::string& what,
                         double tolerance = 2e-4) {
  const Folder folder;
  const Vocabulary vocabulary = Vocabulary::of_bytes();
  TrainerOptions options;
  Trainer trainer(shape, options);
  trainer.initialise(test::seed());
  // Weights as large as trained ones: the first ones' logits are nearly equal.
  for (TrainedTensor& tensor : trainer.parameters()) {
    for (float& value : tensor.values) value *= tensor.shape.rows == 0 ? 1.25f : 10.0f;
  }
  const std::vector<int32_t> tokens =
      random_tokens(static_cast<size_t>(shape.context), shape.vocabulary);
  std::vector<double> ours;
  for (int i = 0; i + 1 < shape.context; ++i) {
    std::vector<int32_t> targets(tokens.size(), -1);  // all but one are masked
    targets[i] = tokens[i + 1];
    ours.push_back(trainer.loss(tokens, targets).sum);
  }
  GgufPointer description = describe_model(shape, "test");
  vocabulary.write(description.get());
  write_model(folder.file("m.gguf"), description.get(), trainer);

  const Model model(folder.file("m.gguf"));
  ASSERT_EQ(model.vocabulary_size(), shape.vocabulary);
  EXPECT_EQ(model.training_context(), shape.context);
  Context context(model, parse_plan("f32"), {.context = 32, .max_outputs = shape.context});
  context.warm_up();
  context.decode(tokens, shape.context);
  for (int i = 0; i + 1 < shape.context; ++i) {
    const auto row = context.logits(i);
    double sum = 0;
    for (const float logit : row) sum += std::exp(double{logit} - row[0]);
    const double loss = std::log(sum) + row[0] - row[tokens[i + 1]];
    EXPECT_NEAR(ours[i], loss, tolerance * (1 + loss)) << what << ", position " << i;
  }
}

TEST(ModelFile, LlamaCppComputesTheSameLosses) {
  const int vocabulary = Vocabulary::of_bytes().size();
  const TransformerShape plain = small_shape(vocabulary);
  expect_equal_losses(plain, "grouped queries, tied");
  TransformerShape shape = plain;
  shape.key_heads = 4;
  shape.tied = false;
  shape.rope_base = 500;
  expect_equal_losses(shape, "untied");
  shape = plain;
  shape.positions = Positions::none;
  expect_equal_losses(shape, "no positions");
  shape = plain;
  shape.feed_forward = FeedForward::squared_relu;
  expect_equal_losses(shape, "squared ReLU");
  // llama.cpp takes GELU from a table of f16, training does not.
  shape = plain;
  shape.feed_forward = FeedForward::gelu;
  shape.positions = Positions::learned;
  expect_equal_losses(shape, "learned positions", 2e-3);
  shape.positions = Positions::none;
  shape.tied = false;
  expect_equal_losses(shape, "GELU without positions", 2e-3);
}

TEST(ModelFile, WeightsComeBackWithTheirShape) {
  const Folder folder;
  const TransformerShape shape = small_shape(Vocabulary::of_bytes().size());
  Trainer trainer(shape, {});
  trainer.initialise(test::seed());
  const GgufPointer description = describe_model(shape, "test");
  Vocabulary::of_bytes().write(description.get());
  write_model(folder.file("m.gguf"), description.get(), trainer);
  const ModelStart start = read_model_start(folder.file("m.gguf"));
  EXPECT_EQ(start.shape.hidden, shape.hidden);
  EXPECT_EQ(start.shape.key_heads, shape.key_heads);
  Trainer again(start.shape, {});
  read_model_weights(folder.file("m.gguf"), again);
  for (size_t i = 0; i < trainer.parameters().size(); ++i) {
    EXPECT_TRUE(std::ranges::equal(trainer.parameters()[i].values, again.parameters()[i].values));
  }
  TransformerShape other = shape;
  other.hidden = 48;
  Trainer wrong(other, {});
  EXPECT_THROW(read_model_weights(folder.file("m.gguf"), wrong), Error);
}

TEST(Vocabulary, LlamaCppCutsTextsAlike) {
  const Folder folder;
  std::mt19937_64 random(test::seed());
  const std::vector<std::string> pieces = {
      "a",    "B", "7",    " ",      "  ",       "\n",           "\t",
      "+",    "$", "<s>",  "<0x41>", "\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x98\x80",
      "</s>", "=", "\r\n", "."};
  std::string text;
  for (int i = 0; i < 2000; ++i) text += pieces[random() % pieces.size()];
  const auto expect_alike = [&](const Vocabulary& vocabulary, const std::string& what) {
    const TransformerShape shape = small_shape(vocabulary.size());
    Trainer trainer(shape, {});
    const GgufPointer description = describe_model(shape, "test");
    vocabulary.write(description.get());
    write_model(folder.file("m.gguf"), description.get(), trainer);
    const Model model(folder.file("m.gguf"));
    const std::vector<int32_t> ours = vocabulary.tokenise(text, "text");
    EXPECT_TRUE(ours == model.tokenise(text, true, false)) << what;
  };
  expect_alike(Vocabulary::of_characters(text, "text"), "characters");
  expect_alike(Vocabulary::of_bytes(), "bytes");
  text += "\xFF\xC3 \xE2\x82";  // no UTF-8

  expect_alike(Vocabulary::of_bytes(), "bytes that are no UTF-8");
}

TEST(Vocabulary, WhatHasNoTokenIsRefused) {
  const Vocabulary digits = Vocabulary::of_characters("0123456789+=\n", "text");
  EXPECT_EQ(digits.tokenise("1+1=", "text").size(), 4u);
  EXPECT_THROW(digits.tokenise("1-1=", "text"), Error);
  EXPECT_THROW(Vocabulary::of_characters("\xFF", "text"), Error);
  EXPECT_THROW(Vocabulary::of_characters("a\xE2\x96\x81", "text"), Error);
}

}  // namespace
}  // namespace napier
