// Low-rank factors of matrices whose singular values are known by construction.
#include "recipes/low_rank.hpp"

#include <cmath>
#include <vector>

#include "support/test_support.hpp"

namespace napier {
namespace {

// Columns of the discrete cosine transform: orthonormal.
double cosine(int64_t size, int64_t row, int64_t column) {
  const double angle = M_PI * (static_cast<double>(row) + 0.5) * static_cast<double>(column) /
                       static_cast<double>(size);
  return std::sqrt((column == 0 ? 1.0 : 2.0) / static_cast<double>(size)) * std::cos(angle);
}

double singular_value(int64_t i) { return 10 * std::pow(0.8, static_cast<double>(i)); }

std::vector<float> with_singular_values(int64_t n, int64_t k, int64_t count) {
  std::vector<float> matrix(static_cast<size_t>(n * k));
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < k; ++j) {
      double sum = 0;
      for (int64_t s = 0; s < count; ++s) {
        sum += singular_value(s) * cosine(n, i, s) * cosine(k, j, s);
      }
      matrix[static_cast<size_t>(i * k + j)] = static_cast<float>(sum);
    }
  }
  return matrix;
}

// Eckart and Young: the error's square is that of the singular values left out.
TEST(LowRankTest, ErrorIsThatOfTheBestProduct) {
  struct Shape {
    int64_t n, k, rank;
  };
  for (const Shape& s : {Shape{60, 90, 8}, Shape{200, 33, 4}, Shape{40, 40, 1}}) {
    const auto matrix = with_singular_values(s.n, s.k, 30);
    const LowRank found = low_rank(matrix, s.n, s.k, s.rank);
    ASSERT_EQ(found.left.size(), static_cast<size_t>(s.n * s.rank));
    ASSERT_EQ(found.right.size(), static_cast<size_t>(s.rank * s.k));
    double error = 0;
    for (int64_t i = 0; i < s.n; ++i) {
      for (int64_t j = 0; j < s.k; ++j) {
        double value = double{matrix[static_cast<size_t>(i * s.k + j)]};
        for (int64_t r = 0; r < s.rank; ++r) {
          value -= double{found.left[static_cast<size_t>(i * s.rank + r)]} *
                   double{found.right[static_cast<size_t>(r * s.k + j)]};
        }
        error += value * value;
      }
    }
    double best = 0;
    for (int64_t i = s.rank; i < 30; ++i) best += singular_value(i) * singular_value(i);
    EXPECT_NEAR(error, best, best * 1e-3) << s.n << " x " << s.k << ", rank " << s.rank;
    // Both factors carry the root of each singular value.
    for (int64_t r = 0; r < s.rank; ++r) {
      double left = 0;
      double right = 0;
      for (int64_t i = 0; i < s.n; ++i) left += std::pow(found.left[i * s.rank + r], 2);
      for (int64_t j = 0; j < s.k; ++j) right += std::pow(found.right[r * s.k + j], 2);
      EXPECT_NEAR(left, singular_value(r), singular_value(r) * 1e-3);
      EXPECT_NEAR(right, singular_value(r), singular_value(r) * 1e-3);
    }
  }
}

TEST(LowRankTest, RankIsCutToTheMatrix) {
  const LowRank found = low_rank({1, 2, 3, 4, 5, 6}, 2, 3, 100);
  EXPECT_EQ(found.left.size(), 4u);
  EXPECT_EQ(found.right.size(), 6u);
}

}  // namespace
}  // namespace napier
