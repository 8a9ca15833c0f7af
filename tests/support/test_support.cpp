#include "support/test_support.hpp"

#include <cstdio>
#include <cstdlib>
#include <string>

namespace napier::test {

std::filesystem::path shared_file(std::string_view relative) {
  const char* given = std::getenv("NAPIER_SHARED_DIR");
  const std::filesystem::path root =
      given != nullptr && *given != '\0' ? given : NAPIER_ROOT "/../shared";
  return (root / relative).lexically_normal();
}

bool full_tier() {
  const char* given = std::getenv("NAPIER_TEST_FULL");
  return given != nullptr && std::string_view(given) == "1";
}

uint64_t seed() {
  const char* given = std::getenv("NAPIER_TEST_SEED");
  return given != nullptr && *given != '\0' ? std::stoull(given) : 1614;
}

}  // namespace napier::test

// Exit code 77 (ctest: skipped) when all tests that were to run were skipped: GoogleTest's own main
// would call that a success.
int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  std::printf("seed %llu (set NAPIER_TEST_SEED for another), %s tier\n",
              static_cast<unsigned long long>(napier::test::seed()),
              napier::test::full_tier() ? "full" : "short");
  const int failed = RUN_ALL_TESTS();
  const ::testing::UnitTest& unit = *::testing::UnitTest::GetInstance();
  if (failed != 0) return failed;
  return unit.skipped_test_count() > 0 && unit.skipped_test_count() == unit.test_to_run_count() ? 77
                                                                                                : 0;
}
