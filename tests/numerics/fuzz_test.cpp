// Mutated written forms: nothing but a ParseError within the text, and what is taken prints back to
// itself. The same inputs every time; tests/fuzz searches further where clang++ has libFuzzer.
#include <random>
#include <string>
#include <vector>

#include "napier/error.hpp"
#include "random_written.hpp"
#include "support/test_support.hpp"

namespace napier {
namespace {

class Mutator {
 public:
  explicit Mutator(uint64_t seed) : random_(seed), written_(seed) {}

  // A random plan, list or format, with up to four edits.
  std::string next() {
    std::string text;
    switch (random_() % 4) {
      case 0: text = to_string(written_.plan()); break;
      case 1: text = to_string(written_.arithmetic()) + ", " + short_form(); break;
      case 2: text = short_form(); break;
      default: text = format_name(written_.format(64)); break;
    }
    for (uint64_t edits = random_() % 5; edits > 0; --edits) edit(text);
    return text;
  }

 private:
  std::string short_form() { return display_name(written_.arithmetic()); }

  void edit(std::string& text) {
    static const std::vector<std::string> words = {
        "(",     ")",     ",",    ":",      "@",    "/",       "->",    ";",
        "=",     " ",     "-",    "x=",     "acc=", "sr(",     "chunk", "row",
        "block", "e4m3",  "fnuz", "b-9",    "*",    "[",       "k=",    "l=",
        "u",     "nosub", "none", "tensor", "\n",   "lmul-m4", "\x80",  "9999999999999"};
    const size_t at = random_() % (text.size() + 1);
    const size_t other = random_() % (text.size() + 1);
    switch (random_() % 6) {
      case 0: text.insert(at, words[random_() % words.size()]); break;
      case 1: text.erase(at, random_() % 4); break;
      case 2: text.resize(at); break;
      case 3: text.insert(at, text.substr(other, random_() % 24)); break;
      case 4:
        if (at < text.size()) text[at] = static_cast<char>(random_());
        break;
      default:
        if (at < text.size() && other < text.size()) std::swap(text[at], text[other]);
        break;
    }
  }

  std::mt19937_64 random_;
  test::RandomWritten written_;
};

// Whether `parse` takes the text; any other exception or a position outside it fails the test.
template <class Work>
bool is_taken(const std::string& text, Work work) {
  try {
    work(std::string_view(text));
    return true;
  } catch (const ParseError& error) {
    EXPECT_LE(error.offset(), text.size()) << text;
    std::string quoted = text;
    for (char& c : quoted) c = c >= 0 && c < ' ' ? '?' : c;
    const std::string place = "', position " + std::to_string(error.offset() + 1) + ": ";
    const std::string sentence = error.what();
    if (text.size() <= 200) {
      EXPECT_TRUE(sentence.starts_with("'" + quoted + place)) << sentence;
    } else {  // only what surrounds the position is quoted
      EXPECT_NE(sentence.find(place), std::string::npos) << sentence;
      EXPECT_LE(sentence.size(), 3000u);
    }
  } catch (const std::exception& error) {
    ADD_FAILURE() << "'" << text << "': " << error.what();
  }
  return false;
}

TEST(Fuzz, MutatedTextsParseOrSayWhere) {
  Mutator mutator(test::seed());
  const int count = test::full_tier() ? 5'000'000 : 60'000;
  int taken = 0;
  for (int i = 0; i < count && !testing::Test::HasFailure(); ++i) {
    const std::string text = mutator.next();
    taken += is_taken(text, [&](std::string_view t) {
      const Format format = parse_format(t);
      ASSERT_EQ(parse_format(format_name(format)), format) << text;
    });
    taken += is_taken(text, [&](std::string_view t) {
      const Arithmetic arithmetic = parse_arithmetic(t);
      ASSERT_EQ(parse_arithmetic(to_string(arithmetic)), arithmetic) << text;
      ASSERT_EQ(parse_arithmetic(display_name(arithmetic)), arithmetic) << text;
    });
    taken += is_taken(text, [&](std::string_view t) {
      const Plan plan = parse_plan(t);
      ASSERT_EQ(parse_plan(to_string(plan)), plan) << text;
    });
    taken += is_taken(text, [&](std::string_view t) {
      const std::vector<Arithmetic> list = parse_arithmetic_list(t);
      ASSERT_EQ(split_list(t).size(), list.size()) << text;
    });
    glob_matches(text, "blk.0.attn_q.weight");
  }
  EXPECT_GT(taken, count / 4) << "the texts are mostly rubbish";
}

// Long and repetitive texts take time in proportion, patterns of many stars too.
TEST(Fuzz, LongTextsEnd) {
  const std::string name(2000, 'a');
  std::string stars;
  for (int i = 0; i < 500; ++i) stars += "*a";
  EXPECT_FALSE(glob_matches(stars + "b", name));
  EXPECT_TRUE(glob_matches(stars, name));
  EXPECT_FALSE(glob_matches(std::string(5000, '['), name));
  for (const char* piece : {"(", "x=", "f32/", "-", "@row", "e4m3:", "f32;", "->", ",", " "}) {
    std::string text;
    while (text.size() < 20'000) text += piece;
    EXPECT_FALSE(is_taken(text, [](std::string_view t) { parse_plan(t); })) << piece;
    EXPECT_FALSE(is_taken(text, [](std::string_view t) { parse_arithmetic_list(t); })) << piece;
    EXPECT_FALSE(is_taken(text, [](std::string_view t) { parse_format(t); })) << piece;
  }
}

}  // namespace
}  // namespace napier
