// Products by integer addition of f32 patterns: L-Mul's adder reading, Mitchell and their kind.
//
//   pattern(x) + pattern(w) - pattern(1) + offset * 2^23
//
// as 32-bit integers: exponents and mantissas add, mantissa carries run into the exponent, and the
// sign bits add to their xor as nothing below reaches them. Zeros as code_window.hpp says; what
// leaves its windows is handed to `wide`.
#include "kernels/targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/adder.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/code_window.hpp"
#include "kernels/tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace napier {
namespace HWY_NAMESPACE {

using I32 = hn::ScalableTag<int32_t>;
using VecI32 = hn::Vec<I32>;

template <bool k_factor, bool k_mask>
struct AdderProduct {
  static constexpr int k_group = 1;
  int64_t factors;  // from a pattern to its factor
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
    const VecI32 pattern = hn::Set(I32(), std::bit_cast<int32_t>(x[0]));
    return {pattern, k_factor ? hn::Set(F32(), x[factors]) : hn::Zero(F32())};
  }
  HWY_INLINE VecF32 add(const Activation& x, const Weight& w, VecF32 sum) const {
    VecI32 sum_of_patterns = hn::Add(x.pattern, w.pattern);
    if (k_mask) sum_of_patterns = hn::IfThenElseZero(w.nonzero, sum_of_patterns);
    const VecF32 product = hn::BitCast(F32(), sum_of_patterns);
    // The factor is 1 or 0: fused or not, this rounds once.
    return k_factor ? hn::MulAdd(product, x.factor, sum) : hn::Add(sum, product);
  }
};

void run_adder(const PanelTask<float>& task, int path) {
  switch (path) {
    case CodeWindow::adder: return run_tiles(AdderProduct<false, false>{task.factors}, task);
    case CodeWindow::factored: return run_tiles(AdderProduct<true, false>{task.factors}, task);
    default: return run_tiles(AdderProduct<true, true>{task.factors}, task);
  }
}

// Patterns plus `bias`, zeros as `zero`, and each one's factor.
void encode_adder(const float* __restrict values, int64_t count, uint32_t bias, uint32_t zero,
                  float* __restrict out, float* __restrict factors) {
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t bits = std::bit_cast<uint32_t>(values[i]);
    const bool is_zero = (bits & 0x7FFFFFFF) == 0;
    out[i] = std::bit_cast<float>((is_zero ? zero : bits) + bias);
    factors[i] = is_zero ? 0.0f : 1.0f;
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

constexpr int k_mantissa = 23;

// A row's patterns for weights of the window.
RowCode encode_row(const CodeWindow& window, int32_t offset, const float* values, int64_t count,
                   float* out, float* factors) {
  const CodeWindow::Path path = window.adder_path();
  const uint32_t bias = (static_cast<uint32_t>(window.shift()) << k_mantissa) - 0x3F800000 +
                        static_cast<uint32_t>(offset);  // modulo 2^32
  // Where zeros have no code of their own (then they are multiplied by 0), any in the window.
  const int zero = path == CodeWindow::adder ? window.zero() : window.a0;
  HWY_DYNAMIC_DISPATCH(encode_adder)
  (values, count, bias, static_cast<uint32_t>(zero + 127) << k_mantissa, out, factors);
  return window.row_code(path);
}

int32_t offset_of(const ProductForm& form) { return static_cast<int32_t>(form.offset * 0x1p23); }

}  // namespace

void run_adder_lanes(PanelTask<float> task, const ProductForm& form, const WideSpec& wide,
                     const MagnitudeRange& x, const MagnitudeRange& w) {
  const int64_t k = task.run_ends[task.runs - 1];
  const CodeWindow window(x, w, k, k_mantissa);
  const int path = x.is_normal() && w.is_normal() ? window.adder_path() : CodeWindow::none;
  if (path == CodeWindow::none) return run_wide(wide, task);
  thread_local Scratch<float> memory;
  RowCode codes[k_row_block];
  int row = 0;
  task = encode_rows(task, 2, memory, [&](const float* values, int64_t count, float* to) {
    codes[row++] = encode_row(window, offset_of(form), values, count, to, to + count);
  });
  task.factors = k;
  task.x_code = codes;
  HWY_DYNAMIC_DISPATCH(run_adder)(task, path);
}

namespace {

class AdderWeights final : public PanelWeights<float> {
 public:
  AdderWeights(const Arithmetic& arithmetic, const ProductForm& form, int64_t n, int64_t k)
      : PanelWeights(arithmetic, KernelKind::adder, n, k, form.kept_bits),
        wide_(*WideSpec::make(arithmetic)),
        form_(form) {}

 protected:
  int encoded_size() const override { return 1; }
  bool has_factors() const override { return true; }
  bool needs_ranges() const override { return true; }
  void encode(const float* values, int64_t count, const MagnitudeRange& range, float* encoded,
              float* factors, RowCode& code) const override {
    code = encode_row(CodeWindow(range, normal_range(), count, k_mantissa), offset_of(form_),
                      values, count, encoded, factors);
  }
  int path(const MagnitudeRange& x, const MagnitudeRange& w) const override {
    if (!x.is_normal() || !w.is_normal()) return CodeWindow::none;
    return CodeWindow(x, normal_range(), k(), k_mantissa).adder_path();
  }
  void run(const PanelTask<float>& task, int path) const override {
    HWY_DYNAMIC_DISPATCH(run_adder)(task, path);
  }
  void run_any(const PanelTask<float>& task, const MagnitudeRange& x,
               const MagnitudeRange& w) const override {
    run_adder_lanes(task, form_, wide_, x, w);
  }

 private:
  WideSpec wide_;
  ProductForm form_;
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
