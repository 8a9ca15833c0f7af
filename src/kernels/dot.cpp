// Values that bf16 holds, as 16-bit codes: exact products, L-Mul by integer addition of codes, and
// its formula reading, all summed by the bf16 dot product in order of k.
#include "kernels/code_window.hpp"
#include "kernels/dot_product.hpp"
#include "kernels/lanes.hpp"
#include "napier/error.hpp"

namespace napier {
namespace {

using dot::k_mantissa;

// Exact products: no sum is below the normal numbers, none overflows.
bool is_exact(const CodeWindow& window) {
  return window.a0 + window.b0 >= -126 + 2 * k_mantissa &&
         window.a1 + window.b1 + 2 + window.q <= 127;
}

// The formula's parts have 7 bits below the activation's power.
bool is_bilinear(const CodeWindow& window) {
  return window.a0 - k_mantissa >= -126 && window.a0 + window.b0 >= -126 + 2 * k_mantissa &&
         window.a1 + window.b1 + 3 + window.q <= 127;
}

class DotWeights final : public PanelWeights<float, uint16_t> {
 public:
  DotWeights(const Arithmetic& arithmetic, const ProductForm& form, int64_t n, int64_t k)
      : PanelWeights(arithmetic, KernelKind::dot, n, k, kept_bits(form)),
        form_(form),
        offset_(static_cast<int32_t>(form.offset * (1 << k_mantissa))) {
    if (form.kind != ProductForm::Kind::exact) wide_ = *WideSpec::make(arithmetic);
  }

  static int kept_bits(const ProductForm& form) {
    return form.kind == ProductForm::Kind::exact ? 52 : form.kept_bits;
  }

 protected:
  int encoded_size() const override { return form_.kind == ProductForm::Kind::bilinear ? 2 : 1; }
  bool has_factors() const override { return form_.kind == ProductForm::Kind::pattern_add; }
  bool needs_ranges() const override { return true; }

  void encode(const float* values, int64_t count, const MagnitudeRange& range, uint16_t* encoded,
              uint16_t* factors, RowCode& code) const override {
    code = {};
    const bool is_padded = count % 2 != 0;  // with zeros
    MagnitudeRange x = range;
    MagnitudeRange w = normal_range();
    x.has_zero |= is_padded;
    w.has_zero |= is_padded;
    const CodeWindow window(x, w, count, k_mantissa);
    const bool is_normal = range.is_normal();
    switch (form_.kind) {
      case ProductForm::Kind::exact:
        code.path = is_normal && is_exact(window);
        return dot::encode_exact(values, count, encoded);
      case ProductForm::Kind::pattern_add: break;
      default:
        code.path = is_normal && is_bilinear(window);
        return dot::encode_bilinear(values, count, static_cast<float>(form_.offset), encoded);
    }
    const CodeWindow::Path path = window.adder_path();
    code = window.row_code(is_normal ? path : CodeWindow::none);
    const int bias = window.shift() * (1 << k_mantissa) - dot::k_one + offset_;
    // Where zeros have no code of their own (then they are multiplied by 0), any in the window.
    const int zero = path == CodeWindow::adder ? window.zero() : window.a0;
    dot::encode_codes(values, count,
                      {static_cast<uint16_t>(bias),
                       static_cast<uint16_t>((zero + 127) * (1 << k_mantissa) + bias)},
                      encoded, factors);
  }

  void run(const PanelTask<uint16_t>& task, int path) const override {
    switch (form_.kind) {
      case ProductForm::Kind::exact: return dot::run_exact(task);
      case ProductForm::Kind::pattern_add:
        return path == CodeWindow::adder      ? dot::run_adder(task)
               : path == CodeWindow::factored ? dot::run_factored(task)
                                              : dot::run_masked(task);
      default: return dot::run_bilinear(task);
    }
  }

  void run_any(const PanelTask<float>& task, const MagnitudeRange& x,
               const MagnitudeRange& w) const override {
    switch (form_.kind) {
      case ProductForm::Kind::exact: return run_native_lanes(task);
      case ProductForm::Kind::pattern_add: return run_adder_lanes(task, form_, wide_, x, w);
      default: return run_bilinear_lanes(task, form_, wide_, x, w);
    }
  }

 private:
  ProductForm form_;
  WideSpec wide_;
  int32_t offset_;
};

// Whether bf16 holds what the multiplier sees.
bool fits_code(const Operand& operand, const ProductForm& form) {
  const Quantiser quantiser(operand);
  return quantiser.fits_float() && quantiser.least_bit >= -126 - k_mantissa &&
         std::min(operand.significand_bits() - 1, DotWeights::kept_bits(form)) <= k_mantissa;
}

std::optional<std::string> why_not(const Arithmetic& arithmetic) {
  if (!dot::available()) return "this machine has no bf16 dot product that sums in order";
  const Multiplier multiplier = arithmetic.resolved_multiplier();
  const ProductForm form = multiplier.form();
  const Kernel* lanes = form.kind == ProductForm::Kind::exact         ? &k_native_kernel
                        : form.kind == ProductForm::Kind::pattern_add ? &k_adder_kernel
                                                                      : &k_bilinear_kernel;
  if (const auto why = lanes->why_not(arithmetic)) return why;  // what does not fit goes there
  if (!fits_code(arithmetic.x, form) || !fits_code(arithmetic.w, form)) {
    return "bf16 does not hold every value of the operands' formats";
  }
  const double steps = form.offset * (1 << k_mantissa);
  if (steps != static_cast<double>(static_cast<int32_t>(steps))) {
    return "the offset is not a multiple of bf16's last mantissa bit";
  }
  for (const Operand* operand : {&arithmetic.x, &arithmetic.w}) {
    for (const ScaleLevel& level : operand->scaling) {
      if (level.granularity == Granularity::column ||
          (level.granularity == Granularity::block && level.block % 2 != 0)) {
        return "pairs of steps would lie in two blocks";
      }
    }
  }
  return std::nullopt;
}

}  // namespace

const Kernel k_dot_kernel = {
    .kind = KernelKind::dot,
    .how =
        "operands are 16-bit codes; the bf16 dot product adds two products an instruction, one "
        "after the other; for L-Mul's adder reading the codes are added first",
    .why_not = why_not,
    .pack = [](const Arithmetic& arithmetic, int64_t n, int64_t k, const RowReader& w,
               ThreadPool& pool) -> std::unique_ptr<PackedWeights> {
      const ProductForm form = arithmetic.resolved_multiplier().form();
      return pack_panels<DotWeights>(w, pool, arithmetic, form, n, k);
    },
};

}  // namespace napier
