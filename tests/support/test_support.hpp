// What every test needs: the data beside the repository, the tier, a printed seed.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <string_view>
#include <vector>

namespace napier::test {

// A file below the shared data folder: NAPIER_SHARED_DIR, else ../shared beside the sources.
std::filesystem::path shared_file(std::string_view relative);

// True in the long tier (make test-full): go over everything instead of a sample.
bool full_tier();

// Whether the address sanitizer watches, under which what is exhaustive elsewhere takes minutes.
constexpr bool sanitized() {
#ifdef __SANITIZE_ADDRESS__
  return true;
#else
  return false;
#endif
}

// All of `all`; under sanitizers a third, for the next `turn` another third.
template <typename T>
std::vector<T> in_turn(const std::vector<T>& all, size_t turn) {
  if (!sanitized()) return all;
  std::vector<T> some;
  for (size_t i = turn % 3; i < all.size(); i += 3) some.push_back(all[i]);
  return some;
}

// Where random tests start. The same every time unless NAPIER_TEST_SEED says otherwise; printed
// before the first test.
uint64_t seed();

}  // namespace napier::test

// Leaves a test, saying why, where a file of the shared data is not on this machine.
#define NAPIER_NEED_SHARED(relative)                                              \
  do {                                                                            \
    if (!std::filesystem::exists(::napier::test::shared_file(relative)))          \
      GTEST_SKIP() << "SKIPPED: needs " << ::napier::test::shared_file(relative); \
  } while (false)
