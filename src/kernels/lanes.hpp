// The kernels with f32 lanes, as others hand over to them: on values, which they encode. What
// leaves their ranges they hand over to f64 lanes themselves.
#pragma once

#include "kernels/panels.hpp"
#include "kernels/wide.hpp"

namespace napier {

// The task with its rows encoded, `size` floats for each value, in `memory`.
template <class Encode>
PanelTask<float> encode_rows(PanelTask<float> task, int size, Scratch<float>& memory,
                             const Encode& encode) {
  const int64_t k = task.run_ends[task.runs - 1];
  const int64_t stride = size * k + k_row_slack;
  float* to = memory.at_least(task.rows * stride);
  for (int64_t row = 0; row < task.rows; ++row) {
    encode(task.x + row * task.x_stride, k, to + row * stride);
  }
  task.x = to;
  task.x_stride = stride;
  return task;
}

void run_native_lanes(const PanelTask<float>& task);

// `x` and `w` are the ranges of the task's rows, at most k_row_block, and panels.
void run_adder_lanes(PanelTask<float> task, const ProductForm& form, const WideSpec& wide,
                     const MagnitudeRange& x, const MagnitudeRange& w);
void run_bilinear_lanes(const PanelTask<float>& task, const ProductForm& form, const WideSpec& wide,
                        const MagnitudeRange& x, const MagnitudeRange& w);

}  // namespace napier
