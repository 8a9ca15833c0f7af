// L-Mul's formula reading: +-2^(xe+ye) (1 + xm + ym + c). With p(v) = +-2^e and v = p(v) + q(v),
//
//   product = p(x) [ (x / p(x)) p(w) + q(w) + c p(w) ]
//
// two fused multiply-adds: the bracket is rounded to f32 once, and multiplied by a power of two as
// it is added. Scaling by p(x) commutes with rounding where nothing leaves f32's normal range: x
// and w normal, xe + ye >= -126 and, as the bracket is below 4 p(w), ye <= 125 and xe + ye <= 125.
// Elsewhere a block of rows is handed to `wide`. Zeros have p = q = 0.
#include "kernels/targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/bilinear.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace napier {
namespace HWY_NAMESPACE {

struct BilinearLanes {
  static constexpr int k_group = 2;
  struct Weight {
    VecF32 power;
    VecF32 rest;
  };
  struct Activation {
    VecF32 significand;
    VecF32 power;
  };
  HWY_INLINE Weight load(const float* w) const {
    const F32 d;
    const hn::ScalableTag<uint32_t> du;
    const VecF32 v = hn::LoadU(d, w);
    const VecF32 power = hn::BitCast(d, hn::And(hn::BitCast(du, v), hn::Set(du, 0xFF800000)));
    // Exact: a multiple of 2^(ye-23) below 2 p(w), as is each part.
    return {power, hn::MulAdd(power, hn::Set(d, offset), hn::Sub(v, power))};
  }
  HWY_INLINE Activation broadcast(const float* x) const {
    return {hn::Set(F32(), x[0]), hn::Set(F32(), x[1])};
  }
  HWY_INLINE VecF32 add(const Activation& x, const Weight& w, VecF32 sum) const {
    // Each product here is exact, so that it does not matter whether the machine fuses.
    const VecF32 bracket = hn::MulAdd(x.significand, w.power, w.rest);
    return hn::MulAdd(bracket, x.power, sum);
  }
  float offset;
};

void run_bilinear(const PanelTask<float>& task, float offset) {
  run_tiles(BilinearLanes{offset}, task);
}

// Pairs (significand in [1, 2), +-2^e); a zero's are 1 and 0.
void encode_bilinear(const float* values, int64_t count, float* out) {
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t bits = std::bit_cast<uint32_t>(values[i]);
    out[2 * i] = std::bit_cast<float>((bits & 0x007FFFFF) | 0x3F800000);
    out[2 * i + 1] = std::bit_cast<float>(bits & 0xFF800000);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace napier
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "kernels/lanes.hpp"

namespace napier {

HWY_EXPORT(run_bilinear);
HWY_EXPORT(encode_bilinear);

namespace {

bool fits(const MagnitudeRange& x, const MagnitudeRange& w) {
  return x.is_normal() && w.is_normal() && x.min_exponent() + w.min_exponent() >= -126 &&
         x.max_exponent() + w.max_exponent() <= 125 && w.max_exponent() <= 125;
}

}  // namespace

void run_bilinear_lanes(const PanelTask<float>& task, const ProductForm& form, const WideSpec& wide,
                        const MagnitudeRange& x, const MagnitudeRange& w) {
  if (!fits(x, w)) return run_wide(wide, task);
  thread_local Scratch<float> memory;
  const auto encode = [](const float* values, int64_t k, float* to) {
    HWY_DYNAMIC_DISPATCH(encode_bilinear)(values, k, to);
  };
  const PanelTask<float> encoded = encode_rows(task, 2, memory, encode);
  HWY_DYNAMIC_DISPATCH(run_bilinear)(encoded, static_cast<float>(form.offset));
}

namespace {

class BilinearWeights final : public PanelWeights<float> {
 public:
  BilinearWeights(const Arithmetic& arithmetic, const ProductForm& form, int64_t n, int64_t k)
      : PanelWeights(arithmetic, KernelKind::bilinear, n, k, form.kept_bits),
        wide_(*WideSpec::make(arithmetic)),
        offset_(static_cast<float>(form.offset)) {}

 protected:
  int encoded_size() const override { return 2; }
  bool needs_ranges() const override { return true; }
  void encode(const float* values, int64_t count, const MagnitudeRange&, float* encoded, float*,
              RowCode& code) const override {
    code = {};
    HWY_DYNAMIC_DISPATCH(encode_bilinear)(values, count, encoded);
  }
  int path(const MagnitudeRange& x, const MagnitudeRange& w) const override { return fits(x, w); }
  void run(const PanelTask<float>& task, int) const override {
    HWY_DYNAMIC_DISPATCH(run_bilinear)(task, offset_);
  }
  void run_any(const PanelTask<float>& task, const MagnitudeRange&,
               const MagnitudeRange&) const override {
    run_wide(wide_, task);
  }

 private:
  WideSpec wide_;
  float offset_;
};

std::optional<std::string> why_not(const Arithmetic& arithmetic) {
  const Multiplier multiplier = arithmetic.resolved_multiplier();
  const ProductForm form = multiplier.form();
  if (form.kind != ProductForm::Kind::bilinear) return "the products are not bilinear";
  const double steps = form.offset * 0x1p23;
  if (steps < 0 || steps > 0x1p23 || steps != static_cast<double>(static_cast<int32_t>(steps))) {
    return "the offset is not a multiple of f32's last mantissa bit";
  }
  const std::optional<Cast> product = multiplier.product();
  const bool nearest =
      product && product->format == k_f32 && product->rounding == Rounding::nearest_even;
  // Below 4 and a multiple of 2^-22: f32 holds the product, and no rounding changes it.
  const bool short_offset = form.offset * 0x1p22 == static_cast<int32_t>(form.offset * 0x1p22);
  const bool exact = (!product || product->format == k_f32) && form.kept_bits <= 22 && short_offset;
  if (!nearest && !exact) return "the products are rounded otherwise than to f32, to nearest even";
  if (!arithmetic.accumulator.is_plain_f32()) return "the accumulator is not plain f32";
  if (!fit_float(arithmetic)) return k_not_in_float;
  return k_wide_kernel.why_not(arithmetic);  // what leaves the window goes there
}

}  // namespace

const Kernel k_bilinear_kernel = {
    .kind = KernelKind::bilinear,
    .how = "each product is two fused multiply-adds in f32 lanes: powers of two times sums",
    .why_not = why_not,
    .pack = [](const Arithmetic& arithmetic, int64_t n, int64_t k, const RowReader& w,
               ThreadPool& pool) -> std::unique_ptr<PackedWeights> {
      const ProductForm form = arithmetic.resolved_multiplier().form();
      return pack_panels<BilinearWeights>(w, pool, arithmetic, form, n, k);
    },
};

}  // namespace napier
#endif  // HWY_ONCE
