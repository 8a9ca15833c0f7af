// Products looked up: any multiplier of operands of at most 256 numbers each, whose products f32
// holds, summed in f32 lanes. Operands are indices; each activation has a row of products.
#include "kernels/targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/table.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace napier {
namespace HWY_NAMESPACE {

using I32 = hn::RebindToSigned<F32>;

struct TableProduct {
  static constexpr int k_group = 1;
  struct Weight {
    hn::Vec<I32> index;
  };
  HWY_INLINE Weight load(const float* w) const {
    return {hn::ConvertTo(I32(), hn::LoadU(F32(), w))};
  }
  HWY_INLINE const float* broadcast(const float* x) const {
    return products + static_cast<int32_t>(*x);
  }
  HWY_INLINE VecF32 add(const float* row, const Weight& w, VecF32 sum) const {
    return hn::Add(sum, hn::GatherIndex(F32(), row, w.index));
  }
  const float* products;
};

void run_table(const PanelTask<float>& task, const float* products) {
  run_tiles(TableProduct{products}, task);
}

}  // namespace HWY_NAMESPACE
}  // namespace napier
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <algorithm>
#include <cmath>
#include <limits>

namespace napier {

HWY_EXPORT(run_table);

namespace {

// The numbers that an operand can be, in rising order, then infinity, -infinity and NaN.
class Numbers {
 public:
  explicit Numbers(const Operand& operand) {
    const Format& format = operand.cast.format;
    for (uint64_t code = 0; code < format.code_count(); ++code) {
      const Dyadic value = format.decode(code, operand.subnormals);
      if (value.is_finite()) values_.push_back(to_float(value));
    }
    std::sort(values_.begin(), values_.end());
    values_.erase(std::unique(values_.begin(), values_.end()), values_.end());
    finite_ = values_.size();
    const float infinity = std::numeric_limits<float>::infinity();
    values_.insert(values_.end(), {infinity, -infinity, std::numeric_limits<float>::quiet_NaN()});
  }

  const std::vector<float>& values() const { return values_; }
  int64_t size() const { return static_cast<int64_t>(values_.size()); }

  int64_t index(float value) const {
    if (std::isnan(value)) return size() - 1;
    if (std::isinf(value)) return size() - (value > 0 ? 3 : 2);
    const auto end = values_.begin() + static_cast<ptrdiff_t>(finite_);
    return std::lower_bound(values_.begin(), end, value) - values_.begin();
  }

 private:
  std::vector<float> values_;
  size_t finite_ = 0;
};

// All products, a row for each x; empty where f32 does not hold one.
std::vector<float> products_of(const Arithmetic& arithmetic, const Numbers& x, const Numbers& w) {
  const Multiplier multiplier = arithmetic.resolved_multiplier();
  std::vector<float> products;
  for (const float a : x.values()) {
    for (const float b : w.values()) {
      const Dyadic product = multiplier.multiply(Dyadic::from_float(a), Dyadic::from_float(b));
      const float single = to_float(product);
      if (!product.is_nan() && Dyadic::from_float(single) != product) return {};
      products.push_back(single);
    }
  }
  return products;
}

class TableWeights final : public PanelWeights<float> {
 public:
  TableWeights(const Arithmetic& arithmetic, int64_t n, int64_t k)
      : PanelWeights(arithmetic, KernelKind::table, n, k, 52),
        x_(arithmetic.x),
        w_(arithmetic.w),
        products_(products_of(arithmetic, x_, w_)) {}

 protected:
  int encoded_size() const override { return 1; }
  void encode(const float* values, int64_t count, const MagnitudeRange&, float* encoded,
              RowCode&) const override {
    for (int64_t i = 0; i < count; ++i) {
      encoded[i] = static_cast<float>(x_.index(values[i]) * w_.size());
    }
  }
  void encode_weights(float* values, int64_t count) const override {
    for (int64_t i = 0; i < count; ++i) values[i] = static_cast<float>(w_.index(values[i]));
  }
  void run(const PanelTask<float>& task, int) const override {
    HWY_DYNAMIC_DISPATCH(run_table)(task, products_.data());
  }

 private:
  Numbers x_;
  Numbers w_;
  std::vector<float> products_;
};

std::optional<std::string> why_not(const Arithmetic& arithmetic) {
  const Multiplier multiplier = arithmetic.resolved_multiplier();
  if (multiplier.form().kind != ProductForm::Kind::other) return "the products need no table";
  if (!arithmetic.accumulator.is_plain_f32()) return "the accumulator is not plain f32";
  if (multiplier.product() && multiplier.product()->rounding == Rounding::stochastic) {
    return "products are rounded stochastically";
  }
  for (const Operand* operand : {&arithmetic.x, &arithmetic.w}) {
    if (operand->cast.format.bits() > 8 || operand->has_zero_point() ||
        operand->has_alternatives() || !Quantiser(*operand).fits_float()) {
      return "an operand has more than 256 numbers, or some that f32 does not hold";
    }
  }
  if (products_of(arithmetic, Numbers(arithmetic.x), Numbers(arithmetic.w)).empty()) {
    return "f32 does not hold every product";
  }
  return std::nullopt;
}

}  // namespace

const Kernel k_table_kernel = {
    .kind = KernelKind::table,
    .how = "each product is looked up in a table of all of them and summed in f32 lanes",
    .why_not = why_not,
    .pack = [](const Arithmetic& arithmetic, int64_t n, int64_t k, const RowReader& w,
               ThreadPool& pool) -> std::unique_ptr<PackedWeights> {
      return pack_panels<TableWeights>(w, pool, arithmetic, n, k);
    },
};

}  // namespace napier
#endif  // HWY_ONCE
