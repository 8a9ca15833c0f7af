// Treatments: packed weights around packed weights.
#include <array>
#include <atomic>
#include <cmath>
#include <utility>
#include <vector>

#include "kernels/quantise.hpp"
#include "napier/error.hpp"
#include "napier/gemm.hpp"

namespace napier {
namespace {

using Packed = std::unique_ptr<PackedWeights>;

struct Matrix {
  int64_t n;
  int64_t k;
  RowReader w;
};
// Makes what lies within a treatment, of weights that the treatment may have changed.
using Inner = std::function<Packed(const RowReader& w)>;

class Around : public PackedWeights {
 public:
  Around(Packed inner, int64_t k) : inner_(std::move(inner)), k_(k) {}

  const Arithmetic& arithmetic() const override { return inner_->arithmetic(); }
  KernelKind kernel() const override { return inner_->kernel(); }
  int64_t n() const override { return inner_->n(); }
  int64_t k() const override { return k_; }
  size_t bytes() const override { return inner_->bytes(); }

  void multiply(int64_t m, const RowReader& x, float* out, int64_t stride,
                ThreadPool& pool) const override {
    MatmulHistory none;
    multiply_after(none, m, x, out, stride, pool);
  }

 protected:
  const PackedWeights& inner() const { return *inner_; }

 private:
  Packed inner_;
  int64_t k_;
};

// A row of the matrix that `read` gives, for as long as this thread asks for no other.
const float* row_in_scratch(const RowReader& read, int64_t row, int64_t k) {
  thread_local std::vector<float> memory;
  memory.resize(static_cast<size_t>(k));
  read(row, memory.data());
  return memory.data();
}

void add_rows(const std::vector<float>& from, int64_t m, int64_t n, float* out, int64_t stride) {
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) out[i * stride + j] += from[static_cast<size_t>(i * n + j)];
  }
}

// ---- result ----

class RoundedResult : public Around {
 public:
  RoundedResult(Packed inner, int64_t k, const Operand& operand)
      : Around(std::move(inner), k), quantiser_(operand), scaler_(operand, n()) {}

  void multiply_after(MatmulHistory& history, int64_t m, const RowReader& x, float* out,
                      int64_t stride, ThreadPool& pool) const override {
    inner().multiply_after(history, m, x, out, stride, pool);
    const RowReader read = [&](int64_t row, float* to) {
      std::copy_n(out + row * stride, n(), to);
    };
    const Group tensor = scaler_.tensor_group(m, read, pool);
    pool.parallel_for(m, [&](int64_t row) { round(out + row * stride, tensor); });
  }

 private:
  void round(float* row, const Group& tensor) const {
    std::vector<Group> groups(static_cast<size_t>(scaler_.groups()), tensor);
    if (scaler_.is_scaled()) scaler_.choose(row, tensor, groups.data());
    const int64_t length = scaler_.group() == 0 ? n() : scaler_.group();
    std::vector<double> values(static_cast<size_t>(length));
    for (size_t g = 0; g < groups.size(); ++g) {
      const Group& group = groups[g];
      float* first = row + static_cast<int64_t>(g) * length;
      quantiser_(first, length, group, static_cast<int64_t>(g) * length, values.data());
      for (int64_t i = 0; i < length; ++i) {
        first[i] = static_cast<float>(values[static_cast<size_t>(i)] * double{group.scale});
      }
    }
  }

  Quantiser quantiser_;
  Scaler scaler_;
};

Packed around_result(const Treatment& treatment, const Matrix& matrix, const Inner& inner,
                     ThreadPool&) {
  return std::make_unique<RoundedResult>(inner(matrix.w), matrix.k, treatment.operand);
}

// ---- equalise ----

class Equalised : public Around {
 public:
  Equalised(Packed inner, std::shared_ptr<const MatrixNumbers> numbers)
      : Around(std::move(inner), static_cast<int64_t>(numbers->factors.size())),
        numbers_(std::move(numbers)) {}

  void multiply_after(MatmulHistory& history, int64_t m, const RowReader& x, float* out,
                      int64_t stride, ThreadPool& pool) const override {
    const std::vector<float>& factors = numbers_->factors;
    const RowReader divided = [&](int64_t row, float* to) {
      x(row, to);
      for (size_t i = 0; i < factors.size(); ++i) to[i] /= factors[i];
    };
    inner().multiply_after(history, m, divided, out, stride, pool);
  }

 private:
  std::shared_ptr<const MatrixNumbers> numbers_;
};

Packed around_equalise(const Treatment& treatment, const Matrix& matrix, const Inner& inner,
                       ThreadPool&) {
  const std::shared_ptr<const MatrixNumbers> numbers = treatment.numbers;
  if (static_cast<int64_t>(numbers->factors.size()) != matrix.k) {
    throw Error("the factors are " + std::to_string(numbers->factors.size()) + ", the columns " +
                std::to_string(matrix.k) + ": they were computed for another model");
  }
  Packed within = inner([numbers, w = matrix.w](int64_t row, float* to) {
    w(row, to);
    for (size_t i = 0; i < numbers->factors.size(); ++i) to[i] *= numbers->factors[i];
  });
  return std::make_unique<Equalised>(std::move(within), numbers);
}

// ---- delta ----

class Differences : public Around {
 public:
  Differences(Packed inner, int64_t k, double theta) : Around(std::move(inner), k), theta_(theta) {}

  // The first row of all is a difference from zeros.
  void multiply_after(MatmulHistory& history, int64_t m, const RowReader& x, float* out,
                      int64_t stride, ThreadPool& pool) const override {
    std::vector<float> differences(static_cast<size_t>(m * k()));
    const bool first = history.row.empty();
    history.row.resize(static_cast<size_t>(k()));
    history.result.resize(static_cast<size_t>(n()));
    std::vector<double>& before = history.row;
    for (int64_t row = 0; row < m; ++row) {
      float* to = differences.data() + row * k();
      x(row, to);
      for (int64_t i = 0; i < k(); ++i) {
        const double multiple = std::nearbyint(double{to[i]} / theta_);
        to[i] = static_cast<float>((multiple - before[static_cast<size_t>(i)]) * theta_);
        before[static_cast<size_t>(i)] = multiple;
        if (to[i] == 0) history.skipped += static_cast<uint64_t>(n());
      }
    }
    const RowReader read = [&](int64_t row, float* to) {
      std::copy_n(differences.data() + row * k(), k(), to);
    };
    inner().multiply_after(history, m, read, out, stride, pool);
    for (int64_t row = first ? 1 : 0; row < m; ++row) {
      const float* last = row == 0 ? history.result.data() : out + (row - 1) * stride;
      for (int64_t j = 0; j < n(); ++j) out[row * stride + j] += last[j];
    }
    std::copy_n(out + (m - 1) * stride, n(), history.result.data());
  }

 private:
  double theta_;
};

Packed around_delta(const Treatment& treatment, const Matrix& matrix, const Inner& inner,
                    ThreadPool&) {
  return std::make_unique<Differences>(inner(matrix.w), matrix.k, treatment.number);
}

// ---- lowrank ----

class Corrected : public Around {
 public:
  Corrected(Packed inner, int64_t k, Packed left, Packed right)
      : Around(std::move(inner), k), left_(std::move(left)), right_(std::move(right)) {}

  size_t bytes() const override { return inner().bytes() + left_->bytes() + right_->bytes(); }

  void multiply_after(MatmulHistory& history, int64_t m, const RowReader& x, float* out,
                      int64_t stride, ThreadPool& pool) const override {
    inner().multiply_after(history, m, x, out, stride, pool);
    const int64_t rank = right_->n();
    std::vector<float> middle(static_cast<size_t>(m * rank));
    std::vector<float> correction(static_cast<size_t>(m * n()));
    right_->multiply(m, x, middle.data(), rank, pool);
    const RowReader read = [&](int64_t row, float* to) {
      std::copy_n(middle.data() + row * rank, rank, to);
    };
    left_->multiply(m, read, correction.data(), n(), pool);
    add_rows(correction, m, n(), out, stride);
  }

 private:
  Packed left_;   // n x rank
  Packed right_;  // rank x k
};

Packed around_lowrank(const Treatment& treatment, const Matrix& matrix, const Inner& inner,
                      ThreadPool& pool) {
  const MatrixNumbers& numbers = *treatment.numbers;
  const auto rank = static_cast<int64_t>(numbers.right.size()) / matrix.k;
  if (rank == 0 || static_cast<int64_t>(numbers.right.size()) != rank * matrix.k ||
      static_cast<int64_t>(numbers.left.size()) != matrix.n * rank) {
    throw Error("the low-rank factors do not fit a matrix of " + std::to_string(matrix.n) + " x " +
                std::to_string(matrix.k) + ": they were computed for another model");
  }
  const auto pack = [&](int64_t rows, int64_t k, const std::vector<float>& data) {
    const RowReader read = [&](int64_t row, float* to) {
      std::copy_n(data.data() + row * k, k, to);
    };
    return pack_weights(treatment.arithmetic, rows, k, read, pool);
  };
  return std::make_unique<Corrected>(inner(matrix.w), matrix.k, pack(matrix.n, rank, numbers.left),
                                     pack(rank, matrix.k, numbers.right));
}

// ---- outliers ----

class Split : public Around {
 public:
  Split(Packed inner, const Treatment& treatment, const Matrix& matrix)
      : Around(std::move(inner), matrix.k), treatment_(treatment), w_(matrix.w) {}

  void multiply_after(MatmulHistory& history, int64_t m, const RowReader& x, float* out,
                      int64_t stride, ThreadPool& pool) const override {
    const std::vector<int64_t> columns = outliers(m, x, pool);
    if (columns.empty()) {
      inner().multiply_after(history, m, x, out, stride, pool);
      return;
    }
    const RowReader rest = [&](int64_t row, float* to) {
      x(row, to);
      for (const int64_t column : columns) to[column] = 0;
    };
    inner().multiply_after(history, m, rest, out, stride, pool);

    const auto gathered = [&](const RowReader& read) -> RowReader {
      return [&, read](int64_t row, float* to) {
        const float* whole = row_in_scratch(read, row, k());
        for (size_t i = 0; i < columns.size(); ++i) to[i] = whole[columns[i]];
      };
    };
    const auto count = static_cast<int64_t>(columns.size());
    const Packed own = pack_weights(treatment_.arithmetic, n(), count, gathered(w_), pool);
    std::vector<float> product(static_cast<size_t>(m * n()));
    own->multiply(m, gathered(x), product.data(), n(), pool);
    add_rows(product, m, n(), out, stride);
  }

 private:
  // Of the rows that are multiplied together, as LLM.int8() has it.
  std::vector<int64_t> outliers(int64_t m, const RowReader& x, ThreadPool& pool) const {
    std::vector<std::atomic<bool>> reached(static_cast<size_t>(k()));
    pool.parallel_for(m, [&](int64_t row) {
      const float* values = row_in_scratch(x, row, k());
      for (int64_t i = 0; i < k(); ++i) {
        if (double{std::fabs(values[i])} >= treatment_.number)
          reached[static_cast<size_t>(i)] = true;
      }
    });
    std::vector<int64_t> columns;
    for (int64_t i = 0; i < k(); ++i) {
      if (reached[static_cast<size_t>(i)]) columns.push_back(i);
    }
    return columns;
  }

  Treatment treatment_;
  RowReader w_;
};

Packed around_outliers(const Treatment& treatment, const Matrix& matrix, const Inner& inner,
                       ThreadPool&) {
  return std::make_unique<Split>(inner(matrix.w), treatment, matrix);
}

// In the order of TreatmentKind.
using Wrap = Packed (*)(const Treatment&, const Matrix&, const Inner&, ThreadPool&);
constexpr std::array<Wrap, 5> k_wraps = {around_result, around_equalise, around_delta,
                                         around_lowrank, around_outliers};

}  // namespace

void PackedWeights::multiply_after(MatmulHistory&, int64_t m, const RowReader& x, float* out,
                                   int64_t out_stride, ThreadPool& pool) const {
  multiply(m, x, out, out_stride, pool);
}

std::unique_ptr<PackedWeights> pack_weights(const Arithmetic& arithmetic,
                                            std::span<const Treatment> treatments, int64_t n,
                                            int64_t k, const RowReader& w, ThreadPool& pool) {
  if (treatments.empty()) return pack_weights(arithmetic, n, k, w, pool);
  const Treatment& treatment = treatments.front();
  const TreatmentForm& form = form_of(treatment.kind);
  if (!form.needs.empty() && !treatment.numbers) {
    throw Error(std::string(form.name) + " needs its " + std::string(form.needs) +
                ", which `napier quantize` computes for a recipe and a model");
  }
  const Inner inner = [&](const RowReader& changed) {
    return pack_weights(arithmetic, treatments.subspan(1), n, k, changed, pool);
  };
  return k_wraps[static_cast<size_t>(treatment.kind)](treatment, {n, k, w}, inner, pool);
}

}  // namespace napier
