// Codes of bf16 and of f32 at the edges of what is exact: every path gives the reference's bits.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <random>
#include <vector>

#include "kernels/code_window.hpp"
#include "kernels/dot_product.hpp"
#include "napier/gemm.hpp"
#include "support/test_support.hpp"

namespace napier {
namespace {

struct Exponents {
  int low, high;
  bool zeros;
};

// Numbers of so many mantissa bits whose exponents fill [low, high], both ends taken.
std::vector<float> draw(const Exponents& e, int64_t count, std::mt19937_64& random,
                        int mantissa_bits = 7) {
  const uint64_t mantissas = uint64_t{1} << mantissa_bits;
  std::vector<float> values(count);
  for (int64_t i = 0; i < count; ++i) {
    const int span = e.high - e.low + 1;
    const int exponent = i == 0   ? e.low
                         : i == 1 ? e.high
                                  : e.low + static_cast<int>(random() % span);
    const float mantissa =
        1.0f + std::ldexp(static_cast<float>(random() % mantissas), -mantissa_bits);
    const float sign = random() % 2 == 0 ? 1.0f : -1.0f;
    const bool zero = e.zeros && i > 1 && random() % 3 == 0;
    values[i] = zero ? sign * 0.0f : sign * std::ldexp(mantissa, exponent);
  }
  // Sums that cancel exactly leave only what zeros added; those that nearly do are small.
  for (int64_t i = 4; i + 1 < count; i += 7) {
    const uint32_t last_bit = random() % 2 == 0 ? uint32_t{1} << (23 - mantissa_bits) : 0;
    values[i + 1] = -std::bit_cast<float>(std::bit_cast<uint32_t>(values[i]) ^ last_bit);
    if (values[i] == 0) values[i + 1] = 0;
  }
  return values;
}

void expect_reference(const Arithmetic& arithmetic, const Shape& shape, const std::vector<float>& x,
                      const std::vector<float>& w, KernelKind kind) {
  ThreadPool pool(1);
  const auto rows = [&](const std::vector<float>& matrix) {
    return
        [&](int64_t row, float* to) { std::copy_n(matrix.begin() + row * shape.k, shape.k, to); };
  };
  std::vector<float> want(shape.m * shape.n);
  reference_gemm(arithmetic, shape, x.data(), w.data(), want.data());
  std::vector<float> got(shape.m * shape.n, -1.0f);
  pack_weights(arithmetic, shape.n, shape.k, rows(w), pool, kind)
      ->multiply(shape.m, rows(x), got.data(), shape.n, pool);
  for (size_t i = 0; i < want.size(); ++i) {
    ASSERT_EQ(std::bit_cast<uint32_t>(got[i]), std::bit_cast<uint32_t>(want[i]))
        << to_string(arithmetic) << " k " << shape.k << ": " << std::hexfloat << got[i] << ", not "
        << want[i];
  }
}

void try_edges_of_windows(KernelKind kind, int mantissa_bits,
                          const std::vector<const char*>& texts) {
  std::mt19937_64 random(test::seed());
  int seen[4] = {};
  const int rounds = test::full_tier() ? 20000 : test::sanitized() ? 400 : 1500;
  for (int round = 0; round < rounds; ++round) {
    const int64_t ks[] = {2, 3, 8, 33, 64, 200};
    const int64_t k = ks[random() % 6];
    const auto pick = [&](int low, int high) {
      return low + static_cast<int>(random() % (high - low + 1));
    };
    Exponents a{0, 0, random() % 2 == 0};
    Exponents b{0, 0, random() % 2 == 0};
    a.low = pick(-110, 20);
    a.high = std::min(126, a.low + pick(0, 120));
    b.low = pick(-100, 10);
    // Half of the time at an edge: the widest weights of a path, or one more.
    b.high = std::min(100, b.low + pick(0, 60));
    const auto range = [&](const Exponents& e) {
      const auto bits = [](int exponent) { return static_cast<uint32_t>(exponent + 127) << 23; };
      return MagnitudeRange{bits(e.low), bits(e.high), e.zeros};
    };
    const auto path_of = [&](MagnitudeRange x, MagnitudeRange w) {
      x.has_zero |= k % 2 != 0;
      w.has_zero |= k % 2 != 0;
      return CodeWindow(x, w, k, mantissa_bits).adder_path();
    };
    if (random() % 2 == 0) {
      const CodeWindow::Path before = path_of(range(a), range(b));
      while (b.low > -120 && path_of(range(a), range(b)) == before) --b.low;
      if (random() % 2 == 0) ++b.low;
    }
    if (b.low > b.high) continue;
    const Shape shape{3, 5, k};
    std::vector<float> x = draw(a, shape.m * k, random, mantissa_bits);
    std::vector<float> w = draw(b, shape.n * k, random, mantissa_bits);
    ++seen[path_of(magnitude_range(x.data(), k), magnitude_range(w.data(), shape.n * k))];
    for (const char* text : texts) {
      expect_reference(parse_arithmetic(text), shape, x, w, kind);
      if (testing::Test::HasFatalFailure()) return;
    }
  }
  for (const int count : seen) EXPECT_GT(count, rounds / 20) << seen[0] << " " << seen[1];
}

TEST(Dot, EveryPathAtTheEdgesOfItsWindow) {
  if (!dot::available()) GTEST_SKIP() << "this machine has no bf16 dot product";
  try_edges_of_windows(KernelKind::dot, 7, {"lmul-m7", "lmul-m3", "bf16", "lmul-formula-m7"});
}

TEST(Adder, EveryPathAtTheEdgesOfItsWindow) {
  try_edges_of_windows(KernelKind::adder, 23,
                       {"x=f32/w=f32/mul=lmul(k=23)", "x=f32/w=f32/mul=lmul(k=23,l=1)", "pam"});
}

// A reviewer's: partial cancellation leaves a sum just below the normal numbers.
TEST(Dot, SmallSumsAreNotZeros) {
  if (!dot::available()) GTEST_SKIP() << "this machine has no bf16 dot product";
  const std::vector<float> x = {0x1p61f, -0x1p61f, 0x1.8p-63f, -0x1p-63f};
  const std::vector<float> w = {0x1p-63f, 0x1p-63f, 0x1p-63f, 0x1p-63f,
                                0x1p60f,  0x1p60f,  0x1p60f,  0x1p60f};
  for (const char* text : {"lmul-m7", "lmul-m4", "bf16", "lmul-formula-m7"}) {
    expect_reference(parse_arithmetic(text), {1, 2, 4}, x, w, KernelKind::dot);
  }
}

// Longer than the part of a sum that is done at once, and odd.
TEST(Dot, LongSums) {
  if (!dot::available()) GTEST_SKIP() << "this machine has no bf16 dot product";
  std::mt19937_64 random(test::seed() ^ 1);
  for (const int64_t k : {1023, 1024, 1536, 2049, 5000}) {
    for (const int64_t m : test::in_turn<int64_t>({1, 2, 3, 13}, k)) {
      const Shape shape{m, 200, k};
      const std::vector<float> x = draw({-12, 2, true}, m * k, random);
      const std::vector<float> w = draw({-16, 0, true}, shape.n * k, random);
      for (const char* text : {"lmul-m4", "bf16", "lmul-formula-m4"}) {
        expect_reference(parse_arithmetic(text), shape, x, w, KernelKind::dot);
        if (HasFatalFailure()) return;
      }
    }
  }
}

}  // namespace
}  // namespace napier
