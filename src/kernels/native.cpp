// Exact products in f32 lanes: one fused multiply-add each, which rounds once, as the reference.
#include "kernels/targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/native.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/round_to-inl.h"
#include "kernels/tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace napier {
namespace HWY_NAMESPACE {

#if HWY_NATIVE_FMA
HWY_INLINE VecF32 fused(VecF32 x, VecF32 w, VecF32 sum) { return hn::MulAdd(x, w, sum); }
#elif HWY_TARGET == HWY_SCALAR
HWY_INLINE VecF32 fused(VecF32 x, VecF32 w, VecF32 sum) {
  const float r = __builtin_fmaf(hn::GetLane(x), hn::GetLane(w), hn::GetLane(sum));
  return hn::Set(F32(), r);
}
#else
// Without the instruction: an exact product in f64, a sum rounded to odd, and one rounding.
HWY_INLINE VecF32 fused(VecF32 x, VecF32 w, VecF32 sum) {
  const F32 d;
  const hn::Half<F32> dh;
  const F64 d64;
  const auto half = [&](auto x, auto w, auto sum) NAPIER_LAMBDA {
    const VecF64 product = hn::Mul(hn::PromoteTo(d64, x), hn::PromoteTo(d64, w));
    return to_f32(add_to_odd(hn::PromoteTo(d64, sum), product));
  };
  const auto low = half(hn::LowerHalf(dh, x), hn::LowerHalf(dh, w), hn::LowerHalf(dh, sum));
  const auto high = half(hn::UpperHalf(dh, x), hn::UpperHalf(dh, w), hn::UpperHalf(dh, sum));
  return hn::Combine(d, high, low);
}
#endif

struct NativeProduct {
  static constexpr int k_group = 1;
  struct Weight {
    VecF32 w;
  };
  HWY_INLINE Weight load(const float* w) const { return {hn::LoadU(F32(), w)}; }
  HWY_INLINE VecF32 broadcast(const float* x) const { return hn::Set(F32(), *x); }
  HWY_INLINE VecF32 add(VecF32 x, const Weight& w, VecF32 sum) const { return fused(x, w.w, sum); }
};

void run_native(const PanelTask<float>& task) { run_tiles(NativeProduct(), task); }

}  // namespace HWY_NAMESPACE
}  // namespace napier
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "kernels/lanes.hpp"

namespace napier {

HWY_EXPORT(run_native);

void run_native_lanes(const PanelTask<float>& task) { HWY_DYNAMIC_DISPATCH(run_native)(task); }

namespace {

class NativeWeights final : public PanelWeights<float> {
 public:
  NativeWeights(const Arithmetic& arithmetic, int64_t n, int64_t k)
      : PanelWeights(arithmetic, KernelKind::native, n, k, 52) {}

 protected:
  void run(const PanelTask<float>& task, int) const override { run_native_lanes(task); }
};

std::optional<std::string> why_not(const Arithmetic& arithmetic) {
  const Multiplier multiplier = arithmetic.resolved_multiplier();
  if (multiplier.form().kind != ProductForm::Kind::exact) return "the products are not exact";
  if (multiplier.product()) return "the products are rounded";
  if (!arithmetic.accumulator.is_plain_f32()) return "the accumulator is not plain f32";
  if (!fit_float(arithmetic)) return k_not_in_float;
  return std::nullopt;
}

}  // namespace

const Kernel k_native_kernel = {
    .kind = KernelKind::native,
    .how = "operands are decoded once; each product is one fused multiply-add in f32 lanes",
    .why_not = why_not,
    .pack = [](const Arithmetic& arithmetic, int64_t n, int64_t k, const RowReader& w,
               ThreadPool& pool) -> std::unique_ptr<PackedWeights> {
      return pack_panels<NativeWeights>(w, pool, arithmetic, n, k);
    },
};

}  // namespace napier
#endif  // HWY_ONCE
