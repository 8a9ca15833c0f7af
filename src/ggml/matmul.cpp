#include "ggml/matmul.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "ggml/tensors.hpp"
#include "napier/error.hpp"

namespace napier {
namespace {

using Packed = WeightCache::Packed;

// The rows of a matrix that are packed at once: all of them, unless they could not be kept at a
// byte a weight. Such a matrix (a model's output under a small budget) is packed, multiplied and
// dropped part by part, so that it is never in memory as a whole.
int64_t rows_at_once(const ggml_tensor* w, const MatmulContext& context) {
  const auto& scaling = context.arithmetic.w.scaling;
  const bool splits = context.buffer != 0 && context.treatments.empty() &&
                      static_cast<size_t>(w->ne[0] * w->ne[1]) > context.cache_bytes &&
                      std::none_of(scaling.begin(), scaling.end(), [](const ScaleLevel& level) {
                        return level.granularity == Granularity::tensor;
                      });
  if (!splits) return w->ne[1];
  constexpr int64_t k_part = int64_t{1} << 22;  // weights
  return std::max<int64_t>(64, k_part / w->ne[0] / 64 * 64);
}

// Rows of one matrix of the first operand, made ready.
Packed packed_matrix(const ggml_tensor* w, int64_t i2, int64_t i3, int64_t first, int64_t rows,
                     const MatmulContext& context, ThreadPool& pool) {
  const bool keep = context.buffer != 0;
  // A copy of what says where the numbers lie: what is packed may read them again.
  const RowReader reader = [=, tensor = *w](int64_t row, float* out) {
    read_row(&tensor, first + row, i2, i3, out);
    if (!keep) return;
    for (int64_t i = 0; i < tensor.ne[0]; i++) {
      if (!std::isfinite(out[i])) {
        throw Error("weight " + std::to_string(i) + " of row " + std::to_string(first + row) +
                    " is not a finite number: the model file is damaged");
      }
    }
  };
  const auto pack = [&]() -> Packed {
    return pack_weights(context.arithmetic, context.treatments, rows, w->ne[0], reader, pool);
  };
  if (!keep || rows < w->ne[1]) return pack();
  PackedKey key;
  key.buffer = context.buffer;
  key.data = static_cast<const char*>(w->data) + i2 * w->nb[2] + i3 * w->nb[3];
  key.type = w->type;
  key.n = w->ne[1];
  key.k = w->ne[0];
  key.row_stride = w->nb[1];
  key.element_stride = w->nb[0];
  key.arithmetic = context.arithmetic_id;
  return context.cache.get(key, context.cache_bytes, pack);
}

float* row_of(const ggml_tensor* out, int64_t i1, int64_t i2, int64_t i3) {
  return reinterpret_cast<float*>(static_cast<char*>(out->data) + i1 * out->nb[1] +
                                  i2 * out->nb[2] + i3 * out->nb[3]);
}

// Runs task(i, pool) for each of `count` matrices: several at a time, each on one thread, where
// there are enough of them, as attention's are too small to be shared between threads.
void for_each_matrix(int64_t count, ThreadPool& pool,
                     const std::function<void(int64_t index, ThreadPool& pool)>& task) {
  if (count < 2 * pool.size()) {
    for (int64_t i = 0; i < count; i++) task(i, pool);
    return;
  }
  pool.parallel_for(count, [&](int64_t i) {
    thread_local ThreadPool alone(1);
    task(i, alone);
  });
}

// Matrices of w serve r2 x r3 matrices of x each (grouped queries share a K head). The r2 lie one
// after the other in the output, so they are one multiplication with r2 times the rows.
MatmulDone compute_mul_mat(const ggml_tensor* out, const MatmulContext& context) {
  const ggml_tensor* w = out->src[0];
  const ggml_tensor* x = out->src[1];
  const int64_t rows = x->ne[1];
  const int64_t r2 = x->ne[2] / w->ne[2];
  const int64_t r3 = x->ne[3] / w->ne[3];
  const bool stacked = out->nb[2] == static_cast<size_t>(rows) * out->nb[1];
  const int64_t together = stacked ? r2 : 1;

  // Rows of other matrices are no history of a row.
  const bool one_matrix = w->ne[2] * w->ne[3] * r2 * r3 == 1;
  std::atomic<KernelKind> kernel = KernelKind::reference;
  std::atomic<uint64_t> skipped = 0, apart = 0;
  const int64_t part = rows_at_once(w, context);
  const auto one = [&](int64_t index, ThreadPool& pool) {
    const int64_t w2 = index % w->ne[2];
    const int64_t w3 = index / w->ne[2];
    for (int64_t first = 0; first < w->ne[1]; first += part) {
      const int64_t count = std::min(part, w->ne[1] - first);
      const Packed packed = packed_matrix(w, w2, w3, first, count, context, pool);
      kernel = packed->kernel();
      for (int64_t x3 = w3 * r3; x3 < (w3 + 1) * r3; x3++) {
        for (int64_t x2 = w2 * r2; x2 < (w2 + 1) * r2; x2 += together) {
          const RowReader reader = [=](int64_t row, float* to) {
            read_row(x, row % rows, x2 + row / rows, x3, to);
          };
          MatmulHistory none;
          MatmulHistory& history = one_matrix && context.history ? *context.history : none;
          const TreatedCounts before = history.counts;
          packed->multiply_after(history, rows * together, reader, row_of(out, 0, x2, x3) + first,
                                 static_cast<int64_t>(out->nb[1] / sizeof(float)), pool);
          skipped += history.counts.skipped - before.skipped;
          apart += history.counts.apart - before.apart;
        }
      }
    }
  };
  for_each_matrix(w->ne[2] * w->ne[3], context.pool, one);
  return {kernel, {skipped, apart}};
}

// The columns of a matrix as rows for a multiplication. Those that do not lie one element after the
// other are gathered first, in squares that stay in the cache.
class MatrixColumns {
 public:
  MatrixColumns(const ggml_tensor* matrix, int64_t i2, int64_t i3, ThreadPool& pool)
      : count_(matrix->ne[1]) {
    const char* base =
        static_cast<const char*>(matrix->data) + i2 * matrix->nb[2] + i3 * matrix->nb[3];
    size_t row_step = matrix->nb[0], step = matrix->nb[1];  // of what is a row here
    const int64_t rows = matrix->ne[0], count = count_;
    if (matrix->type != GGML_TYPE_F32) {
      decoded_.resize(static_cast<size_t>(rows * count));
      pool.parallel_for(count, [&](int64_t column) {
        read_row(matrix, column, i2, i3, decoded_.data() + column * rows);
      });
      base = reinterpret_cast<const char*>(decoded_.data());
      row_step = sizeof(float);
      step = static_cast<size_t>(rows) * sizeof(float);
    }
    if (step == sizeof(float)) {
      rows_ = reinterpret_cast<const float*>(base);
      stride_ = static_cast<int64_t>(row_step / sizeof(float));
      return;
    }
    gathered_.resize(static_cast<size_t>(rows * count));
    rows_ = gathered_.data();
    stride_ = count;
    // Squares are read along the columns and turned in registers and the nearest cache.
    constexpr int64_t side = 16;
    pool.parallel_for((rows + side - 1) / side, [&](int64_t strip) {
      const int64_t begin = strip * side, height = std::min(rows - begin, side);
      for (int64_t k = 0; k < count; k += side) {
        const int64_t width = std::min(count - k, side);
        float square[side][side];
        for (int64_t i = 0; i < width; i++) {
          const char* from = base + begin * row_step + (k + i) * step;
          if (row_step == sizeof(float) && height == side) {
            std::memcpy(square[i], from, sizeof square[i]);  // one move of a vector
            continue;
          }
          for (int64_t row = 0; row < height; row++) {
            std::memcpy(&square[i][row], from + row * row_step, sizeof(float));
          }
        }
        for (int64_t row = 0; row < height; row++) {
          float* to = gathered_.data() + (begin + row) * count + k;
          for (int64_t i = 0; i < width; i++) to[i] = square[i][row];
        }
      }
    });
  }

  // Lives no longer than this object.
  RowReader reader() const {
    return [this](int64_t row, float* to) { copy_row(rows_ + row * stride_, stride_, count_, to); };
  }

 private:
  int64_t count_, stride_;
  const float* rows_;
  std::vector<float> decoded_, gathered_;
};

// Gradients: a [n, k], b [m, k], out [n, m]. Matrices of a serve several of b.
MatmulDone compute_out_prod(const ggml_tensor* out, const MatmulContext& context) {
  const ggml_tensor* a = out->src[0];
  const ggml_tensor* b = out->src[1];
  const ggml_tensor* at = out->src[2];
  const int64_t n = a->ne[0], m = b->ne[0], k = a->ne[1];
  std::atomic<KernelKind> kernel = KernelKind::reference;
  const auto one = [&](int64_t index, ThreadPool& pool) {
    const int64_t i2 = index % out->ne[2];
    const int64_t i3 = index / out->ne[2];
    const int64_t a2 = i2 / (out->ne[2] / a->ne[2]), a3 = i3 / (out->ne[3] / a->ne[3]);
    const int64_t at2 = at ? i2 / (out->ne[2] / at->ne[2]) : 0;
    const int64_t at3 = at ? i3 / (out->ne[3] / at->ne[3]) : 0;
    const MatrixColumns x(b, i2, i3, pool);
    float* to = row_of(out, 0, i2, i3);
    const auto stride = static_cast<int64_t>(out->nb[1] / sizeof(float));
    if (at) {
      const DerivativeOperands operands = {
          .at = [=](int64_t row, float* values) { read_row(at, row, at2, at3, values); },
          .other = [=](int64_t row, float* values) { read_row(a, row, a2, a3, values); },
          .gradient = x.reader()};
      own_derivative(context.arithmetic, static_cast<Side>(out->op_params[0]), {m, n, k}, operands,
                     to, stride, pool);
      return;
    }
    const MatrixColumns w(a, a2, a3, pool);
    const auto packed = pack_weights(context.arithmetic, n, k, w.reader(), pool);
    kernel = packed->kernel();
    packed->multiply(m, x.reader(), to, stride, pool);
  };
  for_each_matrix(out->ne[2] * out->ne[3], context.pool, one);
  return {kernel, {}};
}

// w holds a matrix for each expert; ids[slot, token] names the one that multiplies row
// (slot mod x->ne[1], token) of x. Each expert's rows are gathered, multiplied and put back.
MatmulDone compute_mul_mat_id(const ggml_tensor* out, const MatmulContext& context) {
  const ggml_tensor* w = out->src[0];
  const ggml_tensor* x = out->src[1];
  const ggml_tensor* ids = out->src[2];
  struct Place {
    int64_t slot, token;
  };
  std::vector<std::vector<Place>> places(w->ne[2]);
  for (int64_t token = 0; token < ids->ne[1]; token++) {
    for (int64_t slot = 0; slot < ids->ne[0]; slot++) {
      int32_t expert = 0;
      std::memcpy(&expert,
                  static_cast<const char*>(ids->data) + token * ids->nb[1] + slot * ids->nb[0],
                  sizeof expert);
      if (expert < 0 || expert >= w->ne[2]) {
        throw Error("expert " + std::to_string(expert) + " was chosen of only " +
                    std::to_string(w->ne[2]));
      }
      places[expert].push_back({slot, token});
    }
  }

  MatmulDone done;
  const int64_t n = w->ne[1];
  std::vector<float> results;
  for (int64_t expert = 0; expert < w->ne[2]; expert++) {
    const std::vector<Place>& rows = places[expert];
    if (rows.empty()) continue;
    const Packed packed = packed_matrix(w, expert, 0, 0, n, context, context.pool);
    done.kernel = packed->kernel();
    const RowReader reader = [&](int64_t row, float* to) {
      read_row(x, rows[row].slot % x->ne[1], rows[row].token, 0, to);
    };
    results.resize(rows.size() * n);
    MatmulHistory none;  // an expert's rows do not follow each other
    packed->multiply_after(none, static_cast<int64_t>(rows.size()), reader, results.data(), n,
                           context.pool);
    done.treated += none.counts;
    for (size_t row = 0; row < rows.size(); row++) {
      std::memcpy(row_of(out, rows[row].slot, rows[row].token, 0), results.data() + row * n,
                  n * sizeof(float));
    }
  }
  return done;
}

}  // namespace

MatmulDone compute_matmul(const ggml_tensor* node, const MatmulContext& context) {
  if (node->type != GGML_TYPE_F32 || node->nb[0] != sizeof(float)) {
    throw Error("its result must be of type f32 with adjacent elements");
  }
  for (int operand = 0; operand < 2; operand++) {
    if (!is_readable(node->src[operand])) {
      throw Error(std::string("an operand of type ") + ggml_type_name(node->src[operand]->type) +
                  " cannot be read as f32");
    }
  }
  switch (node->op) {
    case GGML_OP_MUL_MAT: return compute_mul_mat(node, context);
    case GGML_OP_OUT_PROD: {
      // What takes microseconds is done before another thread wakes.
      constexpr int64_t k_worth_sharing = 1 << 19;
      if (ggml_nelements(node) * node->src[0]->ne[1] >= k_worth_sharing) {
        return compute_out_prod(node, context);
      }
      thread_local ThreadPool alone(1);
      const MatmulContext single = {
          .arithmetic = context.arithmetic, .pool = alone, .cache = context.cache};
      return compute_out_prod(node, single);
    }
    default: return compute_mul_mat_id(node, context);
  }
}

void take_own_derivative(ggml_tensor* out_prod, ggml_tensor* at, Side side) {
  out_prod->src[2] = at;
  out_prod->op_params[0] = static_cast<int32_t>(side);
}

}  // namespace napier
