// Packing and the loop over tasks.
#include "kernels/panels.hpp"

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <bit>
#include <cstdlib>
#include <cstring>
#include <type_traits>

namespace napier {
namespace {

constexpr int64_t k_batch_bytes = int64_t{1} << 19;  // of activations

constexpr int64_t k_panel_slack = 64;  // vectors of bytes are loaded beyond a panel's end

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

int64_t block_of(const Operand& operand, const Scaler& scaler) {
  for (const ScaleLevel& level : operand.scaling) {
    if (level.granularity == Granularity::block || level.granularity == Granularity::column) {
      return scaler.group();
    }
  }
  return 0;
}

// A row's elements, each group by its scale.
template <class T>
void quantise_row(const Quantiser& quantiser, const Scaler& scaler, const float* row, int64_t k,
                  const Group* groups, T* out) {
  if (!scaler.is_scaled()) return quantiser(row, k, {}, 0, out);
  const int64_t group = scaler.group();
  for (int64_t i = 0, begin = 0; begin < k; ++i, begin += group) {
    quantiser(row + begin, group, groups[i], begin, out + begin);
  }
}

// `columns` rows of k values become the columns of a panel.
void store_panel(const double* values, int64_t k, int64_t columns, double* to) {
  for (int64_t i = 0; i < k; ++i, to += k_panel) {
    for (int64_t c = 0; c < columns; ++c) to[c] = values[c * k + i];
    for (int64_t c = columns; c < k_panel; ++c) to[c] = 0;
  }
}

using Four = uint32_t __attribute__((vector_size(16)));  // of g++ and clang, on every machine

Four load_four(const float* from) {
  Four result;
  std::memcpy(&result, from, sizeof result);
  return result;
}

// The same for 32-bit numbers, four by four: step i of column c is number(c, i), and
// four(c, i) are those of steps i to i + 3.
template <class Stored, class FourOf, class NumberOf>
void store_columns(int64_t steps, int64_t columns, Stored* to, const FourOf& four,
                   const NumberOf& number) {
  constexpr int64_t k_size = sizeof(uint32_t) / sizeof(Stored);
  const auto store_one = [&](int64_t i, int64_t c, uint32_t bits) {
    std::memcpy(to + (i * k_panel + c) * k_size, &bits, sizeof bits);
  };
  const int64_t whole_columns = columns / 4 * 4;
  const int64_t whole_steps = steps / 4 * 4;
  for (int64_t c = 0; c < whole_columns; c += 4) {
    for (int64_t i = 0; i < whole_steps; i += 4) {
      const Four row0 = four(c, i);
      const Four row1 = four(c + 1, i);
      const Four row2 = four(c + 2, i);
      const Four row3 = four(c + 3, i);
      const Four low01 = __builtin_shufflevector(row0, row1, 0, 4, 1, 5);
      const Four low23 = __builtin_shufflevector(row2, row3, 0, 4, 1, 5);
      const Four high01 = __builtin_shufflevector(row0, row1, 2, 6, 3, 7);
      const Four high23 = __builtin_shufflevector(row2, row3, 2, 6, 3, 7);
      const Four turned[4] = {__builtin_shufflevector(low01, low23, 0, 1, 4, 5),
                              __builtin_shufflevector(low01, low23, 2, 3, 6, 7),
                              __builtin_shufflevector(high01, high23, 0, 1, 4, 5),
                              __builtin_shufflevector(high01, high23, 2, 3, 6, 7)};
      for (int j = 0; j < 4; ++j) {
        std::memcpy(to + ((i + j) * k_panel + c) * k_size, &turned[j], sizeof turned[j]);
      }
    }
    for (int64_t i = whole_steps; i < steps; ++i) {
      for (int64_t j = c; j < c + 4; ++j) store_one(i, j, number(j, i));
    }
  }
  if (whole_columns == k_panel) return;
  for (int64_t i = 0; i < steps; ++i) {
    for (int64_t c = whole_columns; c < k_panel; ++c) {
      store_one(i, c, c < columns ? number(c, i) : 0);
    }
  }
}

uint32_t bits_of(float value) { return std::bit_cast<uint32_t>(value); }

void store_panel(const float* values, int64_t k, int64_t columns, float* to) {
  store_columns(
      k, columns, to, [&](int64_t c, int64_t i) { return load_four(values + c * k + i); },
      [&](int64_t c, int64_t i) { return bits_of(values[c * k + i]); });
}

// Pairs of codes, the upper halves of f32.
void store_panel(const float* values, int64_t k, int64_t columns, uint16_t* to) {
  constexpr uint32_t k_upper = 0xFFFF0000;
  const auto four = [&](int64_t c, int64_t i) {
    const float* at = values + c * k + 2 * i;
    float last[8];
    if (2 * i + 8 > k) {  // an odd number of steps: no second one in the last pair
      std::copy_n(at, 7, last);
      last[7] = 0;
      at = last;
    }
    const Four low = load_four(at);
    const Four high = load_four(at + 4);
    return (__builtin_shufflevector(low, high, 0, 2, 4, 6) & k_upper) |
           __builtin_shufflevector(low, high, 1, 3, 5, 7) >> 16;
  };
  const auto number = [&](int64_t c, int64_t i) {
    const float* at = values + c * k + 2 * i;
    return (bits_of(at[0]) & k_upper) | (2 * i + 1 < k ? bits_of(at[1]) >> 16 : 0);
  };
  store_columns((k + 1) / 2, columns, to, four, number);
}

}  // namespace

void* allocate_aligned(size_t bytes) {
  constexpr size_t large_page = size_t{2} << 20;
  const size_t alignment = bytes >= 2 * large_page ? large_page : 64;
  void* memory = std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
  if (!memory) throw std::bad_alloc();
#if defined(__linux__)
  if (alignment == large_page) madvise(memory, bytes, MADV_HUGEPAGE);  // a wish
#endif
  return memory;
}

void free_aligned(void* memory) { std::free(memory); }

template <class T, class Stored>
PanelWeights<T, Stored>::PanelWeights(const Arithmetic& arithmetic, KernelKind kind, int64_t n,
                                      int64_t k, int kept_bits)
    : arithmetic_(arithmetic),
      kind_(kind),
      n_(n),
      k_(k),
      x_quantiser_(arithmetic.x, kept_bits),
      w_quantiser_(arithmetic.w, kept_bits),
      x_scaler_(arithmetic.x, k),
      w_scaler_(arithmetic.w, k) {
  const int64_t x_block = block_of(arithmetic.x, x_scaler_);
  const int64_t w_block = block_of(arithmetic.w, w_scaler_);
  in_blocks_ = x_block != 0 || w_block != 0;
  for (int64_t begin = 0; begin < k;) {
    int64_t end = k;
    if (x_block != 0) end = std::min(end, (begin / x_block + 1) * x_block);
    if (w_block != 0) end = std::min(end, (begin / w_block + 1) * w_block);
    run_ends_.push_back(end);
    begin = end;
  }
  if (run_ends_.empty()) run_ends_.push_back(0);
}

template <class T, class Stored>
size_t PanelWeights<T, Stored>::bytes() const {
  return ranges_.size() * (k_panel * stored_k() * sizeof(Stored) + sizeof(MagnitudeRange)) +
         w_scales_.size() * sizeof(float);
}

template <class T, class Stored>
void PanelWeights<T, Stored>::pack(const RowReader& w, ThreadPool& pool) {
  const int64_t panels = divide_up(n_, k_panel);
  const int64_t runs = static_cast<int64_t>(run_ends_.size());
  panels_ = data_.at_least(panels * stored_k() * k_panel + k_panel_slack);
  ranges_.assign(panels, {});
  if (w_scaler_.is_scaled()) w_scales_.assign(panels * runs * k_panel, 1.0f);

  const CommonGroups common = w_scaler_.common_groups(n_, w, pool);

  pool.parallel_for(panels, [&](int64_t panel) {
    thread_local Scratch<float> row_memory;
    thread_local Scratch<T> value_memory;
    float* row = row_memory.at_least(k_);
    T* values = value_memory.at_least(k_ * k_panel);
    std::vector<Group> groups(w_scaler_.groups());
    const int64_t columns = std::min(n_ - panel * k_panel, k_panel);
    for (int64_t c = 0; c < columns; ++c) {
      w(panel * k_panel + c, row);
      if (w_scaler_.is_scaled()) {
        w_scaler_.choose(row, common, groups.data());
        for (int64_t run = 0, begin = 0; run < runs; begin = run_ends_[run++]) {
          const int64_t group = w_scaler_.group() == 0 ? 0 : begin / w_scaler_.group();
          w_scales_[(panel * runs + run) * k_panel + c] = groups[group].scale;
        }
      }
      quantise_row(w_quantiser_, w_scaler_, row, k_, groups.data(), values + c * k_);
    }
    if constexpr (std::is_same_v<T, float>) {
      if (needs_ranges()) ranges_[panel] = magnitude_range(values, columns * k_);
    }
    store(values, panel, columns, panels_ + panel * stored_k() * k_panel);
  });
  for (const MagnitudeRange& range : ranges_) {
    if (range.is_normal()) normal_range_.include(range);
  }
}

template <class T, class Stored>
void PanelWeights<T, Stored>::store(const T* values, int64_t, int64_t columns, Stored* to) {
  if constexpr (!std::is_same_v<Stored, uint8_t>) store_panel(values, k_, columns, to);
}

// Rows of activations made ready: their values, or encoded. Then values are made again where they
// are asked for.
template <class T, class Stored>
struct PanelWeights<T, Stored>::Batch {
  const RowReader& x;
  int64_t first;  // row of x
  int64_t rows;
  const CommonGroups& common;  // of x
  const T* values = nullptr;   // [row * value_stride + k]
  int64_t value_stride = 0;
  const Stored* encoded = nullptr;
  int64_t encoded_stride = 0;
  int64_t factors = 0;                     // as in PanelTask
  const RowCode* codes = nullptr;          // of each row
  const float* scales = nullptr;           // as in PanelTask, or null
  const MagnitudeRange* ranges = nullptr;  // of each row
  float* out = nullptr;
  int64_t out_stride = 0;
};

template <class T, class Stored>
template <class Element>
PanelTask<Element> PanelWeights<T, Stored>::task_of(const Batch& batch, int64_t row, int64_t rows,
                                                    int64_t panel, int64_t panels) const {
  const int64_t runs = static_cast<int64_t>(run_ends_.size());
  PanelTask<Element> task;
  task.rows = rows;
  task.columns = std::min(n_ - panel * k_panel, panels * k_panel);
  task.run_ends = run_ends_.data();
  task.runs = runs;
  task.in_blocks = in_blocks_;
  task.x_code = batch.codes == nullptr ? nullptr : batch.codes + row;
  task.x_scale = batch.scales == nullptr ? nullptr : batch.scales + row * runs;
  task.w_scale = w_scales_.empty() ? nullptr : w_scales_.data() + panel * runs * k_panel;
  task.out = batch.out + row * batch.out_stride + panel * k_panel;
  task.out_stride = batch.out_stride;
  return task;
}

// The values of some panels of codes.
template <class T, class Stored>
const T* PanelWeights<T, Stored>::decoded(int64_t panel, int64_t panels) const {
  if constexpr (std::is_same_v<T, Stored>) {
    return panels_ + panel * k_ * k_panel;
  } else if constexpr (!k_in_pairs) {
    return nullptr;  // kernels of bytes have no other way
  } else {
    thread_local Scratch<T> memory;
    T* to = memory.at_least(panels * k_ * k_panel);
    for (int64_t p = 0; p < panels; ++p) {
      const Stored* from = panels_ + (panel + p) * stored_k() * k_panel;
      T* values = to + p * k_ * k_panel;
      for (int64_t k = 0; k < k_; ++k) {
        const Stored* pairs = from + k / 2 * k_panel * 2 + 1 - k % 2;
        for (int64_t c = 0; c < k_panel; ++c) {
          values[k * k_panel + c] = std::bit_cast<float>(uint32_t{pairs[2 * c]} << 16);
        }
      }
    }
    return to;
  }
}

template <class T, class Stored>
void PanelWeights<T, Stored>::run_task(const Batch& batch, int64_t first_row, int64_t rows,
                                       int64_t panel, int64_t panels) const {
  const auto run_part = [&](int64_t row, int64_t count, int path) {
    PanelTask<Stored> task = task_of<Stored>(batch, row, count, panel, panels);
    if (batch.encoded != nullptr) {
      task.x = batch.encoded + row * batch.encoded_stride;
      task.x_stride = batch.encoded_stride;
      task.factors = batch.factors;
    } else if constexpr (std::is_same_v<T, Stored>) {
      task.x = batch.values + row * batch.value_stride;
      task.x_stride = batch.value_stride;
    }
    task.w = panels_ + panel * stored_k() * k_panel;
    task.panel_stride = stored_k() * k_panel;
    run(task, path);
  };
  if (!needs_ranges()) return run_part(first_row, rows, 1);

  MagnitudeRange w;
  for (int64_t i = panel; i < panel + panels; ++i) w.include(ranges_[i]);
  // The path that all rows can take, or 0.
  const auto path_of = [&](int64_t row, int64_t count) {
    int result = 1;
    if (k_in_pairs && !w.is_normal()) return 0;
    for (int64_t i = row; i < row + count; ++i) {
      const int of_row = k_in_pairs ? batch.codes[i].path : path(batch.ranges[i], w);
      if (of_row == 0) return 0;
      result = std::max(result, of_row);
    }
    return result;
  };
  const int common = path_of(first_row, rows);
  if (common != 0) return run_part(first_row, rows, common);
  for (int64_t row = first_row; row < first_row + rows; row += k_row_block) {
    const int64_t count = std::min(k_row_block, first_row + rows - row);
    const int found = path_of(row, count);
    if (found != 0) {
      run_part(row, count, found);
      continue;
    }
    MagnitudeRange x;
    for (int64_t i = row; i < row + count; ++i) x.include(batch.ranges[i]);
    PanelTask<T> task = task_of<T>(batch, row, count, panel, panels);
    task.x_code = nullptr;  // values have none
    thread_local Scratch<T> value_memory;
    thread_local Scratch<float> scale_memory;
    T* values = value_memory.at_least(k_row_block * batch.value_stride);
    float* scales = scale_memory.at_least(static_cast<int64_t>(run_ends_.size()));
    for (int64_t i = 0; i < count; ++i) {
      read_row(batch.x, batch.first + row + i, batch.common, scales,
               values + i * batch.value_stride);
    }
    task.x = values;
    task.x_stride = batch.value_stride;
    task.w = decoded(panel, panels);
    task.panel_stride = k_ * k_panel;
    run_any(task, x, w);
  }
}

// The elements of one row, and the scale of each run where there are scales.
template <class T, class Stored>
void PanelWeights<T, Stored>::read_row(const RowReader& x, int64_t row, const CommonGroups& common,
                                       float* scales, T* to) const {
  thread_local Scratch<float> row_memory;
  thread_local Scratch<Group> group_memory;
  float* numbers = row_memory.at_least(k_);
  x(row, numbers);
  const Group* groups = nullptr;
  if (x_scaler_.is_scaled()) {
    Group* chosen = group_memory.at_least(x_scaler_.groups());
    x_scaler_.choose(numbers, common, chosen);
    const int64_t runs = static_cast<int64_t>(run_ends_.size());
    for (int64_t run = 0, begin = 0; run < runs; begin = run_ends_[run++]) {
      scales[run] = chosen[x_scaler_.group() == 0 ? 0 : begin / x_scaler_.group()].scale;
    }
    groups = chosen;
  }
  quantise_row(x_quantiser_, x_scaler_, numbers, k_, groups, to);
}

template <class T, class Stored>
void PanelWeights<T, Stored>::multiply(int64_t m, const RowReader& x, float* out,
                                       int64_t out_stride, ThreadPool& pool) const {
  if (m <= 0 || n_ <= 0) return;
  thread_local Scratch<T> value_memory;
  thread_local Scratch<Stored> encoded_memory;
  thread_local Scratch<RowCode> code_memory;
  thread_local Scratch<float> scale_memory;
  thread_local Scratch<MagnitudeRange> range_memory;

  const CommonGroups common = x_scaler_.common_groups(m, x, pool);

  // A batch stays in the second cache while the panels pass by.
  const bool is_encoded = encoded_size() != 0;
  const int64_t runs = static_cast<int64_t>(run_ends_.size());
  const int64_t value_stride = k_ + k_row_slack;
  const int64_t encoded_stride = stored_k() * encoded_size() + k_row_slack;
  const int64_t row_bytes =
      is_encoded ? encoded_stride * int64_t{sizeof(Stored)} : value_stride * int64_t{sizeof(T)};
  const int64_t batch_rows =
      std::clamp<int64_t>(k_batch_bytes / row_bytes / k_row_chunk * k_row_chunk, k_row_chunk, 1024);
  const int64_t panels = divide_up(n_, k_panel);
  for (int64_t first = 0; first < m; first += batch_rows) {
    const int64_t rows = std::min(batch_rows, m - first);
    T* values = is_encoded ? nullptr : value_memory.at_least(rows * value_stride);
    const int64_t factors = rows * encoded_stride;
    Stored* encoded =
        is_encoded ? encoded_memory.at_least(factors * (has_factors() ? 2 : 1)) : nullptr;
    RowCode* codes = is_encoded ? code_memory.at_least(rows) : nullptr;
    float* scales = x_scaler_.is_scaled() ? scale_memory.at_least(rows * runs) : nullptr;
    MagnitudeRange* ranges = range_memory.at_least(rows);
    const Batch batch{.x = x,
                      .first = first,
                      .rows = rows,
                      .common = common,
                      .values = values,
                      .value_stride = value_stride,
                      .encoded = encoded,
                      .encoded_stride = encoded_stride,
                      .factors = factors,
                      .codes = codes,
                      .scales = scales,
                      .ranges = ranges,
                      .out = out + first * out_stride,
                      .out_stride = out_stride};

    const auto prepare_row = [&](int64_t i) {
      thread_local Scratch<T> row_memory;
      T* to = is_encoded ? row_memory.at_least(k_) : values + i * value_stride;
      read_row(x, first + i, common, scales == nullptr ? nullptr : scales + i * runs, to);
      if constexpr (std::is_same_v<T, float>) {
        if (needs_ranges()) ranges[i] = magnitude_range(to, k_);
      }
      if (!is_encoded) return;
      Stored* codes_of_row = encoded + i * encoded_stride;
      encode(to, k_, ranges[i], codes_of_row, codes_of_row + (has_factors() ? factors : 0),
             codes[i]);
    };
    // Handing out rows in small lots: waking a thread costs more than a few rows.
    const int64_t lot = std::max<int64_t>(1, 8192 / std::max<int64_t>(1, k_));
    pool.parallel_for(divide_up(rows, lot), [&](int64_t i) {
      for (int64_t r = i * lot; r < std::min(rows, (i + 1) * lot); ++r) prepare_row(r);
    });

    const int64_t together = panels_at_once(rows);
    const int64_t chunks = divide_up(rows, k_row_chunk);
    pool.parallel_for(divide_up(panels, together) * chunks, [&](int64_t index) {
      const int64_t panel = index / chunks * together;
      const int64_t row = index % chunks * k_row_chunk;
      run_task(batch, row, std::min(k_row_chunk, rows - row), panel,
               std::min(together, panels - panel));
    });
  }
}

template class PanelWeights<float>;
template class PanelWeights<double>;
template class PanelWeights<float, uint16_t>;
template class PanelWeights<float, uint8_t>;

}  // namespace napier
