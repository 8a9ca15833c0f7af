// Packed weights and the loop over them that all vector kernels share.
//
// Weights lie in panels of k_panel columns (output channels), all of k one after the other:
//   panel p, step k, column c:   data[(p * K + k) * k_panel + c]
// so that a vector of a panel holds one step of neighbouring outputs, and each output is one lane's
// sum in order of k. 16-bit codes lie in pairs of steps, the first in the upper half of 32 bits:
//   data[((p * K / 2 + k / 2) * k_panel + c) * 2 + 1 - k % 2]        K even: a zero is added
// Activations are rows (of codes: with the same pairs); columns beyond n are zero weights.
#pragma once

#include <algorithm>
#include <memory>
#include <new>
#include <type_traits>
#include <vector>

#include "kernels/kernel.hpp"
#include "kernels/quantise.hpp"

namespace napier {

inline constexpr int64_t k_panel = 48;  // 3 vectors of 512 bits; 1, 2, 3, 4 and 6 of narrower ones
inline constexpr int64_t k_row_block = 8;   // rows that share one decision between kernels
inline constexpr int64_t k_row_chunk = 64;  // rows of one task
inline constexpr int64_t k_row_slack = 16;  // keeps rows of 2^n bytes from one cache set

// What a row's encoding says of its sums: they are to be multiplied by 2^exponent, and magnitudes
// below `least` come from zeros alone. For 16-bit codes, `path` is what PanelWeights::path() would
// say of the row and weights of normal_range().
struct RowCode {
  float exponent = 0;
  float least = 0;
  int path = 0;
  bool has_nan = false;  // where NaN has no code
};

// Some rows of activations times some neighbouring panels.
template <class T>
struct PanelTask {
  const T* x = nullptr;  // as the kernel encodes them
  int64_t x_stride = 0;
  int64_t factors = 0;  // from an activation to its factor, for kernels that have factors
  int64_t rows = 0;
  const T* w = nullptr;  // the first panel
  int64_t panel_stride = 0;
  int64_t columns = 0;  // outputs, from the first panel's first
  // Runs of k within which all scales are constant: each is summed from zero, times its scales, and
  // added to the others. Unscaled: one run, no scales.
  const int64_t* run_ends = nullptr;
  int64_t runs = 0;
  bool in_blocks = false;           // the runs' sums are added from zero; else there is one
  const RowCode* x_code = nullptr;  // of each row; for kernels that write one
  const float* x_scale = nullptr;   // [row * runs + run], or null
  const float* w_scale = nullptr;   // [(panel * runs + run) * k_panel + column], or null
  float* out = nullptr;
  int64_t out_stride = 0;
};

// Memory aligned to 64 bytes; large pieces in large pages where the system has them, as packed
// weights are read from end to end. Throws std::bad_alloc.
void* allocate_aligned(size_t bytes);
void free_aligned(void* memory);

// Memory of one thread that lives on between calls.
template <class T>
class Scratch {
 public:
  T* at_least(int64_t count) {
    if (count > size_) {
      data_.reset();
      data_.reset(static_cast<T*>(allocate_aligned(static_cast<size_t>(count) * sizeof(T))));
      size_ = count;
    }
    return data_.get();
  }

 private:
  struct Free {
    void operator()(T* data) const { free_aligned(data); }
  };
  std::unique_ptr<T[], Free> data_;
  int64_t size_ = 0;
};

// Weights in panels of Stored: T, or bf16 codes for values that bf16 holds, or bytes, which mean
// what the kernel says. A kernel derives from it and says how activations are encoded and how a
// task is run.
template <class T, class Stored = T>
class PanelWeights : public PackedWeights {
 public:
  // `kept_bits`: the mantissa bits that the multiplier looks at.
  PanelWeights(const Arithmetic& arithmetic, KernelKind kind, int64_t n, int64_t k, int kept_bits);

  void pack(const RowReader& w, ThreadPool& pool);

  const Arithmetic& arithmetic() const override { return arithmetic_; }
  KernelKind kernel() const override { return kind_; }
  int64_t n() const override { return n_; }
  int64_t k() const override { return k_; }
  size_t bytes() const override;
  void multiply(int64_t m, const RowReader& x, float* out, int64_t out_stride,
                ThreadPool& pool) const override;

 protected:
  // Numbers of Stored that encode one activation beside its value; 0 where the value is all.
  virtual int encoded_size() const { return 0; }
  // Whether each of these has a factor, which some paths multiply products by. All rows' factors
  // lie behind all rows' encodings, so that paths without them have denser rows.
  virtual bool has_factors() const { return false; }
  virtual void encode(const T* values, int64_t count, const MagnitudeRange& range, Stored* encoded,
                      Stored* factors, RowCode& code) const {
    (void)values, (void)count, (void)range, (void)encoded, (void)factors, (void)code;
  }
  // The path of run() that is exact for a row and weights of these ranges, 1 the fastest; each is
  // exact wherever a faster one is. 0 if none: then run_any() is called, with values. Kernels of
  // codes say it in RowCode, and weights that are not normal are computed by run_any().
  virtual int path(const MagnitudeRange& x, const MagnitudeRange& w) const {
    (void)x, (void)w;
    return 1;
  }
  virtual void run(const PanelTask<Stored>& task, int path) const = 0;
  virtual void run_any(const PanelTask<T>& task, const MagnitudeRange& x,
                       const MagnitudeRange& w) const {
    (void)task, (void)x, (void)w;
  }
  virtual bool needs_ranges() const { return false; }
  // Puts columns of k values each into a panel; for bytes the kernel's task.
  virtual void store(const T* values, int64_t panel, int64_t columns, Stored* to);
  // Panels of one task, for so many rows: several, so that enough sums are under way at once.
  virtual int64_t panels_at_once(int64_t rows) const { return rows <= 2 ? 4 : 1; }
  const Stored* panels() const { return panels_; }

  // Of all panels whose weights are normal numbers and zeros.
  const MagnitudeRange& normal_range() const { return normal_range_; }

 private:
  struct Batch;
  void run_task(const Batch& batch, int64_t first_row, int64_t rows, int64_t panel,
                int64_t panels) const;
  void read_row(const RowReader& x, int64_t row, const CommonGroups& common, float* scales,
                T* to) const;
  template <class Element>
  PanelTask<Element> task_of(const Batch& batch, int64_t row, int64_t rows, int64_t panel,
                             int64_t panels) const;
  const T* decoded(int64_t panel, int64_t panels) const;
  int64_t stored_k() const { return k_in_pairs ? (k_ + 1) / 2 * 2 : k_; }

  static constexpr bool k_in_pairs = std::is_same_v<Stored, uint16_t>;

  Arithmetic arithmetic_;
  KernelKind kind_;
  int64_t n_;
  int64_t k_;
  Quantiser x_quantiser_;
  Quantiser w_quantiser_;
  Scaler x_scaler_;
  Scaler w_scaler_;
  std::vector<int64_t> run_ends_;
  bool in_blocks_ = false;
  Scratch<Stored> data_;
  Stored* panels_ = nullptr;
  std::vector<MagnitudeRange> ranges_;  // of each panel
  MagnitudeRange normal_range_;
  std::vector<float> w_scales_;  // as in PanelTask
};

// What a kernel's pack() gives: weights of its class, made from `arguments`, and packed.
template <class Weights, class... Arguments>
std::unique_ptr<PackedWeights> pack_panels(const RowReader& w, ThreadPool& pool,
                                           const Arguments&... arguments) {
  auto weights = std::make_unique<Weights>(arguments...);
  weights->pack(w, pool);
  return weights;
}

extern template class PanelWeights<float>;
extern template class PanelWeights<double>;
extern template class PanelWeights<float, uint16_t>;
extern template class PanelWeights<float, uint8_t>;

}  // namespace napier
