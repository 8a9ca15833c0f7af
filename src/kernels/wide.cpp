// f64 lanes: any product that has a form, rounded into any format, and sums rounded into any format
// after each addition. About 25 operations a product.
#include "kernels/targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/wide.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <cmath>

#include "kernels/round_to-inl.h"
#include "kernels/unroll-inl.h"
#include "kernels/wide.hpp"

HWY_BEFORE_NAMESPACE();
namespace napier {
namespace HWY_NAMESPACE {

// Lanes whose product is that of the values: a factor is zero, infinite or NaN. The operands'
// exponents are such that other products are neither zero nor infinite.
HWY_INLINE hn::Mask<F64> is_common(VecF64 product) {
  // Exponent fields 0 and 0x7FF become 1 and 0 (with the carry cut off): no higher bit is set.
  const U64 du;
  const auto field = hn::Add(hn::BitCast(du, product), hn::Set(du, 0x0010000000000000));
  const auto high = hn::And(field, hn::Set(du, 0x7FE0000000000000));
  return hn::RebindMask(F64(), hn::Eq(high, hn::Zero(du)));
}

HWY_INLINE VecF64 power_part(VecF64 v) {  // +-2^e
  const U64 du;
  return hn::BitCast(F64(), hn::And(hn::BitCast(du, v), hn::Set(du, 0xFFF0000000000000)));
}

struct ExactProduct {
  explicit ExactProduct(const ProductForm&) {}
  struct Weight {
    VecF64 w;
  };
  struct Activation {
    VecF64 x;
  };
  HWY_INLINE Weight weight(VecF64 w) const { return {w}; }
  HWY_INLINE Activation activation(VecF64 x) const { return {x}; }
  HWY_INLINE VecF64 operator()(const Activation& x, const Weight& w) const {
    return hn::Mul(x.x, w.w);
  }
};

// |x| + |w| - the bias of one + the offset, as integers; the signs' bits add to their xor.
struct PatternProduct {
  explicit PatternProduct(const ProductForm& form)
      : bias(static_cast<int64_t>(form.offset * 0x1p52) - (int64_t{1023} << 52)) {}
  struct Weight {
    VecF64 w;
  };
  struct Activation {
    VecF64 x;
    hn::Vec<I64> biased;
  };
  HWY_INLINE Weight weight(VecF64 w) const { return {w}; }
  HWY_INLINE Activation activation(VecF64 x) const {
    const I64 di;
    return {x, hn::Add(hn::BitCast(di, x), hn::Set(di, bias))};
  }
  HWY_INLINE VecF64 operator()(const Activation& x, const Weight& w) const {
    const auto sum = hn::Add(x.biased, hn::BitCast(I64(), w.w));
    const VecF64 common = hn::Mul(x.x, w.w);
    return hn::IfThenElse(is_common(common), common, hn::BitCast(F64(), sum));
  }
  int64_t bias;
};

// x p(w) + p(x) (q(w) + c p(w)): two exact products and an exact sum.
struct BilinearProduct {
  explicit BilinearProduct(const ProductForm& form) : offset(form.offset) {}
  struct Weight {
    VecF64 w, power, rest;
  };
  struct Activation {
    VecF64 x, power;
  };
  HWY_INLINE Weight weight(VecF64 w) const {
    const VecF64 power = power_part(w);
    const VecF64 rest = hn::Add(hn::Sub(w, power), hn::Mul(power, hn::Set(F64(), offset)));
    return {w, power, rest};
  }
  HWY_INLINE Activation activation(VecF64 x) const { return {x, power_part(x)}; }
  HWY_INLINE VecF64 operator()(const Activation& x, const Weight& w) const {
    const VecF64 sum = hn::Add(hn::Mul(x.x, w.power), hn::Mul(x.power, w.rest));
    const VecF64 common = hn::Mul(x.x, w.w);
    return hn::IfThenElse(is_common(common), common, sum);
  }
  double offset;
};

template <WideSpec::Sum S>
HWY_INLINE VecF64 add_rounded(const RoundSpec& spec, VecF64 sum, VecF64 term) {
  if (S == WideSpec::Sum::plain) return hn::Add(sum, term);
  if (S == WideSpec::Sum::nearest) return round_to(spec, hn::Add(sum, term));
  return round_to(spec, add_to_odd(sum, term));
}

HWY_INLINE VecF64 wrapped(const WideSpec::Wrap& wrap, VecF64 sum) {
  const F64 d;
  const VecF64 above = hn::Sub(sum, hn::Set(d, wrap.lowest));
  const VecF64 turns = hn::Floor(hn::Mul(above, hn::Set(d, 1 / wrap.modulus)));
  return hn::Sub(sum, hn::Mul(turns, hn::Set(d, wrap.modulus)));
}

HWY_INLINE VecF64 load(const float* from) {
  return hn::PromoteTo(F64(), hn::LoadU(hn::Rebind<float, F64>(), from));
}
HWY_INLINE VecF64 load(const double* from) { return hn::LoadU(F64(), from); }

inline constexpr int k_wide_rows = 4;
inline constexpr int k_wide_vectors = 2;

// MR rows times a few vectors of outputs, as tile() in tile-inl.h.
template <int MR, WideSpec::Sum S, class Product, class T>
HWY_INLINE void wide_tile(const WideSpec& wide, const Product& product, const PanelTask<T>& task,
                          int64_t row, int64_t first) {
  constexpr int NV = k_wide_vectors;
  const F64 d;
  const hn::Rebind<float, F64> df;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t panel = first / k_panel;
  const T* w = task.w + panel * task.panel_stride + first % k_panel;
  const T* x = task.x + row * task.x_stride;
  HWY_ALIGN float totals[MR * NV * HWY_MAX_BYTES / sizeof(double)] = {};

  for (int64_t run = 0, k = 0; run < task.runs; ++run) {
    const int64_t run_end = task.run_ends[run];
    VecF64 chunks[MR][NV];
    unrolled<MR>([&](auto r) NAPIER_LAMBDA {
      unrolled<NV>([&](auto v) NAPIER_LAMBDA { chunks[r][v] = hn::Zero(d); });
    });
    do {
      const int64_t end = wide.chunk == 0 ? run_end : std::min(run_end, k + wide.chunk);
      VecF64 sums[MR][NV];
      unrolled<MR>([&](auto r) NAPIER_LAMBDA {
        unrolled<NV>([&](auto v) NAPIER_LAMBDA { sums[r][v] = hn::Zero(d); });
      });
      for (; k < end; ++k) {
        typename Product::Weight weights[NV];
        unrolled<NV>([&](auto v) NAPIER_LAMBDA {
          weights[v] = product.weight(load(w + k * k_panel + v * lanes));
        });
        unrolled<MR>([&](auto r) NAPIER_LAMBDA {
          const auto activation =
              product.activation(hn::Set(d, static_cast<double>(x[r * task.x_stride + k])));
          unrolled<NV>([&](auto v) NAPIER_LAMBDA {
            VecF64 term = product(activation, weights[v]);
            if (wide.product) term = round_to(*wide.product, term);
            sums[r][v] = add_rounded<S>(wide.accumulator, sums[r][v], term);
          });
        });
      }
      unrolled<MR>([&](auto r) NAPIER_LAMBDA {
        unrolled<NV>([&](auto v) NAPIER_LAMBDA {
          if (wide.wrap) sums[r][v] = wrapped(*wide.wrap, sums[r][v]);
          if (wide.chunk == 0) {
            chunks[r][v] = sums[r][v];
          } else if (wide.outer_sum == WideSpec::Sum::plain) {
            chunks[r][v] = hn::Add(chunks[r][v], sums[r][v]);
          } else {
            chunks[r][v] = add_rounded<WideSpec::Sum::any>(wide.outer, chunks[r][v], sums[r][v]);
          }
          if (wide.outer_wrap) chunks[r][v] = wrapped(*wide.outer_wrap, chunks[r][v]);
        });
      });
    } while (k < run_end);

    unrolled<MR>([&](auto r) NAPIER_LAMBDA {
      unrolled<NV>([&](auto v) NAPIER_LAMBDA {
        auto sum = to_f32(chunks[r][v]);
        if (task.x_scale != nullptr) {
          sum = hn::Mul(sum, hn::Set(df, task.x_scale[(row + r) * task.runs + run]));
        }
        if (task.w_scale != nullptr) {
          sum = hn::Mul(sum, hn::LoadU(df, task.w_scale + (panel * task.runs + run) * k_panel +
                                               first % k_panel + v * lanes));
        }
        float* total = totals + (r * NV + v) * lanes;
        if (task.in_blocks) {
          sum = hn::Add(run == 0 ? hn::Zero(df) : hn::LoadU(df, total), sum);
        }
        hn::StoreU(sum, df, total);
      });
    });
  }
  const int64_t left = std::min(task.columns - first, NV * lanes);
  for (int r = 0; r < MR; ++r) {
    float* out = task.out + (row + r) * task.out_stride + first;
    for (int64_t i = 0; i < left; ++i) out[i] = totals[r * NV * lanes + i];
  }
}

template <WideSpec::Sum S, class Product, class T>
void wide_tiles(const WideSpec& wide, const PanelTask<T>& task) {
  constexpr int MR = k_wide_rows;
  const Product product(wide.form);
  const int64_t step = k_wide_vectors * static_cast<int64_t>(hn::Lanes(F64()));
  int64_t row = 0;
  for (; row + MR <= task.rows; row += MR) {
    for (int64_t first = 0; first < task.columns; first += step) {
      wide_tile<MR, S>(wide, product, task, row, first);
    }
  }
  for (; row < task.rows; ++row) {
    for (int64_t first = 0; first < task.columns; first += step) {
      wide_tile<1, S>(wide, product, task, row, first);
    }
  }
}

// Exact sums that 53 bits do not hold. Every term is cut, from above, into multiples of each part's
// unit u: adding and taking away 1.5 * 2^52 u leaves the nearest, and what remains is below u / 2,
// exactly. As terms lie below 2^k_part_bits times the highest unit, 2^17 of them fit in 53 bits.
class Parts {
 public:
  explicit Parts(const WideSpec& wide) : count_(wide.parts) {
    for (int i = 0; i < count_; ++i) magic_[i] = std::ldexp(1.5, 52 + wide.low + i * k_part_bits);
    clear();
  }
  HWY_INLINE void clear() {
    for (int i = 0; i < count_; ++i) hn::Store(hn::Zero(F64()), F64(), at(i));
  }
  HWY_INLINE void add(VecF64 term) {
    const F64 d;
    for (int i = count_ - 1; i >= 0; --i) {
      const VecF64 cut = nearest(term, i);
      hn::Store(hn::Add(hn::Load(d, at(i)), cut), d, at(i));
      term = hn::Sub(term, cut);
      // An infinity or NaN is in the highest part alone.
      if (i == count_ - 1) term = hn::IfThenElseZero(hn::Eq(term, term), term);
    }
  }
  // The sum, rounded to odd. First each part but the highest is made less than a unit of the next:
  // then, from below, every sum is rounded to odd far below the bits of the one above.
  HWY_INLINE VecF64 sum() const {
    const F64 d;
    HWY_ALIGN double carried[k_most_parts * k_lanes] = {};
    VecF64 carry = hn::Zero(d);
    for (int i = 0; i < count_; ++i) {
      const VecF64 part = hn::Add(hn::Load(d, at(i)), carry);
      carry = i + 1 < count_ ? nearest(part, i + 1) : hn::Zero(d);
      hn::Store(hn::Sub(part, carry), d, carried + i * k_lanes);
    }
    VecF64 result = hn::Load(d, carried);
    for (int i = 1; i < count_; ++i) {
      result = add_to_odd(hn::Load(d, carried + i * k_lanes), result);
    }
    return result;
  }

 private:
  static constexpr int k_lanes = HWY_MAX_BYTES / sizeof(double);

  HWY_INLINE VecF64 nearest(VecF64 v, int part) const {
    const VecF64 magic = hn::Set(F64(), magic_[part]);
    return hn::Sub(hn::Add(v, magic), magic);
  }
  HWY_INLINE double* at(int part) { return parts_ + part * k_lanes; }
  HWY_INLINE const double* at(int part) const { return parts_ + part * k_lanes; }

  int count_;
  double magic_[k_most_parts];
  HWY_ALIGN double parts_[k_most_parts * k_lanes];
};

template <class Product, class T>
void sum_in_parts(const WideSpec& wide, const PanelTask<T>& task) {
  const F64 d;
  const hn::Rebind<float, F64> df;
  const Product product(wide.form);
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  Parts parts(wide);
  for (int64_t row = 0; row < task.rows; ++row) {
    const T* x = task.x + row * task.x_stride;
    for (int64_t first = 0; first < task.columns; first += lanes) {
      const int64_t panel = first / k_panel;
      const T* w = task.w + panel * task.panel_stride + first % k_panel;
      auto result = hn::Zero(df);
      for (int64_t run = 0, k = 0; run < task.runs; ++run) {
        parts.clear();
        for (; k < task.run_ends[run]; ++k) {
          const auto activation = product.activation(hn::Set(d, static_cast<double>(x[k])));
          VecF64 term = product(activation, product.weight(load(w + k * k_panel)));
          if (wide.product) term = round_to(*wide.product, term);
          parts.add(term);
        }
        auto sum = to_f32(parts.sum());
        if (task.x_scale != nullptr) {
          sum = hn::Mul(sum, hn::Set(df, task.x_scale[row * task.runs + run]));
        }
        if (task.w_scale != nullptr) {
          sum = hn::Mul(sum, hn::LoadU(df, task.w_scale + (panel * task.runs + run) * k_panel +
                                               first % k_panel));
        }
        result = task.in_blocks ? hn::Add(result, sum) : sum;
      }
      HWY_ALIGN float out[HWY_MAX_BYTES / sizeof(double)];
      hn::StoreU(result, df, out);
      std::copy_n(out, std::min(lanes, task.columns - first),
                  task.out + row * task.out_stride + first);
    }
  }
}

template <class Product, class T>
void run_sum(const WideSpec& wide, const PanelTask<T>& task) {
  switch (wide.sum) {
    case WideSpec::Sum::parts: return sum_in_parts<Product>(wide, task);
    case WideSpec::Sum::plain: return wide_tiles<WideSpec::Sum::plain, Product>(wide, task);
    case WideSpec::Sum::nearest: return wide_tiles<WideSpec::Sum::nearest, Product>(wide, task);
    case WideSpec::Sum::any: return wide_tiles<WideSpec::Sum::any, Product>(wide, task);
  }
}

template <class T>
void run_product(const WideSpec& wide, const PanelTask<T>& task) {
  switch (wide.form.kind) {
    case ProductForm::Kind::exact: return run_sum<ExactProduct>(wide, task);
    case ProductForm::Kind::pattern_add: return run_sum<PatternProduct>(wide, task);
    case ProductForm::Kind::bilinear: return run_sum<BilinearProduct>(wide, task);
    case ProductForm::Kind::other: return;  // make() gives no such spec
  }
}

void run_f32(const WideSpec& wide, const PanelTask<float>& task) { run_product(wide, task); }
void run_f64(const WideSpec& wide, const PanelTask<double>& task) { run_product(wide, task); }

}  // namespace HWY_NAMESPACE
}  // namespace napier
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <algorithm>
#include <bit>

namespace napier {

HWY_EXPORT(run_f32);
HWY_EXPORT(run_f64);

void run_wide(const WideSpec& spec, const PanelTask<float>& task) {
  HWY_DYNAMIC_DISPATCH(run_f32)(spec, task);
}
void run_wide(const WideSpec& spec, const PanelTask<double>& task) {
  HWY_DYNAMIC_DISPATCH(run_f64)(spec, task);
}

namespace {

bool is_f64_addition(const Cast& cast) {
  return cast == Cast{k_f64, Rounding::nearest_even, cast.seed, Overflow::infinity};
}

// Where the numbers of some kind lie: multiples of 2^low, below 2^high, of so many bits each.
struct Span {
  int low;
  int high;
  int bits;
};

Span span_of(const Format& format) {
  return {format.least_bit(), format.max_exponent() + 1, format.significand_bits()};
}

Span span_of(const Operand& operand) {
  return {operand.least_bit(), operand.max_exponent() + 1, operand.significand_bits()};
}

// f64's sum of a number of the format and a term is exact where both lie within 53 bits. Otherwise
// rounding it once more, to nearest, does no harm where the term has no more bits than the format:
// what f64 does not hold is a sum of distant numbers, and the larger of these is then no tie
// (Figueroa, "When is double rounding innocuous?", 1995).
WideSpec::Sum sum_kind(const Cast& cast, const Span& term) {
  const Span sum = span_of(cast.format);
  if (std::max(sum.high, term.high) + 1 - std::min(sum.low, term.low) <= 53) {
    return WideSpec::Sum::nearest;
  }
  const bool nearest =
      cast.rounding == Rounding::nearest_even || cast.rounding == Rounding::nearest_away;
  return nearest && term.bits <= sum.bits && 2 * sum.bits + 3 <= 53 ? WideSpec::Sum::nearest
                                                                    : WideSpec::Sum::any;
}

}  // namespace

std::optional<WideSpec> WideSpec::make(const Arithmetic& arithmetic, std::string* why_not,
                                       int64_t max_k) {
  const auto no = [&](const std::string& why) -> std::optional<WideSpec> {
    if (why_not != nullptr) *why_not = why;
    return std::nullopt;
  };
  const Multiplier multiplier = arithmetic.resolved_multiplier();
  WideSpec spec;
  spec.form = multiplier.form();
  if (spec.form.kind == ProductForm::Kind::other) {
    return no("the multiplier is neither exact, nor an addition of patterns, nor bilinear");
  }
  // Products of values are exact in f64 where it holds all their bits.
  const bool is_exact_product = spec.form.kind == ProductForm::Kind::exact;
  const bool holds_products =
      arithmetic.x.significand_bits() + arithmetic.w.significand_bits() <= 53;
  const int most_bits = is_exact_product && holds_products ? 32 : 24;
  for (const Operand* operand : {&arithmetic.x, &arithmetic.w}) {
    const Format& format = operand->cast.format;
    if (format.significand_bits() > most_bits || format.max_exponent() > 500 ||
        format.least_bit() < -500) {
      return no("products of " + format_name(format) + " may leave f64's range or precision");
    }
  }
  const double fine = spec.form.offset * 0x1p40;
  if (fine != std::floor(fine) || std::fabs(spec.form.offset) > 1) {
    return no("the multiplier's offset is not a multiple of 2^-40");
  }

  // Products of values are multiples of the product of their least bits; the other forms are sums
  // of mantissas below 4, whose last bit is the offset's or that of a mantissa.
  const Span x = span_of(arithmetic.x);
  const Span w = span_of(arithmetic.w);
  Span term{x.low + w.low, x.high + w.high, x.bits + w.bits};
  if (spec.form.kind != ProductForm::Kind::exact) term = {term.low - 40, term.high + 2, 42};
  if (const std::optional<Cast> product = multiplier.product()) {
    spec.product = round_spec(*product);
    if (!spec.product) return no("products are rounded in a way that f64 lanes do not have");
    term = span_of(product->format);
  }

  const Accumulator& accumulator = arithmetic.accumulator;
  const SumForm sums = accumulator.form();
  switch (sums.kind) {
    case SumForm::Kind::plain:
    case SumForm::Kind::chunked:
    case SumForm::Kind::exact: break;
    case SumForm::Kind::aligned: return no("products are aligned before they are added");
    case SumForm::Kind::other: return no("only the accumulator itself knows how it adds");
  }
  spec.chunk = sums.chunk;
  // Sums of so many products lie below 2 to this power; f64 holds them where they have 53 bits.
  const auto high_of = [&](int64_t terms) {
    return term.high +
           static_cast<int>(std::bit_width(static_cast<uint64_t>(std::max<int64_t>(terms, 1)) - 1));
  };
  const auto is_held = [&](int high) { return high - term.low <= 53 && high < 1000; };
  if (sums.kind == SumForm::Kind::exact) {
    spec.sum = Sum::plain;
    if (is_held(high_of(max_k))) return spec;
    // Numbers of the highest part lie below 2^(53 + its unit), of the lowest above f64's least.
    spec.parts = (term.high - term.low + k_part_bits - 1) / k_part_bits;
    spec.low = term.low;
    spec.sum = Sum::parts;
    if (max_k > k_long_sum || spec.parts > k_most_parts || term.low < -950 || term.high > 900) {
      return no("exact sums would have too many parts");
    }
    return spec;
  }
  // Integers, whose sums f64 holds: those that never leave the accumulator's range, and those that
  // wrap around it. (Infinities do neither.)
  const auto is_finite = [](const Cast& cast) { return cast(Dyadic::infinity()).is_finite(); };
  const bool is_finite_term = multiplier.product()
                                  ? is_finite(*multiplier.product())
                                  : is_finite(arithmetic.x.cast) && is_finite(arithmetic.w.cast);
  constexpr int k_max_wrapped_bits = 50;
  const bool are_integers = term.low >= 0 && is_finite_term;  // the products
  const auto sum = [&](const Cast& cast, const Span& addend, int high, Sum& kind,
                       RoundSpec& rounding, std::optional<Wrap>& wrap) {
    const bool is_integer = cast.format.is_integer() && are_integers && is_held(high);
    const bool is_exact = is_integer && cast.format.is_signed && high <= cast.format.bits() - 1;
    if (is_integer && !is_exact && cast.overflow == Overflow::wrap &&
        cast.format.coding == Coding::integer && cast.format.bits() <= k_max_wrapped_bits) {
      wrap = Wrap{std::ldexp(1.0, cast.format.bits()), to_double(cast.format.lowest())};
    }
    if (is_f64_addition(cast) || is_exact || wrap) {
      kind = Sum::plain;
      return true;
    }
    const std::optional<RoundSpec> found = round_spec(cast);
    if (!found) return false;
    rounding = *found;
    kind = sum_kind(cast, addend);
    return true;
  };
  const int64_t run = spec.chunk == 0 ? max_k : std::min(max_k, spec.chunk);
  if (!sum(accumulator.cast, term, high_of(run), spec.sum, spec.accumulator, spec.wrap) ||
      (spec.chunk != 0 && !sum(sums.outer, span_of(accumulator.cast.format), high_of(max_k),
                               spec.outer_sum, spec.outer, spec.outer_wrap))) {
    return no("sums are rounded in a way that f64 lanes do not have");
  }
  return spec;
}

namespace {

template <class T>
class WideWeights final : public PanelWeights<T> {
 public:
  WideWeights(const Arithmetic& arithmetic, const WideSpec& spec, int64_t n, int64_t k)
      : PanelWeights<T>(arithmetic, KernelKind::wide, n, k,
                        spec.form.kind == ProductForm::Kind::exact ? 52 : spec.form.kept_bits),
        spec_(spec) {}

 protected:
  void run(const PanelTask<T>& task, int) const override { run_wide(spec_, task); }

 private:
  WideSpec spec_;
};

}  // namespace

const Kernel k_wide_kernel = {
    .kind = KernelKind::wide,
    .how = "products and sums are computed in f64 lanes, exactly, and rounded there",
    .why_not = [](const Arithmetic& arithmetic) -> std::optional<std::string> {
      std::string why;
      if (WideSpec::make(arithmetic, &why)) return std::nullopt;
      return why;
    },
    .pack = [](const Arithmetic& arithmetic, int64_t n, int64_t k, const RowReader& w,
               ThreadPool& pool) -> std::unique_ptr<PackedWeights> {
      const std::optional<WideSpec> spec = WideSpec::make(arithmetic, nullptr, k);
      if (!spec) return k_reference_kernel.pack(arithmetic, n, k, w, pool);
      return fit_float(arithmetic)
                 ? pack_panels<WideWeights<float>>(w, pool, arithmetic, *spec, n, k)
                 : pack_panels<WideWeights<double>>(w, pool, arithmetic, *spec, n, k);
    },
};

}  // namespace napier
#endif  // HWY_ONCE
