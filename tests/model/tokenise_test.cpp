// Long texts are tokenised in parts; llama.cpp tokenises them whole. Both give the same tokens.
#include <llama.h>

#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "model/model.hpp"
#include "support/test_support.hpp"

namespace napier {
namespace {

constexpr const char* k_models[] = {"data/models/stories260K.gguf", "data/models/stories3M.gguf"};

std::vector<Token> whole(const Model& model, const std::string& text, bool add_special) {
  std::vector<Token> tokens(text.size() + 16);
  const int32_t count =
      llama_tokenize(model.vocabulary(), text.data(), static_cast<int32_t>(text.size()),
                     tokens.data(), static_cast<int32_t>(tokens.size()), add_special, false);
  EXPECT_GT(count, 0);
  tokens.resize(static_cast<size_t>(count));
  return tokens;
}

TEST(Tokenise, TextsInPartsAsWhole) {
  constexpr const char* k_texts[] = {"data/text/tinystories.txt", "data/text/tinyshakespeare.txt",
                                     "data/text/wikitext2_test_raw.txt"};
  for (const char* path : k_models) {
    NAPIER_NEED_SHARED(path);
    const Model model(test::shared_file(path));
    for (const char* name : k_texts) {
      NAPIER_NEED_SHARED(name);
      std::ifstream file(test::shared_file(name), std::ios::binary);
      std::string text{std::istreambuf_iterator<char>(file), {}};
      if (!test::full_tier()) text.resize(200000);
      for (const bool add_special : {true, false}) {
        EXPECT_EQ(model.tokenise(text, add_special, false), whole(model, text, add_special))
            << path << " " << name;
      }
    }
  }
}

// Newlines at every kind of place: first, last, doubled, beside spaces, carriage returns, spelt-out
// control tokens, broken UTF-8.
TEST(Tokenise, RandomTextsInPartsAsWhole) {
  const std::vector<std::string> pieces = {
      "\n",   "\n\n",         " ",        "  ",   "\r\n", "once",   "upon ", "a", "<s>",
      "</s>", "\xE2\x96\x81", "\xC3\xA9", "\xFF", "\t",   "<0x0A>", "."};
  std::mt19937_64 random(test::seed());
  for (const char* path : k_models) {
    NAPIER_NEED_SHARED(path);
    const Model model(test::shared_file(path));
    for (int i = 0; i < 5; ++i) {
      std::string text;
      while (text.size() < 60000) text += pieces[random() % pieces.size()];
      ASSERT_EQ(model.tokenise(text, true, false), whole(model, text, true)) << path << " " << i;
    }
  }
}

}  // namespace
}  // namespace napier
