#include <filesystem>
#include <fstream>
#include <string>

#include "eval/sweep.hpp"
#include "napier/error.hpp"
#include "support/test_support.hpp"

namespace napier {
namespace {

TEST(FileHash, IsReadOnceUntilTheFileChanges) {
  const std::string path = testing::TempDir() + "napier_file_hash_test";
  const auto write = [&](const std::string& text) { std::ofstream(path) << text; };
  write("abc");
  const std::string known = file_hash(path);
  // FIPS 180-2, appendix B.1.
  EXPECT_EQ(known, "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");

  const auto time = std::filesystem::last_write_time(path);
  write("abd");
  std::filesystem::last_write_time(path, time);
  EXPECT_EQ(file_hash(path), known);  // the same to all that is asked: its bytes are not read again
  std::filesystem::last_write_time(path, time + std::chrono::nanoseconds(1000));
  EXPECT_NE(file_hash(path), known);
  write("abcd");
  EXPECT_NE(file_hash(path), known);

  std::filesystem::remove(path);
  EXPECT_THROW(file_hash(path), Error);
}

}  // namespace
}  // namespace napier
