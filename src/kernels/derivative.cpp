#include "kernels/derivative.hpp"

#include <bit>
#include <cmath>
#include <vector>

#include "kernels/quantise.hpp"
#include "napier/error.hpp"

namespace napier {
namespace {

// Rows of an operand as the multiplier sees them, and the scale of every element (empty: 1).
struct Rounded {
  std::vector<float> values, scales;
};

Rounded round_rows(const Operand& operand, int64_t rows, int64_t count, int kept_bits,
                   const RowReader& read, ThreadPool& pool) {
  const Quantiser quantise(operand, kept_bits);
  const Scaler scaler(operand, count);
  Rounded result;
  result.values.resize(static_cast<size_t>(rows * count));
  if (scaler.is_scaled()) result.scales.resize(result.values.size());
  const CommonGroups common = scaler.common_groups(rows, read, pool);
  pool.parallel_for(rows, [&](int64_t row) {
    std::vector<float> raw(static_cast<size_t>(count));
    std::vector<Group> groups(static_cast<size_t>(scaler.groups()));
    read(row, raw.data());
    if (scaler.is_scaled()) scaler.choose(raw.data(), common, groups.data());
    const int64_t length = scaler.group() == 0 ? count : scaler.group();
    for (int64_t begin = 0; begin < count; begin += length) {
      const Group& group = groups[static_cast<size_t>(begin / length)];
      const int64_t here = row * count + begin;
      quantise(raw.data() + begin, length, group, begin, result.values.data() + here);
      if (!scaler.is_scaled()) continue;
      std::fill_n(result.scales.data() + here, length, group.scale);
    }
  });
  return result;
}

constexpr uint32_t k_mantissa = 0x007FFFFF;

// +-2^e of a normal number; zero of zero.
float power_part(float value) {
  return std::bit_cast<float>(std::bit_cast<uint32_t>(value) & ~k_mantissa);
}
// Its mantissa in [0, 1).
float mantissa_part(float value) {
  return static_cast<float>(std::bit_cast<uint32_t>(value) & k_mantissa) * 0x1p-23f;
}

}  // namespace

bool has_own_derivative(const Arithmetic& arithmetic) {
  return arithmetic.resolved_multiplier().form().kind != ProductForm::Kind::other;
}

void own_derivative(const Arithmetic& arithmetic, Side side, const Shape& shape,
                    const DerivativeOperands& operands, float* out, int64_t out_stride,
                    ThreadPool& pool) {
  const ProductForm form = arithmetic.resolved_multiplier().form();
  if (form.kind == ProductForm::Kind::other) {
    throw Error(display_name(arithmetic) +
                ": its product has no derivative that is known; take the exact product's "
                "(gradient = \"exact\")");
  }
  const bool exact = form.kind == ProductForm::Kind::exact;
  const bool carries = form.kind == ProductForm::Kind::pattern_add;
  const Operand& at_operand = side == Side::x ? arithmetic.x : arithmetic.w;
  const Operand& other_operand = side == Side::x ? arithmetic.w : arithmetic.x;
  const int kept_bits = exact ? 52 : form.kept_bits;
  const int64_t n = shape.n, k = shape.k;

  Rounded other = round_rows(other_operand, k, n, kept_bits, operands.other, pool);
  Rounded at;  // only carries look at it
  if (carries) at = round_rows(at_operand, shape.m, n, kept_bits, operands.at, pool);
  const auto scaled = [&](size_t i) { return other.scales.empty() ? 1.0f : other.scales[i]; };
  std::vector<float> mantissas(carries ? other.values.size() : 0);
  for (size_t i = 0; i < other.values.size(); ++i) {
    float& value = other.values[i];
    if (carries) mantissas[i] = mantissa_part(value) + static_cast<float>(form.offset);
    value = (exact ? value : power_part(value)) * scaled(i);
  }

  pool.parallel_for(shape.m, [&](int64_t i) {
    std::vector<float> gradient(static_cast<size_t>(k)), ours(static_cast<size_t>(n));
    operands.gradient(i, gradient.data());
    if (carries) {
      for (int64_t c = 0; c < n; ++c) ours[c] = mantissa_part(at.values[i * n + c]);
    }
    float* to = out + i * out_stride;
    std::fill_n(to, n, 0.0f);
    for (int64_t t = 0; t < k; ++t) {
      const float g = gradient[static_cast<size_t>(t)];
      const float* slopes = other.values.data() + t * n;
      if (!carries) {
        for (int64_t c = 0; c < n; ++c) to[c] += g * slopes[c];
        continue;
      }
      // max(1 + s, 2s, 4(s - 1)) has slope 1 up to s = 1, 2 up to s = 2, then 4.
      const float* theirs = mantissas.data() + t * n;
      for (int64_t c = 0; c < n; ++c) {
        const float s = ours[c] + theirs[c];
        const float piece = s < 1 ? 1.0f : s < 2 ? 2.0f : 4.0f;
        to[c] += g * (slopes[c] * piece);
      }
    }
  });
}

}  // namespace napier
