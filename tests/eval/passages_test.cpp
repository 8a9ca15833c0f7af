#include "eval/passages.hpp"

#include <string>
#include <vector>

#include "napier/error.hpp"
#include "support/test_support.hpp"

namespace napier {
namespace {

constexpr const char* k_model = "data/models/stories260K.gguf";

TEST(Passages, ChunksAreCountedFromTheTokens) {
  EXPECT_EQ(count_chunks(1023, 512, 0), 1);
  EXPECT_EQ(count_chunks(1024, 512, 0), 2);
  EXPECT_THROW(count_chunks(511, 512, 0), Error);
  EXPECT_THROW(count_chunks(1535, 512, 3), Error);
}

TEST(Passages, EveryTokenOfADocumentIsScoredOnce) {
  NAPIER_NEED_SHARED(k_model);
  const Model model(test::shared_file(k_model));
  const std::vector<std::string> documents = {"Once upon a time there was a dog.", "A cat.",
                                              std::string(400, 'x')};
  constexpr int k_context = 16;
  const auto passages = document_passages(model, documents, k_context, 0);
  for (size_t unit = 0; unit < documents.size(); ++unit) {
    std::vector<Token> scored;
    size_t bytes = 0;
    for (const Passage& passage : passages) {
      EXPECT_LE(passage.tokens.size(), static_cast<size_t>(k_context));
      EXPECT_EQ(passage.tokens[0], model.bos());
      EXPECT_EQ(passage.given, 1u);
      if (passage.unit != unit) continue;
      scored.insert(scored.end(), passage.tokens.begin() + 1, passage.tokens.end());
      bytes += passage.bytes;
    }
    EXPECT_EQ(scored, model.tokenise(documents[unit], false, false));
    EXPECT_EQ(bytes, documents[unit].size());
  }
  EXPECT_EQ(document_passages(model, documents, 512, 2).size(), 2u);
  EXPECT_THROW(document_passages(model, documents, 512, 4), Error);
  EXPECT_THROW(document_passages(model, {}, 512, 0), Error);
}

TEST(Passages, ChunksHaveBosAndScoreTheirSecondHalf) {
  NAPIER_NEED_SHARED(k_model);
  const Model model(test::shared_file(k_model));
  std::string text;
  for (int i = 0; i < 40; ++i) text += "The little dog ran to the big tree. ";
  const auto passages = chunk_passages(model, text, 32, 3);
  ASSERT_EQ(passages.size(), 3u);
  const std::vector<Token> tokens = model.tokenise(text, true, false);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(passages[i].tokens[0], model.bos());
    EXPECT_EQ(passages[i].tokens[31], tokens[32 * i + 31]);
    EXPECT_EQ(passages[i].scored(), 15u);
    std::string scored;
    for (size_t j = 17; j < 32; ++j) scored += model.piece(tokens[32 * i + j]);
    EXPECT_EQ(passages[i].bytes, scored.size());
  }
}

}  // namespace
}  // namespace napier
