#include "eval/answers.hpp"

#include <random>
#include <regex>
#include <string>

#include "support/test_support.hpp"

namespace napier {
namespace {

// The harness's patterns, run by the standard library's regular expressions.
std::string first_match(const std::string& text, const char* pattern) {
  std::smatch match;
  return std::regex_search(text, match, std::regex(pattern)) ? match[1].str()
                                                             : std::string(k_no_answer);
}

std::string last_match(const std::string& text, const char* pattern) {
  const std::regex regex(pattern);
  std::string last(k_no_answer);
  for (auto it = std::sregex_iterator(text.begin(), text.end(), regex);
       it != std::sregex_iterator(); ++it) {
    last = it->str();
  }
  return last;
}

std::string random_text(std::mt19937_64& random) {
  static const std::vector<std::string> words = {"The answer is ",
                                                 "the answer is ",
                                                 "-",
                                                 "$",
                                                 "1",
                                                 "2",
                                                 "30",
                                                 ".",
                                                 ",",
                                                 "#### ",
                                                 " ",
                                                 "\n",
                                                 "(A)",
                                                 "no",
                                                 "x"};
  std::string text;
  for (uint64_t i = random() % 12; i > 0; --i) text += words[random() % words.size()];
  return text;
}

TEST(Answers, AreWhatTheHarnesssPatternsFind) {
  std::mt19937_64 random(test::seed());
  for (int i = 0; i < 20000; ++i) {
    const std::string text = random_text(random);
    EXPECT_EQ(strict_number(text), first_match(text, "The answer is (-?[0-9.,]+)[^\n]")) << text;
    EXPECT_EQ(last_number(text), last_match(text, "(-?[$0-9.,]{2,})|(-?[0-9]+)")) << text;
    const std::string sentence = first_match(text, "the answer is ([^\n]*)(?=[^\n])");
    const size_t begin = sentence.find_first_not_of(" ");
    const size_t end = sentence.find_last_not_of(" ");
    EXPECT_EQ(answer_sentence(text),
              begin == sentence.npos ? "" : sentence.substr(begin, end - begin + 1))
        << text;
    std::string normal = std::regex_replace(text, std::regex("[,$]"), "");
    normal = std::regex_replace(normal, std::regex("[^]*#### "), "");
    normal = std::regex_replace(normal, std::regex("\\.$"), "");
    if (normal.find_first_of("TA\n") != normal.npos) continue;  // lower case; $ before a newline
    EXPECT_EQ(normalised_number(text), normal) << text;
  }
}

TEST(Answers, AreComparedAsTextOrAsNumbers) {
  EXPECT_TRUE(
      extract(Extraction::number, " So 9 + 9. The answer is 1,018.", "a\n#### 1018").strict_right);
  EXPECT_FALSE(extract(Extraction::number, "The answer is 8.", "8.0").strict_right);
  EXPECT_TRUE(extract(Extraction::value, "The answer is 8.", "8.0").strict_right);
  EXPECT_FALSE(extract(Extraction::value, "no idea", "8.0").flexible_right);
  const Extracted found = extract(Extraction::value, "First 3, then 8.0", "8");
  EXPECT_TRUE(found.flexible_right);
  EXPECT_FALSE(found.strict_right);
  EXPECT_TRUE(extract(Extraction::sentence, "So the answer is (B).\n", "(B)").strict_right);
}

TEST(Answers, EndAtTheFirstStop) {
  EXPECT_EQ(until_stop("a\nQ: b</s>", {"</s>", "Q:"}), "a\n");
  EXPECT_EQ(until_stop("abc", {"x"}), "abc");
  EXPECT_EQ(until_stop("abc", {}), "abc");
}

}  // namespace
}  // namespace napier
