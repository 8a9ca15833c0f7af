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
// known to be below: adding and taking away 1.5 * 2^23 gaps rounds numbers of both signs.
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
    const VecF32 shift = hn::Mul(power, magic);
    VecF32 r = hn::Sub(hn::Add(v, shift), shift);
    if (k_saturates) r = hn::Min(hn::Max(r, least), largest);
    return hn::OrAnd(r, v, hn::SignBit(F32()));  // what becomes zero keeps its sign
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
  if (spec.term_bits + significand_bits(spec.format) + 3 > 24) {
    return no("f32's sums are not exact enough to be rounded again");
  }
  return spec;
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
