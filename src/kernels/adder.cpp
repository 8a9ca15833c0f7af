// Products by integer addition of f32 patterns: L-Mul's adder reading, Mitchell and their kind.
//
//   pattern(x) + pattern(w) - pattern(1) + offset * 2^23
//
// as 32-bit integers: exponents and mantissas add, mantissa carries run into the exponent, and the
// sign bits add to their xor as nothing below reaches them. That holds where no exponent leaves
// f32's normal range: |x| and |w| normal, xe + ye >= -126 and, with the carry of up to 2, xe + ye
// <= 125. Elsewhere a block of rows is handed to `wide`. Zeros: an activation's is the factor of
// its product's addition, 1 or 0, and a weight's the mask of the integer addition.
#include "kernels/targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/adder.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace napier {
namespace HWY_NAMESPACE {

using I32 = hn::ScalableTag<int32_t>;
using VecI32 = hn::Vec<I32>;

template <bool k_masked>
struct AdderProduct {
  static constexpr int k_group = 2;
  struct Weight {
    VecI32 pattern;
    hn::Mask<I32> nonzero;
  };
  struct Activation {
    VecI32 pattern;
    VecF32 factor;
  };
  HWY_INLINE Weight load(const float* w) const {
    const I32 d;
    const VecI32 pattern = hn::BitCast(d, hn::LoadU(F32(), w));
    // Both zeros: the sign is shifted out.
    return {pattern, hn::Ne(hn::ShiftLeft<1>(pattern), hn::Zero(d))};
  }
  HWY_INLINE Activation broadcast(const float* x) const {
    const I32 d;
    return {hn::Set(d, std::bit_cast<int32_t>(x[0])), hn::Set(F32(), x[1])};
  }
  HWY_INLINE VecF32 add(const Activation& x, const Weight& w, VecF32 sum) const {
    VecI32 product = hn::Add(x.pattern, w.pattern);
    if (k_masked) product = hn::IfThenElseZero(w.nonzero, product);
    // The factor is 1 or 0: fused or not, this rounds once.
    return hn::MulAdd(hn::BitCast(F32(), product), x.factor, sum);
  }
};

void run_adder(const PanelTask<float>& task, bool w_has_zero) {
  if (w_has_zero) {
    run_tiles(AdderProduct<true>(), task);
  } else {
    run_tiles(AdderProduct<false>(), task);
  }
}

// Pairs (pattern less that of 1 plus the offset, factor). A zero has the pattern of `filler`, which
// gives a finite product with every weight in the window.
void encode_adder(const float* values, int64_t count, int32_t bias, int32_t filler, float* out) {
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t bits = std::bit_cast<uint32_t>(values[i]);
    const bool zero = (bits & 0x7FFFFFFF) == 0;
    const uint32_t pattern =
        (zero ? static_cast<uint32_t>(filler) : bits) + static_cast<uint32_t>(bias);
    out[2 * i] = std::bit_cast<float>(pattern);
    out[2 * i + 1] = zero ? 0.0f : 1.0f;
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace napier
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "kernels/lanes.hpp"

namespace napier {

HWY_EXPORT(run_adder);
HWY_EXPORT(encode_adder);

namespace {

constexpr int k_masked = 2;  // the path for weights with zeros

int path_of(const MagnitudeRange& x, const MagnitudeRange& w) {
  const bool fits = x.is_normal() && w.is_normal() && x.min_exponent() + w.min_exponent() >= -126 &&
                    x.max_exponent() + w.max_exponent() <= 125 &&
                    (!x.has_zero || w.max_exponent() <= 125);  // a row of zeros has 1 for filler
  return !fits ? 0 : w.has_zero ? k_masked : 1;
}

int32_t bias_of(const ProductForm& form) {
  return static_cast<int32_t>(form.offset * 0x1p23) - 0x3F800000;
}

int32_t filler_of(const MagnitudeRange& x) {
  return x.is_empty() ? 0x3F800000 : static_cast<int32_t>(x.max);
}

}  // namespace

void run_adder_lanes(const PanelTask<float>& task, const ProductForm& form, const WideSpec& wide,
                     const MagnitudeRange& x, const MagnitudeRange& w) {
  const int path = path_of(x, w);
  if (path == 0) return run_wide(wide, task);
  thread_local Scratch<float> memory;
  const auto encode = [&](const float* values, int64_t k, float* to) {
    HWY_DYNAMIC_DISPATCH(encode_adder)(values, k, bias_of(form), filler_of(x), to);
  };
  const PanelTask<float> encoded = encode_rows(task, 2, memory, encode);
  HWY_DYNAMIC_DISPATCH(run_adder)(encoded, path == k_masked);
}

namespace {

class AdderWeights final : public PanelWeights<float> {
 public:
  AdderWeights(const Arithmetic& arithmetic, const ProductForm& form, int64_t n, int64_t k)
      : PanelWeights(arithmetic, KernelKind::adder, n, k, form.kept_bits),
        wide_(*WideSpec::make(arithmetic)),
        bias_(bias_of(form)) {}

 protected:
  int encoded_size() const override { return 2; }
  bool needs_ranges() const override { return true; }
  void encode(const float* values, int64_t count, const MagnitudeRange& range, float* encoded,
              RowCode&) const override {
    HWY_DYNAMIC_DISPATCH(encode_adder)(values, count, bias_, filler_of(range), encoded);
  }
  int path(const MagnitudeRange& x, const MagnitudeRange& w) const override {
    return path_of(x, w);
  }
  void run(const PanelTask<float>& task, int path) const override {
    HWY_DYNAMIC_DISPATCH(run_adder)(task, path == k_masked);
  }
  void run_any(const PanelTask<float>& task, const MagnitudeRange&,
               const MagnitudeRange&) const override {
    run_wide(wide_, task);
  }

 private:
  WideSpec wide_;
  int32_t bias_;
};

std::optional<std::string> why_not(const Arithmetic& arithmetic) {
  const Multiplier multiplier = arithmetic.resolved_multiplier();
  const ProductForm form = multiplier.form();
  if (form.kind != ProductForm::Kind::pattern_add) return "the products are no sums of patterns";
  const double steps = form.offset * 0x1p23;
  if (steps < 0 || steps > 0x1p23 || steps != static_cast<double>(static_cast<int32_t>(steps))) {
    return "the offset is not a multiple of f32's last mantissa bit";
  }
  // In the window every product is an f32 number: no rounding to f32 changes it.
  const std::optional<Cast> product = multiplier.product();
  if (product && product->format != k_f32) return "the products are rounded to less than f32";
  if (!arithmetic.accumulator.is_plain_f32()) return "the accumulator is not plain f32";
  if (!fit_float(arithmetic)) return k_not_in_float;
  return k_wide_kernel.why_not(arithmetic);  // what leaves the window goes there
}

}  // namespace

const Kernel k_adder_kernel = {
    .kind = KernelKind::adder,
    .how = "each product is one integer addition of f32 patterns, summed in f32 lanes",
    .why_not = why_not,
    .pack = [](const Arithmetic& arithmetic, int64_t n, int64_t k, const RowReader& w,
               ThreadPool& pool) -> std::unique_ptr<PackedWeights> {
      const ProductForm form = arithmetic.resolved_multiplier().form();
      return pack_panels<AdderWeights>(w, pool, arithmetic, form, n, k);
    },
};

}  // namespace napier
#endif  // HWY_ONCE
