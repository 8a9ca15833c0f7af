#include "eval/trimmed.hpp"

#include <gtest/gtest.h>

namespace napier {
namespace {

TEST(Trimmed, TakesWhiteSpaceAtTheEndsAway) {
  EXPECT_EQ(trimmed("\v\f a \n b\r\n\t"), "a \n b");
  EXPECT_EQ(trimmed(" \t\r\n\v\f"), "");
  EXPECT_EQ(trimmed(""), "");
  EXPECT_EQ(trimmed("a"), "a");
}

}  // namespace
}  // namespace napier
