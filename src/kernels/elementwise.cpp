#include "kernels/elementwise.hpp"

#include <algorithm>
#include <vector>

#include "kernels/kernel.hpp"

namespace napier {
namespace {

std::vector<Group> groups_of(const Operand& operand, int64_t rows, int64_t k, const float* data) {
  return operand.scaling.empty() ? std::vector<Group>{} : choose_groups(operand, rows, k, data);
}

// A scaled element is the value divided by its scale in f64, as in the reference.
Dyadic element(const Operand& operand, float value, int64_t position, const Group& group) {
  return operand.quantise(Dyadic::from_double(double{value} / double{group.scale}),
                          static_cast<uint64_t>(position), group);
}

}  // namespace

void multiply_elements(const Arithmetic& arithmetic, int64_t rows, int64_t k, const float* x,
                       const float* w, float* out, ThreadPool& pool) {
  check_shape(arithmetic, k);
  const Multiplier multiplier = arithmetic.resolved_multiplier();
  const std::vector<Group> x_groups = groups_of(arithmetic.x, rows, k, x);
  const std::vector<Group> w_groups = groups_of(arithmetic.w, rows, k, w);
  constexpr int64_t run = 4096;  // elements a thread takes at a time
  const int64_t count = rows * k;
  pool.parallel_for((count + run - 1) / run, [&](int64_t index) {
    for (int64_t i = index * run; i < std::min(count, (index + 1) * run); ++i) {
      const Group x_group = x_groups.empty() ? Group{} : x_groups[static_cast<size_t>(i)];
      const Group w_group = w_groups.empty() ? Group{} : w_groups[static_cast<size_t>(i)];
      const Dyadic product = multiplier.multiply(element(arithmetic.x, x[i], i % k, x_group),
                                                 element(arithmetic.w, w[i], i % k, w_group),
                                                 static_cast<uint64_t>(i % k));
      out[i] = to_float(product) * x_group.scale * w_group.scale;
    }
  });
}

void quantise_elements(const Operand& operand, int64_t rows, int64_t k, const float* in,
                       double* out, ThreadPool& pool) {
  const std::vector<Group> groups = groups_of(operand, rows, k, in);
  pool.parallel_for(rows, [&](int64_t row) {
    for (int64_t i = row * k; i < (row + 1) * k; ++i) {
      const Group group = groups.empty() ? Group{} : groups[static_cast<size_t>(i)];
      out[i] = to_double(element(operand, in[i], i - row * k, group)) * double{group.scale};
    }
  });
}

}  // namespace napier
