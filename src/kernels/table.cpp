// Any product of numbers of up to 8 bits, rounded to any format: looked up. Exact for all data, as
// a product's bits depend on nothing but its two codes.
#include "kernels/targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/table.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/round_to-inl.h"
#include "kernels/table.hpp"
#include "kernels/tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace napier {
namespace HWY_NAMESPACE {

void sum_gathered(const table::Products& table, const uint8_t* x, const uint8_t* w,
                  int64_t panel_stride, int64_t panels, int64_t begin, int64_t end, float* sums) {
  const F32 d;
  const hn::RebindToSigned<F32> di;
  const hn::Rebind<uint8_t, F32> d8;
  constexpr int NV = k_tile_vectors;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t column = 0; column < panels * k_panel; column += NV * lanes) {
    const uint8_t* codes = w + column / k_panel * panel_stride + column % k_panel;
    VecF32 total[NV];
    unrolled<NV>([&](auto v) NAPIER_LAMBDA { total[v] = hn::Zero(d); });
    for (int64_t k = begin; k < end; ++k) {
      const float* row = table.products.data() + int64_t{x[k]} * table::k_codes;
      unrolled<NV>([&](auto v) NAPIER_LAMBDA {
        const auto code = hn::PromoteTo(di, hn::LoadU(d8, codes + k * k_panel + v * lanes));
        total[v] = hn::Add(total[v], hn::GatherIndex(d, row, code));
      });
    }
    unrolled<NV>([&](auto v) NAPIER_LAMBDA { hn::StoreU(total[v], d, sums + column + v * lanes); });
  }
}

// The same in f64, for sums that are exact there; then rounded to f32.
void sum_exactly(const table::Products& table, const uint8_t* x, const uint8_t* w,
                 int64_t panel_stride, int64_t panels, int64_t begin, int64_t end, float* sums) {
  const hn::ScalableTag<double> d;
  const hn::Rebind<float, decltype(d)> df;
  const hn::RebindToSigned<decltype(df)> di;
  const hn::Rebind<uint8_t, decltype(d)> d8;
  constexpr int NV = k_tile_vectors;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t column = 0; column < panels * k_panel; column += NV * lanes) {
    const uint8_t* codes = w + column / k_panel * panel_stride + column % k_panel;
    hn::Vec<decltype(d)> total[NV];
    unrolled<NV>([&](auto v) NAPIER_LAMBDA { total[v] = hn::Zero(d); });
    for (int64_t k = begin; k < end; ++k) {
      const float* row = table.products.data() + int64_t{x[k]} * table::k_codes;
      unrolled<NV>([&](auto v) NAPIER_LAMBDA {
        const auto code = hn::PromoteTo(di, hn::LoadU(d8, codes + k * k_panel + v * lanes));
        total[v] = hn::Add(total[v], hn::PromoteTo(d, hn::GatherIndex(df, row, code)));
      });
    }
    unrolled<NV>(
        [&](auto v) NAPIER_LAMBDA { hn::StoreU(to_f32(total[v]), df, sums + column + v * lanes); });
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace napier
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <list>
#include <mutex>

namespace napier {

HWY_EXPORT(sum_gathered);
HWY_EXPORT(sum_exactly);

namespace table {
namespace {

constexpr size_t k_tables_kept = 64;

bool is_upper_half(float value) { return (std::bit_cast<uint32_t>(value) & 0xFFFF) == 0; }

std::shared_ptr<const Products> make(const Arithmetic& arithmetic, std::string* why_not) {
  const auto no = [&](const char* why) {
    if (why_not != nullptr) *why_not = why;
    return nullptr;
  };
  const auto result = std::make_shared<Products>();
  for (const Operand* operand : {&arithmetic.x, &arithmetic.w}) {
    if (operand->has_zero_point() || operand->has_alternatives()) {
      return no("its groups have different numbers");
    }
    if (operand->cast.format.bits() > 8 ||
        !(operand == &arithmetic.x ? result->x : result->w).assign(*operand)) {
      return no("an operand has more than 8 bits");
    }
  }
  const Multiplier multiplier = arithmetic.resolved_multiplier();
  const std::optional<Cast> cast = multiplier.product();
  if (cast && cast->rounding == Rounding::stochastic) return no("products are rounded at random");
  result->products.assign(k_codes * k_codes, 0.0f);
  result->planes = 2;
  for (size_t x = 0; x < result->x.values().size(); ++x) {
    const Dyadic x_number = Dyadic::from_float(result->x.values()[x]);
    for (size_t w = 0; w < result->w.values().size(); ++w) {
      const Dyadic exact = multiplier.multiply(x_number, Dyadic::from_float(result->w.values()[w]));
      const float product = to_float(exact);
      if (!exact.is_nan() && Dyadic::from_float(product) != exact) {
        return no("f32 does not hold every product");
      }
      result->products[x * k_codes + w] = product;
      if (!is_upper_half(product)) result->planes = 4;
    }
  }
  const auto planes = static_cast<size_t>(result->planes);
  result->bytes.resize(k_codes * planes * k_codes);
  for (size_t i = 0; i < result->products.size(); ++i) {
    const uint32_t bits = std::bit_cast<uint32_t>(result->products[i]);
    for (size_t plane = 0; plane < planes; ++plane) {
      result->bytes[(i / k_codes * planes + plane) * k_codes + i % k_codes] =
          static_cast<uint8_t>(bits >> (8 * (4 - planes + plane)));
    }
  }
  return result;
}

}  // namespace

bool Codes::assign(const Operand& operand) {
  const Format& format = operand.cast.format;
  values_.clear();
  for (uint64_t code = 0; code < format.code_count(); ++code) {
    const Dyadic number = format.decode(code, operand.subnormals);
    if (!number.is_nan()) values_.push_back(to_float(number));
  }
  // The two zeros are one: products with them differ in nothing that a sum shows.
  std::sort(values_.begin(), values_.end());
  values_.erase(std::unique(values_.begin(), values_.end()), values_.end());
  by_half_ = true;
  constexpr int k_none = -1;
  std::vector<int> of_half(size_t{1} << 16, k_none);
  for (size_t i = 0; i < values_.size(); ++i) {
    int& code = of_half[std::bit_cast<uint32_t>(values_[i]) >> 16];
    by_half_ = by_half_ && code == k_none;
    code = static_cast<int>(i);
  }
  constexpr size_t k_negative_zero = 0x8000;
  const int zero = std::max(of_half[0], of_half[k_negative_zero]);
  of_half[0] = of_half[k_negative_zero] = zero;
  of_half_.assign(of_half.size(), 0);
  for (size_t i = 0; i < of_half.size(); ++i) {
    if (of_half[i] != k_none) of_half_[i] = static_cast<uint8_t>(of_half[i]);
  }
  return values_.size() <= k_codes;
}

uint8_t Codes::found(float value) const {
  const auto at = std::lower_bound(values_.begin(), values_.end(), value);
  return static_cast<uint8_t>(at - values_.begin());
}

std::shared_ptr<const Products> products_of(const Arithmetic& arithmetic, std::string* why_not) {
  struct Kept {
    Arithmetic arithmetic;
    std::shared_ptr<const Products> products;
    std::string why_not;
  };
  static std::mutex mutex;
  static std::list<Kept> kept;
  Arithmetic key = arithmetic;  // what products depend on
  key.accumulator = {};
  const std::lock_guard lock(mutex);
  auto found = kept.begin();
  while (found != kept.end() && found->arithmetic != key) ++found;
  if (found == kept.end()) {
    std::string why;
    auto products = make(key, &why);
    kept.push_front({key, std::move(products), why});
    if (kept.size() > k_tables_kept) kept.pop_back();
    found = kept.begin();
  }
  if (why_not != nullptr) *why_not = found->why_not;
  return found->products;
}

void sum_products(const Products& products, const uint8_t* x, const uint8_t* w,
                  int64_t panel_stride, int64_t panels, int64_t begin, int64_t end, float* sums) {
  HWY_DYNAMIC_DISPATCH(sum_gathered)(products, x, w, panel_stride, panels, begin, end, sums);
}

void sum_products_exactly(const Products& products, const uint8_t* x, const uint8_t* w,
                          int64_t panel_stride, int64_t panels, int64_t begin, int64_t end,
                          float* sums) {
  HWY_DYNAMIC_DISPATCH(sum_exactly)(products, x, w, panel_stride, panels, begin, end, sums);
}

int64_t exact_terms(const Products& products, const Accumulator& accumulator) {
  const SumForm::Kind kind = accumulator.form().kind;
  const Format& format = accumulator.cast.format;
  const bool is_integer = kind == SumForm::Kind::plain && format.is_integer() && format.is_signed;
  if (kind != SumForm::Kind::exact && !is_integer) return 0;
  double largest = 0;
  double unit = 1;  // all products are multiples of it
  for (const float product : products.products) {
    if (!std::isfinite(product)) return 0;
    largest = std::max(largest, std::fabs(double{product}));
    while (std::fmod(product, unit) != 0) unit /= 2;
  }
  if (is_integer && unit < 1) return 0;
  const double most = is_integer ? to_double(format.max_finite()) : 0x1p53 * unit;
  const double terms = std::min(most, 0x1p53 * unit) / std::max(largest, unit);
  return static_cast<int64_t>(std::min(terms, 0x1p53));
}

}  // namespace table

namespace {

class TableWeights final : public PanelWeights<float, uint8_t> {
 public:
  TableWeights(const Arithmetic& arithmetic, int64_t n, int64_t k)
      : PanelWeights(arithmetic, KernelKind::table, n, k, 52),
        products_(table::products_of(arithmetic, nullptr)),
        sum_(!arithmetic.accumulator.is_plain_f32() ? table::sum_products_exactly
             : table::has_byte_permutations()       ? table::sum_permuted
                                                    : table::sum_products),
        has_nan_(static_cast<size_t>(n)) {}

 protected:
  int encoded_size() const override { return 1; }
  int64_t panels_at_once(int64_t) const override { return table::k_panels; }

  void encode(const float* values, int64_t count, const MagnitudeRange&, uint8_t* encoded, uint8_t*,
              RowCode& code) const override {
    code = {};
    code.has_nan = encode_codes(products_->x, values, count, 1, encoded);
  }

  void store(const float* values, int64_t panel, int64_t columns, uint8_t* to) override {
    for (int64_t c = 0; c < columns; ++c) {
      has_nan_[static_cast<size_t>(panel * k_panel + c)] =
          encode_codes(products_->w, values + c * k(), k(), k_panel, to + c);
    }
    for (int64_t c = columns; c < k_panel; ++c) {
      for (int64_t i = 0; i < k(); ++i) to[i * k_panel + c] = 0;
    }
  }

  void run(const PanelTask<uint8_t>& task, int) const override {
    const int64_t first = (task.w - panels()) / (k() * k_panel);  // panel
    const int64_t count = (task.columns + k_panel - 1) / k_panel;
    for (int64_t row = 0; row < task.rows; ++row) {
      float total[table::k_panels * k_panel] = {};
      for (int64_t run = 0, begin = 0; run < task.runs; begin = task.run_ends[run++]) {
        float sums[table::k_panels * k_panel];
        sum_(*products_, task.x + row * task.x_stride, task.w, task.panel_stride, count, begin,
             task.run_ends[run], sums);
        if (task.x_scale != nullptr) {
          const float scale = task.x_scale[row * task.runs + run];
          for (int64_t i = 0; i < count * k_panel; ++i) sums[i] *= scale;
        }
        for (int64_t p = 0; p < count; ++p) {
          float* of_panel = sums + p * k_panel;
          if (task.w_scale != nullptr) {
            const float* scales = task.w_scale + (p * task.runs + run) * k_panel;
            for (int64_t c = 0; c < k_panel; ++c) of_panel[c] *= scales[c];
          }
          // One run's sum is not added to zero: it may be a negative zero.
          for (int64_t c = 0; c < k_panel; ++c) {
            float& all = total[p * k_panel + c];
            all = task.in_blocks ? all + of_panel[c] : of_panel[c];
          }
        }
      }
      float* out = task.out + row * task.out_stride;
      for (int64_t i = 0; i < task.columns; ++i) {
        const bool is_nan =
            task.x_code[row].has_nan || has_nan_[static_cast<size_t>(first * k_panel + i)] != 0;
        out[i] = is_nan ? std::numeric_limits<float>::quiet_NaN() : total[i];
      }
    }
  }

 private:
  // Whether one of the values is NaN, which has no code: what it is multiplied by becomes NaN.
  static bool encode_codes(const table::Codes& codes, const float* values, int64_t count,
                           int64_t step, uint8_t* to) {
    bool has_nan = false;
    for (int64_t i = 0; i < count; ++i) {
      to[i * step] = codes.code(values[i]);
      has_nan |= values[i] != values[i];
    }
    return has_nan;
  }

  std::shared_ptr<const table::Products> products_;
  decltype(&table::sum_products) sum_;
  std::vector<uint8_t> has_nan_;  // of each output
};

// Sums that are no longer are worth a kernel; in longer ones, where they may leave the accumulator,
// the reference looks at every step.
constexpr int64_t k_least_terms = 1024;

std::optional<std::string> why_not(const Arithmetic& arithmetic) {
  const Accumulator& accumulator = arithmetic.accumulator;
  const bool may_be_exact = arithmetic.resolved_multiplier().form().kind ==
                                ProductForm::Kind::other &&  // others' sums are wide's
                            (accumulator.is_exact() || accumulator.cast.format.is_integer());
  if (!accumulator.is_plain_f32() && !may_be_exact) return "the accumulator is not plain f32";
  if (!fit_float(arithmetic)) return k_not_in_float;
  std::string why;
  const auto products = table::products_of(arithmetic, &why);
  if (products == nullptr) return why;
  if (!accumulator.is_plain_f32() && table::exact_terms(*products, accumulator) < k_least_terms) {
    return "sums of such products may leave the accumulator or f64";
  }
  return std::nullopt;
}

}  // namespace

const Kernel k_table_kernel = {
    .kind = KernelKind::table,
    .how =
        "products of 8-bit codes are looked up, and summed in f32 lanes (integers and exact sums: "
        "in f64)",
    .why_not = why_not,
    .pack = [](const Arithmetic& arithmetic, int64_t n, int64_t k, const RowReader& w,
               ThreadPool& pool) -> std::unique_ptr<PackedWeights> {
      const Accumulator& accumulator = arithmetic.accumulator;
      if (!accumulator.is_plain_f32() &&
          k > table::exact_terms(*table::products_of(arithmetic, nullptr), accumulator)) {
        return k_reference_kernel.pack(arithmetic, n, k, w, pool);
      }
      return pack_panels<TableWeights>(w, pool, arithmetic, n, k);
    },
};

}  // namespace napier
#endif  // HWY_ONCE
