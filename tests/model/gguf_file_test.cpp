#include "model/gguf_file.hpp"

#include <cstdio>
#include <fstream>
#include <string>

#include "napier/error.hpp"
#include "support/test_support.hpp"

namespace napier {
namespace {

TEST(GgufFile, NamesFromFilesAreMadePrintable) {
  EXPECT_EQ(printable("blk.0.attn_q.weight"), "blk.0.attn_q.weight");
  EXPECT_EQ(printable("a\nb\x7F"), "a?b?");
  EXPECT_EQ(printable("\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80"),
            "\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80");
  EXPECT_EQ(printable("lla\xEDm"), "lla?m");
  EXPECT_EQ(printable("\xC3"), "?");
  EXPECT_EQ(printable("\xFF\x80"), "??");
}

TEST(GgufFile, HeadersAreCheckedBeforeAnythingElse) {
  const std::string path = testing::TempDir() + "napier_gguf_file_test.gguf";
  const auto error_of = [&](const std::string& content) -> std::string {
    std::ofstream(path, std::ios::binary) << content;
    try {
      check_gguf_header(path);
    } catch (const Error& error) {
      EXPECT_EQ(error.blame(), Blame::input);
      return error.what();
    }
    return "";
  };
  const auto contains = [](const std::string& text, const char* part) {
    return text.find(part) != std::string::npos;
  };
  const std::string zeros(16, '\0');
  EXPECT_TRUE(contains(error_of(""), "truncated"));
  EXPECT_TRUE(contains(error_of("GGUF"), "truncated"));
  EXPECT_TRUE(contains(error_of("GGML" + zeros), "no GGUF file"));
  EXPECT_TRUE(contains(error_of("GGUF" + std::string("\x01\0\0\0", 4) + zeros), "version 1"));
  EXPECT_TRUE(contains(error_of("GGUF" + std::string("\x03\0\0\0", 4) + std::string(16, '\xFF')),
                       "more than its"));
  EXPECT_EQ(error_of("GGUF" + std::string("\x03\0\0\0", 4) + zeros), "");
  std::remove(path.c_str());
}

TEST(GgufFile, SoundWeightsPass) {
  NAPIER_NEED_SHARED("data/models/stories260K.gguf");
  EXPECT_NO_THROW(check_weights_are_finite(test::shared_file("data/models/stories260K.gguf")));
}

}  // namespace
}  // namespace napier
