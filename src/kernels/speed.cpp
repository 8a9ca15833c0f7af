#include "kernels/speed.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <random>

namespace napier {
namespace {

constexpr int64_t k_few_rows = 8;
constexpr size_t k_beyond_caches = size_t{192} << 20;  // bytes
constexpr size_t k_most_copies = 256;

std::vector<float> numbers(int64_t count, double zeros, int spread, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  std::bernoulli_distribution zero(zeros);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) {
    const int binade = spread == 0 ? 0 : static_cast<int>(random() % spread);
    value = zero(random) ? 0.0f : std::ldexp(normal(random), -binade);
  }
  return values;
}

RowReader rows_of(const std::vector<float>& matrix, int64_t k) {
  return [&matrix, k](int64_t row, float* to) { copy_row(matrix.data() + row * k, k, k, to); };
}

}  // namespace

std::vector<double> best_seconds(const std::vector<std::function<void()>>& tasks, int repeats) {
  std::vector<double> best(tasks.size(), std::numeric_limits<double>::infinity());
  for (int repeat = -1; repeat < repeats; ++repeat) {  // the first is to warm up
    for (size_t i = 0; i < tasks.size(); ++i) {
      const auto begin = std::chrono::steady_clock::now();
      tasks[i]();
      const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
      if (repeat >= 0) best[i] = std::min(best[i], taken.count());
    }
  }
  return best;
}

SpeedTask::SpeedTask(const SpeedCase& c, ThreadPool& pool)
    : shape_(c.shape),
      pool_(&pool),
      x_(numbers(c.shape.m * c.shape.k, c.zeros, c.spread, 1)),
      out_(static_cast<size_t>(c.shape.m * c.shape.n)) {
  const std::vector<float> w = numbers(c.shape.n * c.shape.k, c.zeros, 0, 2);
  size_t copies = 1;
  do {
    weights_.push_back(
        pack_weights(c.arithmetic, c.shape.n, c.shape.k, rows_of(w, c.shape.k), pool, c.kernel));
    if (c.shape.m <= k_few_rows) {
      copies = std::min(k_most_copies, k_beyond_caches / weights_.front()->bytes() + 1);
    }
  } while (weights_.size() < copies);
}

void SpeedTask::operator()() {
  const std::unique_ptr<PackedWeights>& weights = weights_[next_++ % weights_.size()];
  weights->multiply(shape_.m, rows_of(x_, shape_.k), out_.data(), shape_.n, *pool_);
}

}  // namespace napier
