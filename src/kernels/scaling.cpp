// The choice of scales, row by row.
#include <algorithm>
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

Scaler::Scaler(const Operand& operand, int64_t k) : operand_(operand), k_(k), group_(k) {
  for (const ScaleLevel& level : operand.scaling) {
    if (level.granularity == Granularity::block && int64_t{level.block} < group_) {
      group_ = level.block;
    }
    if (level.granularity == Granularity::tensor) has_tensor_level_ = true;
    if (level.granularity == Granularity::column) {
      has_column_level_ = true;
      group_ = std::min<int64_t>(k, 1);
    }
  }
}

namespace {

// As finite_absmax(), a vector at a time: magnitudes' patterns are in the magnitudes' order.
double absmax_of(const float* values, int64_t count) {
  int32_t result = 0;
  for (int64_t i = 0; i < count; ++i) {
    const int32_t magnitude = std::bit_cast<int32_t>(values[i]) & 0x7FFFFFFF;
    const int32_t finite = magnitude < 0x7F800000 ? magnitude : 0;
    result = finite > result ? finite : result;
  }
  return std::bit_cast<float>(result);
}

}  // namespace

CommonGroups Scaler::common_groups(int64_t rows, const RowReader& read, ThreadPool& pool) const {
  if (!has_tensor_level_ && !has_column_level_) return {};
  // The coarsest level is the tensor's, or the columns'.
  const bool keep = has_column_level_ || operand_.scaling.back().needs_elements();
  std::vector<float> memory(keep ? static_cast<size_t>(rows * k_) : 0);
  std::vector<double> of_row(static_cast<size_t>(rows), 0.0);
  pool.parallel_for(rows, [&](int64_t row) {
    thread_local std::vector<float> one;
    if (!keep) one.resize(static_cast<size_t>(k_));
    float* values = keep ? memory.data() + row * k_ : one.data();
    read(row, values);
    of_row[static_cast<size_t>(row)] = absmax_of(values, k_);
  });
  CommonGroups common;
  if (has_tensor_level_) {
    Elements elements;
    elements.values = memory;
    for (const double value : of_row) elements.absmax = std::max(elements.absmax, value);
    common.tensor = choose_group(operand_, operand_.scaling.size() - 1, elements, 1);
  }
  if (!has_column_level_) return common;
  common.columns.resize(static_cast<size_t>(k_));
  pool.parallel_for(k_, [&](int64_t column) {
    thread_local std::vector<float> values;
    values.resize(static_cast<size_t>(rows));
    for (int64_t row = 0; row < rows; ++row) {
      values[static_cast<size_t>(row)] = memory[static_cast<size_t>(row * k_ + column)];
    }
    common.columns[static_cast<size_t>(column)] =
        choose_group(operand_, 0, {values, absmax_of(values.data(), rows)}, common.tensor.scale);
  });
  return common;
}

void Scaler::choose(const float* row, const CommonGroups& common, Group* groups) const {
  if (has_column_level_) {
    std::copy(common.columns.begin(), common.columns.end(), groups);
    return;
  }
  for (int64_t i = 0; i < this->groups(); ++i) groups[i] = {};
  for (size_t level = operand_.scaling.size(); level-- > 0;) {
    const ScaleLevel& how = operand_.scaling[level];
    const int64_t span = how.granularity == Granularity::block ? int64_t{how.block} : k_;
    for (int64_t begin = 0; begin < k_; begin += span) {
      Group* first = groups + begin / group_;
      Group chosen = common.tensor;
      if (how.granularity != Granularity::tensor) {
        const std::span<const float> values(row + begin, static_cast<size_t>(span));
        chosen =
            choose_group(operand_, level, {values, absmax_of(row + begin, span)}, first->scale);
      }
      for (int64_t i = 0; i < span / group_; ++i) first[i] = chosen;
    }
  }
}

}  // namespace napier
