// The scalar reference: every step on exact numbers, in the order that gemm.hpp states. It shares
// no code with the other kernels.
#include <algorithm>
#include <vector>

#include "kernels/kernel.hpp"

namespace napier {
namespace {

// An operand as the multiplier sees it, and the scale of each of its elements.
struct Scaled {
  std::vector<Dyadic> values;
  std::vector<float> scales;  // all levels together; 1 where there is none
};

// A scaled element is the value divided by its scale in f64, rounded to nearest, and then rounded
// into the format as the operand says.
Scaled scale_and_quantise(const Operand& operand, int64_t rows, int64_t k, const float* data) {
  Scaled result;
  const std::vector<Group> groups = choose_groups(operand, rows, k, data);
  for (const Group& group : groups) result.scales.push_back(group.scale);
  result.values.reserve(rows * k);
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t column = 0; column < k; ++column) {
      const int64_t i = row * k + column;
      const double element = double{data[i]} / double{groups[i].scale};
      result.values.push_back(operand.quantise(Dyadic::from_double(element), column, groups[i]));
    }
  }
  return result;
}

// The sum of the products of [begin, end), from zero.
Dyadic sum_products(const Accumulator& accumulator, const Multiplier& multiplier, const Dyadic* x,
                    const Dyadic* w, int64_t begin, int64_t end) {
  thread_local std::vector<Dyadic> products;
  products.clear();
  for (int64_t k = begin; k < end; ++k) products.push_back(multiplier.multiply(x[k], w[k], k));
  return accumulator.sum(products, begin);
}

// The end of the run that starts at `begin`: the next place where a scale may change.
int64_t run_end(const Operand& operand, int64_t begin, int64_t k) {
  int64_t end = k;
  for (const ScaleLevel& level : operand.scaling) {
    if (level.granularity == Granularity::column) return begin + 1;
    if (level.granularity != Granularity::block) continue;
    end = std::min(end, (begin / level.block + 1) * int64_t{level.block});
  }
  return end;
}

// Whether scales change along the sum.
bool has_runs(const Operand& operand) {
  for (const ScaleLevel& level : operand.scaling) {
    if (level.granularity == Granularity::block || level.granularity == Granularity::column) {
      return true;
    }
  }
  return false;
}

// One output: x and w are rows of k values with their scales.
float dot(const Arithmetic& arithmetic, const Multiplier& multiplier, int64_t k, const Dyadic* x,
          const float* x_scales, const Dyadic* w, const float* w_scales) {
  const auto scaled_sum = [&](int64_t begin, int64_t end) {
    const Dyadic sum = sum_products(arithmetic.accumulator, multiplier, x, w, begin, end);
    float result = to_float(sum);
    if (!arithmetic.x.scaling.empty() && begin < end) {
      result = to_float(Dyadic::from_float(result) * Dyadic::from_float(x_scales[begin]));
    }
    if (!arithmetic.w.scaling.empty() && begin < end) {
      result = to_float(Dyadic::from_float(result) * Dyadic::from_float(w_scales[begin]));
    }
    return result;
  };
  if (!has_runs(arithmetic.x) && !has_runs(arithmetic.w)) return scaled_sum(0, k);

  float total = 0;
  for (int64_t begin = 0; begin < k;) {
    const int64_t end = std::min(run_end(arithmetic.x, begin, k), run_end(arithmetic.w, begin, k));
    total = to_float(Dyadic::from_float(total) + Dyadic::from_float(scaled_sum(begin, end)));
    begin = end;
  }
  return total;
}

// The reference as a kernel: for arithmetics that no other serves.
class ReferenceWeights final : public PackedWeights {
 public:
  ReferenceWeights(const Arithmetic& arithmetic, int64_t n, int64_t k, const RowReader& read)
      : arithmetic_(arithmetic), n_(n), k_(k) {
    std::vector<float> rows(n * k);
    for (int64_t row = 0; row < n; ++row) read(row, rows.data() + row * k);
    w_ = scale_and_quantise(arithmetic.w, n, k, rows.data());
  }

  const Arithmetic& arithmetic() const override { return arithmetic_; }
  KernelKind kernel() const override { return KernelKind::reference; }
  int64_t n() const override { return n_; }
  int64_t k() const override { return k_; }
  size_t bytes() const override {
    return w_.values.size() * sizeof(Dyadic) + w_.scales.size() * sizeof(float);
  }

  void multiply(int64_t m, const RowReader& read, float* out, int64_t out_stride,
                ThreadPool& pool) const override {
    std::vector<float> rows(m * k_);
    pool.parallel_for(m, [&](int64_t row) { read(row, rows.data() + row * k_); });
    const Scaled x = scale_and_quantise(arithmetic_.x, m, k_, rows.data());
    const Multiplier multiplier = arithmetic_.resolved_multiplier();
    pool.parallel_for(m * n_, [&](int64_t index) {
      const int64_t i = index / n_;
      const int64_t j = index % n_;
      out[i * out_stride + j] =
          dot(arithmetic_, multiplier, k_, x.values.data() + i * k_, x.scales.data() + i * k_,
              w_.values.data() + j * k_, w_.scales.data() + j * k_);
    });
  }

 private:
  Arithmetic arithmetic_;
  int64_t n_;
  int64_t k_;
  Scaled w_;
};

}  // namespace

void reference_gemm(const Arithmetic& arithmetic, const Shape& shape, const float* x,
                    const float* w, float* out) {
  check_shape(arithmetic, shape.k);
  ThreadPool pool(1);
  const ReferenceWeights weights(arithmetic, shape.n, shape.k, [&](int64_t row, float* to) {
    std::copy_n(w + row * shape.k, shape.k, to);
  });
  weights.multiply(
      shape.m, [&](int64_t row, float* to) { std::copy_n(x + row * shape.k, shape.k, to); }, out,
      shape.n, pool);
}

const Kernel k_reference_kernel = {
    .kind = KernelKind::reference,
    .how = "each product and each sum is computed on exact integers, one by one",
    .why_not = [](const Arithmetic&) -> std::optional<std::string> { return std::nullopt; },
    .pack = [](const Arithmetic& arithmetic, int64_t n, int64_t k, const RowReader& w,
               ThreadPool&) -> std::unique_ptr<PackedWeights> {
      return std::make_unique<ReferenceWeights>(arithmetic, n, k, w);
    },
};

}  // namespace napier
