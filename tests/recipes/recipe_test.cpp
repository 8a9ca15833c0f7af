#include "recipes/recipe.hpp"

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <string>

#include "napier/error.hpp"
#include "support/test_support.hpp"

namespace napier {
namespace {

class RecipeTest : public testing::Test {
 protected:
  std::string write(const std::string& text) {
    path_ = testing::TempDir() + "napier_recipe_test.toml";
    std::ofstream(path_) << text;
    return path_;
  }
  void TearDown() override { std::remove(path_.c_str()); }

  std::string error_of(const std::string& text) {
    try {
      read_recipe(write(text));
    } catch (const Error& error) {
      EXPECT_EQ(error.blame(), Blame::input);
      return error.what();
    }
    return "";
  }

 private:
  std::string path_;
};

TEST_F(RecipeTest, RulesMayBeListedOrInOneString) {
  const Recipe listed =
      read_recipe(write("name = 'a'\nsource = 's'\nplan = ['kq-* -> bf16', '* -> f32']\n"));
  const Recipe joined =
      read_recipe(write("name = 'a'\nsource = 's'\nplan = 'kq-* -> bf16; * -> f32'\n"));
  EXPECT_EQ(listed.plan, parse_plan("kq-* -> bf16; * -> f32"));
  EXPECT_EQ(listed.plan, joined.plan);
  EXPECT_EQ(listed.name, "a");
}

TEST_F(RecipeTest, ErrorsNameTheKeyOrTheLine) {
  const auto contains = [](const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
  };
  EXPECT_TRUE(contains(error_of("name = 'a'\nplan = 'f32'\n"), "'source'"));
  EXPECT_TRUE(contains(error_of("name = 'a'\nsource = 's'\n"), "'plan'"));
  EXPECT_TRUE(contains(error_of("name = 1\nsource = 's'\nplan = 'f32'\n"), "'name'"));
  EXPECT_TRUE(contains(error_of("name = 'a'\nsource = 's'\nplan = ['f32', 1]\n"), "'plan'"));
  EXPECT_TRUE(contains(error_of("name = 'a'\nsource = 's'\nplan = 'nope'\n"), "'plan'"));
  EXPECT_TRUE(contains(error_of("name = 'a'\nsauce = 's'\nplan = 'f32'\n"), "'sauce'"));
  EXPECT_TRUE(contains(error_of("name = 'a'\nsource = \n"), "line 2"));
  EXPECT_THROW(read_recipe("/nowhere/recipe.toml"), Error);
  EXPECT_THROW(read_recipe("/"), Error);
}

TEST_F(RecipeTest, AnArgumentIsAFileOrAPlan) {
  EXPECT_EQ(plan_argument(write("name = 'a'\nsource = 's'\nplan = 'bf16'\n")).name, "a");
  EXPECT_EQ(plan_argument("kq-* -> bf16").plan, parse_plan("kq-* -> bf16"));
  EXPECT_THROW(plan_argument("missing.toml"), Error);
}

// To FP8 and Back Again: bits & ~((1 << (7 - 3)) - 1) of every bfloat16.
TEST(Fp8AndBack, MasksTheMantissa) {
  const Operand operand = parse_arithmetic("e8m3-rtz").x;
  for (uint32_t pattern = 0; pattern < 1u << 16; ++pattern) {
    const auto value = std::bit_cast<float>(pattern << 16);
    if (!std::isfinite(value)) continue;
    const auto masked = std::bit_cast<float>((pattern & 0xFFF0u) << 16);
    ASSERT_EQ(to_double(operand.quantise(Dyadic::from_float(value), 0, Group{})), double{masked})
        << pattern;
  }
}

}  // namespace
}  // namespace napier
