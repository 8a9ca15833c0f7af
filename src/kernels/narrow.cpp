// Sums rounded into a narrow format after each addition, in f32 lanes: about ten operations a
// product, where f64 lanes take twice as many for half as many products.
//
// f32's addition rounds the exact sum to 24 bits, and the format rounds that once more. That is
// one rounding where f32 loses nothing that matters. It loses bits only of numbers that lie far
// apart. A sum of s bits next to a small term of t bits, s + t + 3 <= 24, is a number of the format
// and no tie: what is lost changes nothing. A term next to a small sum may be a tie, unless t <= s
// (Figueroa, "When is double rounding innocuous?", 1995); else terms must be below 2^23 of the
// sums' last bits, or so large that they saturate.
#include "kernels/targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/narrow.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/narrow.hpp"
#include "kernels/tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace napier {
namespace HWY_NAMESPACE {

// To the nearest multiple of the gap, ties to even, then not beyond the largest, unless numbers are
// known to be below: adding and taking away 1.5 * 2^23 gaps rounds numbers of both signs. What
// becomes zero loses its sign (see sign_of_zero). Each product here is exact, fused or not.
template <bool k_saturates>
struct NarrowRound {
  explicit NarrowRound(const NarrowSpec::Round& round)
      : exponents(hn::Set(F32(), std::bit_cast<float>(0x7F800000))),
        floor(hn::Set(F32(), round.floor)),
        magic(hn::Set(F32(), round.magic)),
        largest(hn::Set(F32(), round.largest)),
        least(hn::Set(F32(), -round.largest)) {}

  HWY_INLINE VecF32 operator()(VecF32 v) const {
    const VecF32 power = hn::Max(hn::And(v, exponents), floor);
    const VecF32 r = hn::NegMulAdd(power, magic, hn::MulAdd(power, magic, v));
    return k_saturates ? hn::Min(hn::Max(r, least), largest) : r;
  }

  VecF32 exponents, floor, magic, largest, least;
};

struct Unrounded {};

template <class Sum, class Product>
struct NarrowProduct {
  static constexpr int k_group = 1;
  struct Weight {
    VecF32 w;
  };
  HWY_INLINE Weight load(const float* w) const { return {hn::LoadU(F32(), w)}; }
  HWY_INLINE VecF32 broadcast(const float* x) const { return hn::Set(F32(), *x); }
  // The product is exact in f32: fused or not makes no difference.
  HWY_INLINE VecF32 add(VecF32 x, const Weight& w, VecF32 sum) const {
    if constexpr (std::is_same_v<Product, Unrounded>) {
      return accumulator(hn::MulAdd(x, w.w, sum));
    } else {
      return accumulator(hn::Add(sum, product(hn::Mul(x, w.w))));
    }
  }
  Sum accumulator;
  Product product;
};

template <class Sum>
void run_with(const PanelTask<float>& task, const NarrowSpec& spec, bool products_saturate,
              const Sum& sum) {
  if (!spec.product) {
    run_tiles<4>(NarrowProduct<Sum, Unrounded>{sum, {}}, task);
  } else if (products_saturate) {
    using Product = NarrowRound<true>;
    run_tiles<4>(NarrowProduct<Sum, Product>{sum, Product(*spec.product)}, task);
  } else {
    using Product = NarrowRound<false>;
    run_tiles<4>(NarrowProduct<Sum, Product>{sum, Product(*spec.product)}, task);
  }
}

void run_narrow(const PanelTask<float>& task, const NarrowSpec& spec, int path) {
  const bool products_saturate = path == NarrowSpec::products_saturate;
  if (path == NarrowSpec::none_saturates) {
    run_with(task, spec, products_saturate, NarrowRound<false>(spec.accumulator));
  } else {
    run_with(task, spec, products_saturate, NarrowRound<true>(spec.accumulator));
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace napier
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <cmath>

#include "kernels/wide.hpp"

namespace napier {

HWY_EXPORT(run_narrow);

namespace {

int significand_bits(const Format& format) { return format.mantissa_bits + 1; }
int least_bit(const Format& format) { return format.min_exponent() - format.mantissa_bits; }

std::optional<NarrowSpec::Round> round_of(const Cast& cast) {
  const Format& format = cast.format;
  const std::optional<RoundSpec> spec = round_spec(cast);
  if (!spec || !spec->is_common || cast.overflow != Overflow::saturate) return std::nullopt;
  // Binades are read off f32's exponents.
  if (format.mantissa_bits > 20 || format.min_exponent() < -126 || format.max_exponent() > 127) {
    return std::nullopt;
  }
  NarrowSpec::Round round;
  round.floor = static_cast<float>(spec->floor);
  round.magic = std::ldexp(1.5f, 23 - format.mantissa_bits);
  round.largest = static_cast<float>(spec->largest);
  return round;
}

// A number below 2^exponent is rounded without overflow on the way.
bool rounds_below(int exponent, const Format& format) {
  return exponent + 24 - format.mantissa_bits <= 126;
}

std::optional<NarrowSpec> make_spec(const Arithmetic& arithmetic, std::string* why_not) {
  const auto no = [&](const char* why) -> std::optional<NarrowSpec> {
    *why_not = why;
    return std::nullopt;
  };
  const Multiplier multiplier = arithmetic.resolved_multiplier();
  if (multiplier.form().kind != ProductForm::Kind::exact) return no("the products are not exact");
  if (!arithmetic.accumulator.is_plain()) return no("sums are not made one by one");
  if (!fit_float(arithmetic)) return no(k_not_in_float);
  NarrowSpec spec;
  spec.product_mantissa = 1;  // a product's leading bit may stand at 2 or at 1
  for (const Operand* operand : {&arithmetic.x, &arithmetic.w}) {
    // A literal subnormal has one bit more.
    spec.product_mantissa +=
        operand->significand_bits() - 1 + (operand->subnormals == Subnormals::literal ? 1 : 0);
  }
  if (spec.product_mantissa + 1 > 24) return no("f32 does not hold every product");
  spec.term_bits = spec.product_mantissa + 1;
  if (const std::optional<Cast> product = multiplier.product()) {
    spec.product = round_of(*product);
    if (!spec.product) return no("products are rounded in a way that f32 lanes do not have");
    spec.product_format = product->format;
    spec.term_bits = significand_bits(product->format);
  }
  const auto round = round_of(arithmetic.accumulator.cast);
  if (!round) return no("sums are rounded in a way that f32 lanes do not have");
  spec.accumulator = *round;
  spec.format = arithmetic.accumulator.cast.format;
  spec.half_gap = std::ldexp(1.0f, least_bit(spec.format) - 1);
  const int least_of_terms =
      spec.product ? least_bit(spec.product_format)
                   : Quantiser(arithmetic.x).least_bit + Quantiser(arithmetic.w).least_bit;
  spec.sums_vanish = least_of_terms < least_bit(spec.format);
  if (spec.term_bits + significand_bits(spec.format) + 3 > 24) {
    return no("f32's sums are not exact enough to be rounded again");
  }
  return spec;
}

// As the lanes round, with a zero's sign.
float rounded(const NarrowSpec::Round& round, float v) {
  const float binade = std::bit_cast<float>(std::bit_cast<uint32_t>(v) & 0x7F800000);
  const float shift = std::max(binade, round.floor) * round.magic;
  const float r = (v + shift) - shift;
  return std::copysign(std::clamp(r, -round.largest, round.largest), v);
}

// The sign of a sum that came out as zero, as which the lanes give +0. Only a number other than
// zero that was rounded to zero gives -0, and only -0 may follow it. The last term other than zero
// made the sum zero: if it is below half a gap the sum was zero before, and takes its sign. Where
// scales may have made the zero, the sum is made again.
float sign_of_zero(const NarrowSpec& spec, const float* x, const float* w, int64_t k,
                   bool is_scaled) {
  const auto term = [&](int64_t i) {
    const float product = x[i] * w[i * k_panel];
    return spec.product ? rounded(*spec.product, product) : product;
  };
  for (int64_t last = k - 1; last >= 0 && !is_scaled; --last) {
    const float t = term(last);
    if (t == 0 && !std::signbit(t)) return 0;
    if (std::abs(t) >= spec.half_gap) break;
    if (t != 0) return std::copysign(0.0f, t);
  }
  float sum = 0;
  for (int64_t i = 0; i < k; ++i) sum = rounded(spec.accumulator, sum + term(i));
  return sum;
}

void restore_signs_of_zeros(const PanelTask<float>& task, const NarrowSpec& spec) {
  const int64_t k = task.run_ends[task.runs - 1];
  const bool is_scaled = task.x_scale != nullptr || task.w_scale != nullptr;
  for (int64_t row = 0; row < task.rows; ++row) {
    const float* x = task.x + row * task.x_stride;
    float* out = task.out + row * task.out_stride;
    for (int64_t c = 0; c < task.columns; ++c) {
      if (out[c] != 0) continue;
      const float* w = task.w + c / k_panel * task.panel_stride + c % k_panel;
      out[c] = std::copysign(out[c], sign_of_zero(spec, x, w, k, is_scaled));
    }
  }
}

class NarrowWeights final : public PanelWeights<float> {
 public:
  NarrowWeights(const Arithmetic& arithmetic, const NarrowSpec& spec, int64_t n, int64_t k)
      : PanelWeights(arithmetic, KernelKind::narrow, n, k, 52),
        spec_(spec),
        wide_(*WideSpec::make(arithmetic)) {}

 protected:
  bool needs_ranges() const override { return true; }

  int path(const MagnitudeRange& x, const MagnitudeRange& w) const override {
    if (!x.is_normal() || !w.is_normal()) return 0;
    // No bit of a product lies below f32's least.
    if (x.min_exponent() + w.min_exponent() - spec_.product_mantissa < -149) return 0;
    // Products, terms and sums lie below 2 to these powers; nothing overflows on the way.
    const int product = x.max_exponent() + w.max_exponent() + 2;
    int term = product;
    if (spec_.product) {
      if (!rounds_below(product, spec_.product_format)) return 0;
      term = std::min(product, spec_.product_format.max_exponent()) + 1;
    }
    const int all_terms = term + static_cast<int>(std::bit_width(static_cast<uint64_t>(k())));
    const int most = spec_.format.max_exponent() + 1;
    if (!rounds_below(std::max(term, std::min(most, all_terms)) + 1, spec_.format)) return 0;
    // A small sum beside a large term, as said above.
    const int lost = least_bit(spec_.format) + 23;
    if (spec_.term_bits > significand_bits(spec_.format) && term > lost && lost < most + 1) {
      return 0;
    }
    if (spec_.product && product >= spec_.product_format.max_exponent()) {
      return NarrowSpec::products_saturate;
    }
    return all_terms + 1 >= spec_.format.max_exponent() ? NarrowSpec::sums_saturate
                                                        : NarrowSpec::none_saturates;
  }
  void run(const PanelTask<float>& task, int path) const override {
    HWY_DYNAMIC_DISPATCH(run_narrow)(task, spec_, path);
    // Blocks' sums are added from +0, which stays so.
    if (spec_.sums_vanish && !task.in_blocks) restore_signs_of_zeros(task, spec_);
  }
  void run_any(const PanelTask<float>& task, const MagnitudeRange&,
               const MagnitudeRange&) const override {
    run_wide(wide_, task);
  }

 private:
  NarrowSpec spec_;
  WideSpec wide_;
};

std::optional<std::string> why_not(const Arithmetic& arithmetic) {
  std::string why;
  if (!make_spec(arithmetic, &why)) return why;
  return k_wide_kernel.why_not(arithmetic);  // what leaves the window goes there
}

}  // namespace

const Kernel k_narrow_kernel = {
    .kind = KernelKind::narrow,
    .how = "exact products are summed in f32 lanes and rounded there after each addition",
    .why_not = why_not,
    .pack = [](const Arithmetic& arithmetic, int64_t n, int64_t k, const RowReader& w,
               ThreadPool& pool) -> std::unique_ptr<PackedWeights> {
      std::string why;
      return pack_panels<NarrowWeights>(w, pool, arithmetic, *make_spec(arithmetic, &why), n, k);
    },
};

}  // namespace napier
#endif  // HWY_ONCE
