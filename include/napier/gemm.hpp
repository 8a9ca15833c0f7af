// Matrix multiplication under an Arithmetic.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "napier/arithmetic.hpp"
#include "napier/thread_pool.hpp"
#include "napier/treatment.hpp"

namespace napier {

// out[m][n] = sum over k of x[m][k] * w[n][k]: activations (tokens) x, weights (output channels) w,
// both with k contiguous, as ggml stores them.
struct Shape {
  int64_t m = 0;
  int64_t n = 0;
  int64_t k = 0;
};

enum class KernelKind : uint8_t {
  reference,  // scalar, exact integers: serves everything, the oracle of the others
  dot,        // 16-bit codes, the bf16 dot product of some processors
  native,     // exact products of decoded values, f32 lanes
  bilinear,   // L-Mul's formula reading, f32 lanes
  adder,      // products by integer addition of f32 patterns
  narrow,     // exact products, sums rounded after each addition, f32 lanes
  table,      // products of 8-bit codes looked up, f32 sums
  wide,       // any product and any rounded sum, f64 lanes
  aligned,    // products cut to a common exponent, f64 lanes
};

std::string_view kernel_name(KernelKind kind);

// Which kernel runs an arithmetic and why, in a sentence for people. Every kernel gives the bits of
// the reference, so the choice is one of speed alone. Kernels that are exact only for a range of
// exponents check the data while packing and hand over to `wide` where it leaves that range.
struct Lowering {
  KernelKind kernel = KernelKind::reference;
  std::string reason;
};

Lowering lower(const Arithmetic& arithmetic, const Shape& shape);

// Every kernel that is exact for an arithmetic on any data, the one lower() picks first.
std::vector<KernelKind> legal_kernels(const Arithmetic& arithmetic, const Shape& shape);

// Writes row `row` of a matrix (k floats) to `out`. Called from several threads at once.
using RowReader = std::function<void(int64_t row, float* out)>;

// For readers of rows in memory: copies k floats and asks for the row after them, `stride` floats
// further, as processors themselves do not look ahead beyond a page.
inline void copy_row(const float* row, int64_t stride, int64_t k, float* out) {
  constexpr int64_t line = 64 / sizeof(float);
  for (int64_t i = 0; i < k; i += line) __builtin_prefetch(row + stride + i);
  std::copy_n(row, k, out);
}

// Of a matrix multiplication's scalar ones, those that treatments change.
struct TreatedCounts {
  uint64_t skipped = 0;  // by a difference that is zero, which need not be done
  uint64_t apart = 0;    // in columns of outliers, which go their own way

  TreatedCounts& operator+=(const TreatedCounts& more) {
    skipped += more.skipped;
    apart += more.apart;
    return *this;
  }
};

// What a treatment keeps of one matrix multiplication from call to call, of rows that follow each
// other, and counts in it.
struct MatmulHistory {
  std::vector<double> row;  // delta: the last row of x, in multiples of theta; empty: there is none
  std::vector<float> result;  // and its result
  TreatedCounts counts;       // of all calls

  void forget() { row.clear(); }
};

// Weights made ready for one arithmetic: quantised, decoded and laid out for its kernel.
// Immutable; may be used by several threads at once.
class PackedWeights {
 public:
  virtual ~PackedWeights() = default;

  virtual const Arithmetic& arithmetic() const = 0;
  virtual KernelKind kernel() const = 0;
  virtual int64_t n() const = 0;
  virtual int64_t k() const = 0;
  virtual size_t bytes() const = 0;  // memory held

  // out[i * out_stride + j], i < m, j < n, from m rows of activations. All of `pool` works on it;
  // the bits do not depend on its size. Rows are independent of each other, unless x is scaled per
  // tensor.
  virtual void multiply(int64_t m, const RowReader& x, float* out, int64_t out_stride,
                        ThreadPool& pool) const = 0;
  // The same of rows that come after those of the last call with this history. Only treatments
  // have any; a history is used by one call at a time.
  virtual void multiply_after(MatmulHistory& history, int64_t m, const RowReader& x, float* out,
                              int64_t out_stride, ThreadPool& pool) const;
};

// Throws Error where the arithmetic cannot run at this shape (a block that does not divide k).
// `kernel` forces one of legal_kernels(). Example:
//   ThreadPool pool(2);
//   auto w = pack_weights(parse_arithmetic("lmul-m4"), n, k, read_w, pool);
//   w->multiply(m, read_x, out, n, pool);
std::unique_ptr<PackedWeights> pack_weights(const Arithmetic& arithmetic, int64_t n, int64_t k,
                                            const RowReader& w, ThreadPool& pool,
                                            std::optional<KernelKind> kernel = std::nullopt);

// The same within the treatments of a rule. `w` is kept and may be read again while the result
// lives; a treatment's own product has the sums of its arithmetic and is added in f32. Throws Error
// where a treatment lacks its numbers, or they are of another shape.
std::unique_ptr<PackedWeights> pack_weights(const Arithmetic& arithmetic,
                                            std::span<const Treatment> treatments, int64_t n,
                                            int64_t k, const RowReader& w, ThreadPool& pool);

// The scalar reference: plain enough to be checked by reading, the oracle of every kernel.
// x is m rows of k floats, w n rows of k floats, out m rows of n floats, all dense.
//
// Per output: operands scaled and quantised; products in order of k, each multiplied and rounded as
// the multiplier says; sums rounded as the accumulator says. Where an operand is scaled in blocks,
// each run of k within which all scales are constant is summed from zero, times its scales, and the
// runs are added in f32; otherwise the sum is multiplied once by the two scales. The result is
// rounded to f32 (to nearest even, overflowing to infinity).
void reference_gemm(const Arithmetic& arithmetic, const Shape& shape, const float* x,
                    const float* w, float* out);

}  // namespace napier
