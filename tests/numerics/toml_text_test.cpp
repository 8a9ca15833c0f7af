// Which TOML texts are refused before toml++ reads them.
#include "numerics/toml_text.hpp"

#include <gtest/gtest.h>

#include <string>

#include "napier/error.hpp"

namespace napier {
namespace {

std::string refusal(const std::string& text) {
  try {
    refuse_beyond_ascii(text, "plan.toml");
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(TomlText, StringsAndCommentsMayHaveAnyCharacter) {
  for (const char* text :
       {"", "a = 1",
        "\xEF\xBB\xBF"
        "a = 1",
        "a = 1 # caf\xC3\xA9\nb = 2", "a = \"caf\xC3\xA9\"", "a = 'caf\xC3\xA9'",
        "'caf\xC3\xA9' = 1", "a = \"\\\"\xC3\xA9\"", "a = 'b\\'\n", "a = \"\"\"\n\xC3\xA9\n\"\"\"",
        "a = '''\n'' \xC3\xA9\n'''", "a = \"\"\"\xC3\xA9\"\"\"\"\"", "a = \"\" # \xC3\xA9",
        "a = \"# \\\\\" # \xC3\xA9"}) {
    EXPECT_EQ(refusal(text), "") << text;
  }
}

TEST(TomlText, OutsideThemNone) {
  for (const char* text :
       {"caf\xC3\xA9 = 1", "a = \xC3\xA9", "a = 'b\\' \xC3\xA9", "a = \"\\\\\" \xC3\xA9",
        "a = \"\" \xC3\xA9", "a = '''''' \xC3\xA9", "a = \"\"\"b\"\"\"\"\" \xC3\xA9",
        "# \xC3\xA9\n\xC3\xA9", "a\xEF\xBB\xBF = 1", "a = \"open\n\xC3\xA9"}) {
    EXPECT_NE(refusal(text), "") << text;
  }
  EXPECT_EQ(refusal("a = 1\nb = 2\ncaf\xC3\xA9 = 3"),
            "plan.toml, line 3: has a character beyond ASCII outside quotes, which TOML does not "
            "allow");
}

}  // namespace
}  // namespace napier
