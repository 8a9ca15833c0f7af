// Products of arrays. Arrays come as float32 in the CPU's memory, with any strides; what else there
// is of array types python/napier/_arrays.py has made that of it.
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "bindings.hpp"
#include "kernels/elementwise.hpp"
#include "napier/error.hpp"
#include "napier/gemm.hpp"
#include "pool.hpp"

namespace napier::python {
namespace {

using Input = nb::ndarray<const float, nb::device::cpu>;
using Dense = nb::ndarray<const float, nb::c_contig, nb::device::cpu>;
using Output = nb::ndarray<float, nb::c_contig, nb::device::cpu>;

// One matrix of rows of k elements, strides in elements.
struct Rows {
  const float* data;
  int64_t rows;
  int64_t k;
  int64_t row_stride;
  int64_t stride;  // along k

  RowReader reader() const {
    return [*this](int64_t row, float* to) {
      const float* from = data + row * row_stride;
      if (stride == 1) return copy_row(from, row_stride, k, to);
      for (int64_t i = 0; i < k; ++i) to[i] = from[i * stride];
    };
  }
};

// Four numbers at once: GCC's and Clang's own vectors, on any processor.
using Four = float __attribute__((vector_size(16)));

// to[j * stride + i] = from[i][j], i, j < 4.
void transpose(const Four (&from)[4], float* to, int64_t stride) {
  const Four low01 = __builtin_shufflevector(from[0], from[1], 0, 4, 1, 5);
  const Four low23 = __builtin_shufflevector(from[2], from[3], 0, 4, 1, 5);
  const Four high01 = __builtin_shufflevector(from[0], from[1], 2, 6, 3, 7);
  const Four high23 = __builtin_shufflevector(from[2], from[3], 2, 6, 3, 7);
  const Four columns[4] = {__builtin_shufflevector(low01, low23, 0, 1, 4, 5),
                           __builtin_shufflevector(low01, low23, 2, 3, 6, 7),
                           __builtin_shufflevector(high01, high23, 0, 1, 4, 5),
                           __builtin_shufflevector(high01, high23, 2, 3, 6, 7)};
  for (int64_t j = 0; j < 4; ++j) std::memcpy(to + j * stride, &columns[j], sizeof(Four));
}

// Rows that lie across the memory are read sixteen at a time, which are one cache line of each k,
// and kept by the thread until another sixteen are asked for: packing takes them in turn.
struct Neighbours {
  static constexpr int64_t count = 16;

  uint64_t reader = 0;  // whose they are; 0: nobody's
  int64_t first = 0;
  int64_t stride = 0;
  std::vector<float> rows;

  void read(const Rows& matrix, int64_t from) {
    // Rows whose distance is a power of two would displace each other from the cache.
    stride = matrix.k + 16;
    rows.resize(static_cast<size_t>(count * stride));
    const float* corner = matrix.data + from * matrix.row_stride;
    const int64_t have = std::min(count, matrix.rows - from);
    const int64_t fours = matrix.row_stride == 1 && have == count ? matrix.k / 4 * 4 : 0;
    // Every k is a page of its own, of which the processor fetches nothing ahead by itself.
    constexpr int64_t ahead = 32;
    for (int64_t i = 0; i < fours; i += 4) {
      for (int64_t j = i + ahead; j < std::min(i + ahead + 4, fours); ++j) {
        __builtin_prefetch(corner + j * matrix.stride);
        __builtin_prefetch(corner + j * matrix.stride + count - 1);  // not aligned: the next line
      }
      for (int64_t row = 0; row < count; row += 4) {
        Four block[4];
        for (int64_t j = 0; j < 4; ++j) {
          std::memcpy(&block[j], corner + (i + j) * matrix.stride + row, sizeof(Four));
        }
        transpose(block, rows.data() + row * stride + i, stride);
      }
    }
    for (int64_t row = 0; row < have; ++row) {
      for (int64_t i = fours; i < matrix.k; ++i) {
        rows[row * stride + i] = corner[row * matrix.row_stride + i * matrix.stride];
      }
    }
    first = from;
  }
};

RowReader reader_across(const Rows& matrix) {
  static std::atomic<uint64_t> readers = 0;
  return [matrix, id = ++readers](int64_t row, float* to) {
    thread_local Neighbours held;
    const int64_t from = row / Neighbours::count * Neighbours::count;
    if (held.reader != id || held.first != from) {
      held.reader = 0;  // in case memory runs out
      held.read(matrix, from);
      held.reader = id;
    }
    std::copy_n(held.rows.data() + (row - from) * held.stride, matrix.k, to);
  };
}

std::unique_ptr<PackedWeights> pack(const Arithmetic& arithmetic, const Rows& w, ThreadPool& pool) {
  return pack_weights(arithmetic, w.rows, w.k, w.stride == 1 ? w.reader() : reader_across(w), pool);
}

bool scales_per_tensor(const Operand& operand) {
  return std::any_of(operand.scaling.begin(), operand.scaling.end(), [](const ScaleLevel& level) {
    return level.granularity == Granularity::tensor;
  });
}

// out[..., m, n] = a[..., m, k] b[..., k, n]: the batch's dimensions are equal, strides may be 0.
void matmul(const Arithmetic& arithmetic, Input a, Input b, Output out) {
  const size_t batch_dims = out.ndim() - 2;
  const auto m = static_cast<int64_t>(out.shape(batch_dims));
  const auto n = static_cast<int64_t>(out.shape(batch_dims + 1));
  const auto k = static_cast<int64_t>(a.shape(batch_dims + 1));
  std::vector<int64_t> a_offsets = {0};
  std::vector<int64_t> b_offsets = {0};
  for (size_t d = 0; d < batch_dims; ++d) {
    std::vector<int64_t> a_next;
    std::vector<int64_t> b_next;
    for (size_t j = 0; j < a_offsets.size(); ++j) {
      for (int64_t i = 0; i < static_cast<int64_t>(out.shape(d)); ++i) {
        a_next.push_back(a_offsets[j] + i * a.stride(d));
        b_next.push_back(b_offsets[j] + i * b.stride(d));
      }
    }
    a_offsets = std::move(a_next);
    b_offsets = std::move(b_next);
  }
  const int64_t a_row = a.stride(batch_dims);
  const int64_t a_column = a.stride(batch_dims + 1);
  const int64_t b_row = b.stride(batch_dims);
  const int64_t b_column = b.stride(batch_dims + 1);
  const float* a_data = a.data();
  const float* b_data = b.data();
  float* out_data = out.data();
  with_pool([&](ThreadPool& pool) {
    // Matrices that follow each other with the same b are one multiplication of more rows, unless
    // a scale is taken over all rows of each.
    const bool together = !scales_per_tensor(arithmetic.x);
    std::unique_ptr<PackedWeights> weights;
    for (size_t i = 0; i < a_offsets.size();) {
      size_t end = i + 1;
      while (together && end < a_offsets.size() && b_offsets[end] == b_offsets[i]) ++end;
      if (!weights || b_offsets[i] != b_offsets[i - 1]) {
        weights = pack(arithmetic, {b_data + b_offsets[i], n, k, b_column, b_row}, pool);
      }
      const auto rows = static_cast<int64_t>(end - i) * m;
      const RowReader read = [&, i](int64_t row, float* to) {
        const int64_t offset = a_offsets[i + static_cast<size_t>(row / m)];
        const Rows one{a_data + offset + row % m * a_row, 1, k, a_row, a_column};
        if (a_column == 1) return copy_row(one.data, a_row, k, to);
        for (int64_t j = 0; j < k; ++j) to[j] = one.data[j * a_column];
      };
      weights->multiply(rows, read, out_data + static_cast<int64_t>(i) * m * n, n, pool);
      i = end;
    }
  });
}

// Weights made ready once and used many times.
class Weights {
 public:
  Weights(const Arithmetic& arithmetic, nb::ndarray<const float, nb::ndim<2>, nb::device::cpu> w) {
    const Rows rows{w.data(), static_cast<int64_t>(w.shape(0)), static_cast<int64_t>(w.shape(1)),
                    w.stride(0), w.stride(1)};
    with_pool([&](ThreadPool& pool) { packed_ = pack(arithmetic, rows, pool); });
  }

  void multiply(nb::ndarray<const float, nb::ndim<2>, nb::device::cpu> x, Output out) const {
    const Rows rows{x.data(), static_cast<int64_t>(x.shape(0)), static_cast<int64_t>(x.shape(1)),
                    x.stride(0), x.stride(1)};
    float* to = out.data();
    with_pool([&](ThreadPool& pool) {
      packed_->multiply(rows.rows, rows.reader(), to, packed_->n(), pool);
    });
  }

  const PackedWeights& packed() const { return *packed_; }

 private:
  std::unique_ptr<PackedWeights> packed_;
};

// A number that differs, all but surely, between arrays that differ: eight sums that each multiply
// by an odd number a pair of floats (the mixing constants are splitmix64's).
uint64_t fingerprint(const float* values, int64_t count) {
  constexpr int64_t lanes = 8;
  uint64_t sums[lanes] = {1, 2, 3, 4, 5, 6, 7, 8};
  const auto add = [](uint64_t& sum, uint64_t word) {
    sum = (sum ^ word) * 0x9E3779B97F4A7C15u;
    sum ^= sum >> 32;
  };
  int64_t i = 0;
  for (; i + 2 * lanes <= count; i += 2 * lanes) {
    uint64_t words[lanes];
    std::memcpy(words, values + i, sizeof words);
    for (int64_t lane = 0; lane < lanes; ++lane) add(sums[lane], words[lane]);
  }
  for (; i < count; ++i) {
    uint32_t word;
    std::memcpy(&word, values + i, sizeof word);
    add(sums[0], word);
  }
  auto all = static_cast<uint64_t>(count);
  for (const uint64_t sum : sums) all = (all ^ sum ^ (sum >> 31)) * 0xBF58476D1CE4E5B9u;
  return all;
}

// Of parts, by all threads, in an order of its own.
uint64_t fingerprint(Dense values) {
  constexpr int64_t part = 1 << 18;
  const auto count = static_cast<int64_t>(values.size());
  const float* data = values.data();
  if (count <= part) {
    const nb::gil_scoped_release release;
    return fingerprint(data, count);
  }
  std::vector<uint64_t> parts(static_cast<size_t>((count + part - 1) / part));
  with_pool([&](ThreadPool& pool) {
    pool.parallel_for(static_cast<int64_t>(parts.size()), [&](int64_t i) {
      parts[static_cast<size_t>(i)] =
          fingerprint(data + i * part, std::min(part, count - i * part));
    });
  });
  uint64_t all = 0;
  for (const uint64_t one : parts) all = (all ^ one) * 0xBF58476D1CE4E5B9u + 1;
  return all;
}

}  // namespace

void bind_matmul(nb::module_& module) {
  module.def("set_threads", &set_threads, nb::arg("threads"),
             "How many threads compute, the calling one included. No result depends on it.");
  module.def("get_threads", &get_threads);
  module.def("matmul", &matmul, nb::arg("arithmetic"), nb::arg("a").noconvert(),
             nb::arg("b").noconvert(), nb::arg("out").noconvert());
  module.def(
      "multiply",
      [](const Arithmetic& arithmetic, Dense x, Dense w, int64_t rows, int64_t k, Output out) {
        with_pool([&](ThreadPool& pool) {
          multiply_elements(arithmetic, rows, k, x.data(), w.data(), out.data(), pool);
        });
      },
      nb::arg("arithmetic"), nb::arg("x").noconvert(), nb::arg("w").noconvert(), nb::arg("rows"),
      nb::arg("k"), nb::arg("out").noconvert());
  module.def(
      "quantise",
      [](const Arithmetic& arithmetic, bool of_w, Dense in, int64_t rows, int64_t k,
         nb::ndarray<double, nb::c_contig, nb::device::cpu> out) {
        with_pool([&](ThreadPool& pool) {
          quantise_elements(of_w ? arithmetic.w : arithmetic.x, rows, k, in.data(), out.data(),
                            pool);
        });
      },
      nb::arg("arithmetic"), nb::arg("of_w"), nb::arg("values").noconvert(), nb::arg("rows"),
      nb::arg("k"), nb::arg("out").noconvert());

  module.def(
      "fingerprint", [](Dense values) { return fingerprint(values); },
      nb::arg("values").noconvert());

  nb::class_<Weights>(module, "Weights")
      .def(nb::init<const Arithmetic&, nb::ndarray<const float, nb::ndim<2>, nb::device::cpu>>(),
           nb::arg("arithmetic"), nb::arg("w").noconvert())
      .def("multiply", &Weights::multiply, nb::arg("x").noconvert(), nb::arg("out").noconvert())
      .def_prop_ro("arithmetic", [](const Weights& w) { return w.packed().arithmetic(); })
      .def_prop_ro("kernel",
                   [](const Weights& w) { return std::string(kernel_name(w.packed().kernel())); })
      .def_prop_ro("n", [](const Weights& w) { return w.packed().n(); })
      .def_prop_ro("k", [](const Weights& w) { return w.packed().k(); })
      .def_prop_ro("bytes", [](const Weights& w) { return w.packed().bytes(); });
}

}  // namespace napier::python
