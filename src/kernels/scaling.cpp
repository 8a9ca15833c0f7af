// The choice of scales, row by row.
#include <bit>

#include "kernels/kernel.hpp"
#include "kernels/quantise.hpp"

namespace napier {
namespace {

void check_operand(const Operand& operand, char name, int64_t k) {
  int64_t finer = 1;
  bool blocks_ended = false;
  for (const ScaleLevel& level : operand.scaling) {
    if (level.granularity != Granularity::block) {
      blocks_ended = true;
      continue;
    }
    const int64_t block = level.block;
    const std::string place = std::string(1, name) + "'s blocks of " + std::to_string(block);
    if (block <= 0 || k % block != 0) {
      throw Error(
          place + " do not divide rows of " + std::to_string(k) +
          " elements: choose a block size that does, or a plan that leaves this matrix out");
    }
    if (blocks_ended || block % finer != 0) {
      throw Error(place +
                  " follow a level that they do not contain: write the finest level first, " +
                  "each block size a multiple of the one before");
    }
    finer = block;
  }
}

}  // namespace

void check_shape(const Arithmetic& arithmetic, int64_t k) {
  check_operand(arithmetic.x, 'x', k);
  check_operand(arithmetic.w, 'w', k);
}

Scaler::Scaler(const Operand& operand, int64_t k) : levels_(operand.scaling), k_(k), group_(k) {
  double largest = to_double(operand.cast.format.max_finite());
  for (const ScaleLevel& level : levels_) {
    largest_.push_back(largest);
    if (level.format.exponent_bits < 8) largest *= to_double(level.format.max_finite());
    if (level.granularity == Granularity::block && int64_t{level.block} < group_) {
      group_ = level.block;
    }
    if (level.granularity == Granularity::tensor) has_tensor_level_ = true;
  }
}

double Scaler::finite_absmax(const float* values, int64_t count) {
  int32_t result = 0;  // magnitudes' patterns are in the magnitudes' order
  for (int64_t i = 0; i < count; ++i) {
    const int32_t magnitude = std::bit_cast<int32_t>(values[i]) & 0x7FFFFFFF;
    const int32_t finite = magnitude < 0x7F800000 ? magnitude : 0;
    result = finite > result ? finite : result;
  }
  return std::bit_cast<float>(result);
}

void Scaler::choose(const float* row, double tensor_absmax, float* scales) const {
  for (int64_t i = 0; i < groups(); ++i) scales[i] = 1.0f;
  for (size_t level = levels_.size(); level-- > 0;) {
    const ScaleLevel& how = levels_[level];
    const int64_t span = how.granularity == Granularity::block ? int64_t{how.block} : k_;
    for (int64_t begin = 0; begin < k_; begin += span) {
      const double absmax =
          how.granularity == Granularity::tensor ? tensor_absmax : finite_absmax(row + begin, span);
      float* first = scales + begin / group_;
      const Dyadic finer = choose_scale(how, absmax / double{*first}, largest_[level]);
      const float scale = to_float(Dyadic::from_float(*first) * finer);
      if (scale == 0) continue;
      for (int64_t i = 0; i < span / group_; ++i) first[i] = scale;
    }
  }
}

}  // namespace napier
