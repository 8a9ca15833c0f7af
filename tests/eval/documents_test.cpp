#include "eval/documents.hpp"

#include <string>
#include <vector>

#include "napier/error.hpp"
#include "support/test_support.hpp"

namespace napier {
namespace {

TEST(Documents, AreSplitAtSeparators) {
  using Texts = std::vector<std::string>;
  EXPECT_EQ(split_documents(" a b\n\n\nc \n\n\n\n\n\n", "\n\n\n"), (Texts{"a b", "c"}));
  EXPECT_EQ(split_documents("a<|end|>b<|end|>", "<|end|>"), (Texts{"a", "b"}));
  EXPECT_EQ(split_documents("", "x"), Texts{});
  EXPECT_THROW(split_documents("a", ""), Error);
}

TEST(Documents, JsonLinesSayWhichLineIsBroken) {
  using Texts = std::vector<std::string>;
  EXPECT_EQ(
      read_jsonl_documents("{\"t\":\"a\\nb\"}\n\n{\"t\":\"\"}\n{\"t\":\"c\",\"n\":1}", "t", "f"),
      (Texts{"a\nb", "c"}));
  const auto message = [](const char* text) -> std::string {
    try {
      read_jsonl_documents(text, "t", "f.jsonl");
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  for (const char* broken : {"{\"t\":\"a\"}\n{\"t\":", "{\"t\":\"a\"}\n[1]",
                             "{\"t\":\"a\"}\n{\"t\":1}", "{\"t\":\"a\"}\n{\"u\":\"a\"}"}) {
    EXPECT_EQ(message(broken).substr(0, 16), "f.jsonl: line 2:") << broken;
  }
}

}  // namespace
}  // namespace napier
