// Sums as tensor cores make them, in f64 lanes: a group of exact products and the sum so far are
// cut to multiples of one power of two, added exactly, and rounded once.
#include "kernels/targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/aligned.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/aligned.hpp"
#include "kernels/round_to-inl.h"

HWY_BEFORE_NAMESPACE();
namespace napier {
namespace HWY_NAMESPACE {

HWY_INLINE VecF64 product_of(const float* w, float x) {
  const VecF64 weights = hn::PromoteTo(F64(), hn::LoadU(hn::Rebind<float, F64>(), w));
  return hn::Mul(weights, hn::Set(F64(), double{x}));
}

// The sum of a run of k for one vector of outputs.
HWY_INLINE VecF64 aligned_sum(const AlignedSpec& spec, const float* x, const float* w,
                              int64_t begin, int64_t end) {
  const F64 d;
  const U64 du;
  const VecF64 tiny = hn::Set(d, 0x1p-900);
  const VecF64 infinity = hn::BitCast(d, hn::Set(du, 0x7FF0000000000000));
  VecF64 total = hn::Zero(d);
  for (int64_t first = begin; first < end; first += spec.align) {
    const int64_t last = std::min(first + spec.align, end);
    VecF64 largest = hn::Abs(total);
    for (int64_t k = first; k < last; ++k) {
      largest = hn::Max(largest, hn::Abs(product_of(w + k * k_panel, x[k])));
    }
    // 2^e of the largest; where that is no number nothing is cut that matters.
    const VecF64 power = hn::Max(hn::And(largest, infinity), tiny);
    const VecF64 quantum = hn::IfThenElse(hn::Lt(power, infinity),
                                          hn::Mul(power, hn::Set(d, spec.step)), hn::Set(d, 1.0));
    const VecF64 inverse = hn::Div(hn::Set(d, 1.0), quantum);
    VecF64 sum = hn::Add(hn::Zero(d), hn::Trunc(hn::Mul(total, inverse)));
    for (int64_t k = first; k < last; ++k) {
      sum = hn::Add(sum, hn::Trunc(hn::Mul(product_of(w + k * k_panel, x[k]), inverse)));
    }
    total = round_to(spec.round, hn::Mul(sum, quantum));
  }
  return total;
}

void run_aligned(const AlignedSpec& spec, const PanelTask<float>& task) {
  const F64 d;
  const hn::Rebind<float, F64> df;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t row = 0; row < task.rows; ++row) {
    const float* x = task.x + row * task.x_stride;
    for (int64_t first = 0; first < task.columns; first += lanes) {
      const int64_t panel = first / k_panel;
      const float* w = task.w + panel * task.panel_stride + first % k_panel;
      auto result = hn::Zero(df);
      for (int64_t run = 0, k = 0; run < task.runs; k = task.run_ends[run++]) {
        auto sum = to_f32(aligned_sum(spec, x, w, k, task.run_ends[run]));
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

}  // namespace HWY_NAMESPACE
}  // namespace napier
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <bit>
#include <cmath>

namespace napier {

HWY_EXPORT(run_aligned);

namespace {

std::optional<AlignedSpec> make_spec(const Arithmetic& arithmetic, std::string* why) {
  const auto no = [&](const char* text) -> std::optional<AlignedSpec> {
    *why = text;
    return std::nullopt;
  };
  const Accumulator& accumulator = arithmetic.accumulator;
  const SumForm sum = accumulator.form();
  if (sum.kind != SumForm::Kind::aligned) return no("products are not aligned");
  const Multiplier multiplier = arithmetic.resolved_multiplier();
  if (multiplier.form().kind != ProductForm::Kind::exact || multiplier.product()) {
    return no("the products are not exact");
  }
  if (!fit_float(arithmetic)) return no(k_not_in_float);
  const Format& format = accumulator.cast.format;
  const std::optional<RoundSpec> round = round_spec(accumulator.cast);
  if (!round || format.max_exponent() > 500) return no("f64 lanes do not round so");
  const int kept = format.significand_bits() - 1 + static_cast<int>(sum.extra);
  // The terms are integers below 2^(kept + 1), in units of the quantum.
  if (kept + 1 + static_cast<int>(std::bit_width(sum.align)) + 1 > 53) {
    return no("f64 does not hold every aligned sum");
  }
  return AlignedSpec{sum.align, std::ldexp(1.0, -kept), *round};
}

class AlignedWeights final : public PanelWeights<float> {
 public:
  AlignedWeights(const Arithmetic& arithmetic, const AlignedSpec& spec, int64_t n, int64_t k)
      : PanelWeights(arithmetic, KernelKind::aligned, n, k, 52), spec_(spec) {}

 protected:
  void run(const PanelTask<float>& task, int) const override {
    HWY_DYNAMIC_DISPATCH(run_aligned)(spec_, task);
  }

 private:
  AlignedSpec spec_;
};

}  // namespace

const Kernel k_aligned_kernel = {
    .kind = KernelKind::aligned,
    .how = "groups of exact products are aligned, cut and added in f64 lanes",
    .why_not = [](const Arithmetic& arithmetic) -> std::optional<std::string> {
      std::string why;
      if (make_spec(arithmetic, &why)) return std::nullopt;
      return why;
    },
    .pack = [](const Arithmetic& arithmetic, int64_t n, int64_t k, const RowReader& w,
               ThreadPool& pool) -> std::unique_ptr<PackedWeights> {
      std::string why;
      return pack_panels<AlignedWeights>(w, pool, arithmetic, *make_spec(arithmetic, &why), n, k);
    },
};

}  // namespace napier
#endif  // HWY_ONCE
