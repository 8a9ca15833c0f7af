// Treatments: packed weights around packed weights.
#include <array>
#include <atomic>
#include <cmath>
#include <utility>
#include <vector>

#include "kernels/quantise.hpp"
#include "napier/dyadic_number.hpp"
#include "napier/error.hpp"
#include "napier/gemm.hpp"

namespace napier {
namespace {

using Packed = std::unique_ptr<PackedWeights>;

struct Matrix {
  const Arithmetic& arithmetic;
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
    const CommonGroups common = scaler_.common_groups(m, read, pool);
    pool.parallel_for(m, [&](int64_t row) { round(out + row * stride, common); });
  }

 private:
  void round(float* row, const CommonGroups& common) const {
    std::vector<Group> groups(static_cast<size_t>(scaler_.groups()));
    if (scaler_.is_scaled()) scaler_.choose(row, common, groups.data());
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
        if (to[i] == 0) history.counts.skipped += static_cast<uint64_t>(n());
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
    history.counts.apart += static_cast<uint64_t>(m * n() * count);
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

// ---- dyadic ----

// The integers of rows, as the multiplier sees them, and each row's scale.
struct Integers {
  std::vector<float> values;
  std::vector<float> scales;

  Integers(const Operand& operand, int64_t rows, int64_t k, const RowReader& read, ThreadPool& pool)
      : values(static_cast<size_t>(rows * k)), scales(static_cast<size_t>(rows), 1.0f) {
    const Quantiser quantiser(operand);
    const Scaler scaler(operand, k);
    const CommonGroups common = scaler.common_groups(rows, read, pool);
    pool.parallel_for(rows, [&](int64_t row) {
      const float* numbers = row_in_scratch(read, row, k);
      Group group;  // blocks and columns are refused
      if (scaler.is_scaled()) scaler.choose(numbers, common, &group);
      quantiser(numbers, k, group, 0, values.data() + row * k);
      scales[static_cast<size_t>(row)] = group.scale;
    });
  }
  RowReader part(int64_t k, int64_t begin, int64_t length) const {
    return [this, k, begin, length](int64_t row, float* to) {
      std::copy_n(values.data() + row * k + begin, length, to);
    };
  }
};

// An operand without scales that takes these integers as they are.
Operand integers_of(const Operand& operand) {
  const int bits = operand.cast.format.bits();
  Operand result;
  result.cast = {operand.has_zero_point() ? Format::integer(bits + 1, true) : operand.cast.format,
                 Rounding::nearest_even, 0, Overflow::saturate};
  return result;
}

double largest_magnitude(const Operand& operand) {
  const Format format = integers_of(operand).cast.format;
  return std::max(-to_double(format.lowest()), to_double(format.max_finite()));
}

// Whether an accumulator of integers holds all sums of such a magnitude.
bool holds(const Accumulator& accumulator, double magnitude) {
  if (accumulator.is_exact()) return true;
  for (const Format& format : {accumulator.cast.format, accumulator.form().outer.format}) {
    if (magnitude > to_double(format.max_finite()) || magnitude > -to_double(format.lowest())) {
      return false;
    }
  }
  return true;
}

// Whether every sum is one of at most such a magnitude.
bool is_within(const Accumulator& accumulator, double magnitude) {
  const Format format = accumulator.form().outer.format;
  return !accumulator.is_exact() && to_double(format.max_finite()) <= magnitude &&
         -to_double(format.lowest()) <= magnitude;
}

class Requantised final : public PackedWeights {
 public:
  Requantised(const Operand& result, const Matrix& matrix, ThreadPool& pool)
      : arithmetic_(matrix.arithmetic),
        result_(result),
        n_(matrix.n),
        k_(matrix.k),
        w_(arithmetic_.w, n_, k_, matrix.w, pool) {
    // Kernels give f32, which holds integers up to 2^24. Where the accumulator holds every sum, f32
    // sums of parts of k are as good; where it may not, its own sums are, if f32 holds these.
    constexpr double k_held = 1 << 24;
    const double product = largest_magnitude(arithmetic_.x) * largest_magnitude(arithmetic_.w);
    Arithmetic plain = {integers_of(arithmetic_.x), integers_of(arithmetic_.w), {}, {}};
    if (holds(arithmetic_.accumulator, static_cast<double>(k_) * product)) {
      part_ = std::min(k_, static_cast<int64_t>(k_held / product));
    } else if (is_within(arithmetic_.accumulator, k_held)) {
      part_ = k_;
      plain.accumulator = arithmetic_.accumulator;
    }
    for (int64_t begin = 0; part_ > 0 && begin < k_; begin += part_) {
      const int64_t length = std::min(part_, k_ - begin);
      parts_.push_back(pack_weights(plain, n_, length, w_.part(k_, begin, length), pool));
    }
  }

  const Arithmetic& arithmetic() const override { return arithmetic_; }
  KernelKind kernel() const override {
    return parts_.empty() ? KernelKind::reference : parts_.front()->kernel();
  }
  int64_t n() const override { return n_; }
  int64_t k() const override { return k_; }
  size_t bytes() const override {
    size_t bytes = (w_.values.size() + w_.scales.size()) * sizeof(float);
    for (const Packed& part : parts_) bytes += part->bytes();
    return bytes;
  }

  void multiply(int64_t m, const RowReader& read, float* out, int64_t stride,
                ThreadPool& pool) const override {
    const Integers x(arithmetic_.x, m, k_, read, pool);
    const std::vector<Dyadic> sums = sums_of(x, m, pool);
    const ScaleLevel& level = result_.scaling[0];
    const Group group{static_cast<float>(level.parameter), level.zero, 0};
    pool.parallel_for(m, [&](int64_t i) {
      for (int64_t j = 0; j < n_; ++j) {
        const DyadicNumber ratio = DyadicNumber::of_scales(
            x.scales[static_cast<size_t>(i)], w_.scales[static_cast<size_t>(j)], group.scale);
        // A sum has 31 bits or few more, so their product is exact.
        const Dyadic product =
            sums[static_cast<size_t>(i * n_ + j)] * Dyadic::make(false, ratio.m, -ratio.e);
        const double integer =
            to_double(result_.quantise(product, static_cast<uint64_t>(j), group));
        out[i * stride + j] = static_cast<float>(integer * double{group.scale});
      }
    });
  }

 private:
  std::vector<Dyadic> sums_of(const Integers& x, int64_t m, ThreadPool& pool) const {
    std::vector<Dyadic> sums(static_cast<size_t>(m * n_));
    if (part_ == 0 && k_ > 0) {
      pool.parallel_for(
          m * n_, [&](int64_t index) { sums[static_cast<size_t>(index)] = one_by_one(x, index); });
      return sums;
    }
    std::vector<float> of_part(static_cast<size_t>(m * n_));
    for (size_t p = 0; p < parts_.size(); ++p) {
      const int64_t begin = static_cast<int64_t>(p) * part_;
      parts_[p]->multiply(m, x.part(k_, begin, parts_[p]->k()), of_part.data(), n_, pool);
      for (size_t i = 0; i < sums.size(); ++i) sums[i] = sums[i] + Dyadic::from_float(of_part[i]);
    }
    return sums;
  }

  // Sums that f32 does not hold and that may overflow on the way.
  Dyadic one_by_one(const Integers& x, int64_t index) const {
    const float* xs = x.values.data() + index / n_ * k_;
    const float* ws = w_.values.data() + index % n_ * k_;
    std::vector<Dyadic> products;
    for (int64_t i = 0; i < k_; ++i) {
      products.push_back(Dyadic::from_float(xs[i]) * Dyadic::from_float(ws[i]));
    }
    return arithmetic_.accumulator.sum(products);
  }

  Arithmetic arithmetic_;
  Operand result_;
  int64_t n_;
  int64_t k_;
  Integers w_;
  int64_t part_ = 0;  // of k; 0: sums are made one by one
  std::vector<Packed> parts_;
};

void check_dyadic(const Treatment& treatment, const Arithmetic& arithmetic) {
  constexpr int k_max_bits = 16;
  const auto refuse = [&](const std::string& why) {
    throw Error(to_string(treatment) + " " + why);
  };
  if (treatment.operand.scaling[0].method != ScaleMethod::given) {
    refuse(
        "needs a scale that is given, as dyadic(int8@tensor(f32,given=0.1)), or by a recipe's "
        "step 'static'");
  }
  for (const Operand* operand : {&arithmetic.x, &arithmetic.w}) {
    if (!operand->cast.format.is_integer() || operand->cast.format.bits() > k_max_bits) {
      refuse("is of integers of at most " + std::to_string(k_max_bits) + " bits, such as int8@row");
    }
    for (const ScaleLevel& level : operand->scaling) {
      if (level.granularity != Granularity::row && level.granularity != Granularity::tensor) {
        refuse("is of operands with a scale a row or a tensor: others change along the sum");
      }
    }
  }
  const Multiplier multiplier = arithmetic.resolved_multiplier();
  if (multiplier.form().kind != ProductForm::Kind::exact || multiplier.product()) {
    refuse("is of exact products");
  }
  const Accumulator& accumulator = arithmetic.accumulator;
  // Of a form that is not known the total's format is f32.
  if (!accumulator.is_exact() &&
      (!accumulator.cast.format.is_integer() || !accumulator.form().outer.format.is_integer())) {
    refuse("is of integer sums: write acc=int32");
  }
}

Packed around_dyadic(const Treatment& treatment, const Matrix& matrix, const Inner&,
                     ThreadPool& pool) {
  check_dyadic(treatment, matrix.arithmetic);
  return std::make_unique<Requantised>(treatment.operand, matrix, pool);
}

// In the order of TreatmentKind.
using Wrap = Packed (*)(const Treatment&, const Matrix&, const Inner&, ThreadPool&);
constexpr std::array<Wrap, 6> k_wraps = {around_result,  around_equalise, around_delta,
                                         around_lowrank, around_outliers, around_dyadic};

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
  return k_wraps[static_cast<size_t>(treatment.kind)](treatment, {arithmetic, n, k, w}, inner,
                                                      pool);
}

}  // namespace napier
