#include "recipes/low_rank.hpp"

#include <Eigen/Dense>

#include <algorithm>
#include <cmath>
#include <random>

namespace napier {
namespace {

using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

constexpr int64_t k_oversampled = 16;
constexpr int k_iterations = 12;

Eigen::MatrixXf orthonormal(const Eigen::MatrixXf& columns) {
  const Eigen::HouseholderQR<Eigen::MatrixXf> qr(columns);
  return qr.householderQ() * Eigen::MatrixXf::Identity(columns.rows(), columns.cols());
}

}  // namespace

LowRank low_rank(const std::vector<float>& matrix, int64_t n, int64_t k, int64_t rank) {
  rank = std::min({rank, n, k});
  const int64_t width = std::min({rank + k_oversampled, n, k});
  const Eigen::Map<const Matrix> a(matrix.data(), n, k);

  std::mt19937 random(1614);
  std::normal_distribution<float> normal;
  Eigen::MatrixXf start(k, width);
  for (int64_t i = 0; i < start.size(); ++i) start.data()[i] = normal(random);
  Eigen::MatrixXf q = orthonormal(a * start);
  for (int i = 0; i < k_iterations; ++i) q = orthonormal(a * orthonormal(a.transpose() * q));

  const Eigen::MatrixXf within = q.transpose() * a;  // width x k
  const Eigen::JacobiSVD<Eigen::MatrixXf, Eigen::HouseholderQRPreconditioner> svd(
      within, Eigen::ComputeThinU | Eigen::ComputeThinV);
  const Eigen::VectorXf roots = svd.singularValues().head(rank).cwiseSqrt();
  const Matrix left = q * svd.matrixU().leftCols(rank) * roots.asDiagonal();
  const Matrix right = roots.asDiagonal() * svd.matrixV().leftCols(rank).transpose();
  return {{left.data(), left.data() + left.size()}, {right.data(), right.data() + right.size()}};
}

}  // namespace napier
