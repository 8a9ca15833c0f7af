// How two numbers are multiplied.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "napier/operand.hpp"
#include "napier/parameter.hpp"

namespace napier {

// What a product is, for kernels: they are chosen by this, never by a multiplier's name.
struct ProductForm {
  enum class Kind : uint8_t {
    exact,        // the product of the values
    pattern_add,  // the sum of the two bit patterns (exponent and mantissa as one integer), plus
                  // `offset`: mantissa carries run into the exponent
    bilinear,     // +-2^(xe+ye) (1 + xm + ym + offset)
    other,        // only multiply() knows
  };
  Kind kind = Kind::other;
  int kept_bits = 0;  // mantissas are truncated to so many bits first
  double offset = 0;  // in units of 2^(xe+ye)
};

// A kind of multiplier: one file in src/numerics/multipliers/ and one line in its registry.
// `settings` holds one value per entry of `parameters`, in their order.
struct MultiplierFamily {
  std::string_view name;
  std::string_view summary;
  std::span<const Parameter> parameters;

  // Replaces settings left to their fallback by what they mean for these operands.
  void (*resolve)(std::span<int> settings, const Operand& x, const Operand& w);
  // The product of two numbers that are not zero, infinite or NaN (those are common to all, see
  // Multiplier::multiply), before it is rounded to the product's format. Exact or rounded to odd.
  Dyadic (*multiply)(std::span<const int> settings, const Dyadic& x, const Dyadic& w);
  ProductForm (*form)(std::span<const int> settings);
  // Whether an unnamed product format means f32 (results can leave its range) or none.
  bool rounds_by_default;
  // Whether multiply() is asked for zeros too: its product of a zero may be another number.
  bool takes_zeros = false;
  // Why it cannot multiply these operands, if so; null: it multiplies all.
  std::optional<std::string> (*why_not)(const Operand& x, const Operand& w) = nullptr;
};

std::span<const MultiplierFamily* const> multiplier_families();

// A multiplier with its settings. Written  name[(key=value{,key=value})][:product-format[:rounding]
// [:sat|inf]]. Thread safe, pure.
class Multiplier {
 public:
  Multiplier();  // exact

  Multiplier(const MultiplierFamily& family, std::vector<int> settings,
             std::optional<Cast> product = std::nullopt);

  const MultiplierFamily& family() const { return *family_; }
  std::span<const int> settings() const { return settings_; }
  // The product's format as written, or nothing.
  const std::optional<Cast>& written_product() const { return product_; }
  // The rounding that products get: as written, else f32 saturating for multipliers that round by
  // default, else none (an exact product).
  std::optional<Cast> product() const;

  // This multiplier for two operands: no setting is left open.
  Multiplier resolved(const Operand& x, const Operand& w) const;

  // The product of two numbers. NaN gives NaN; zero times a number is exactly zero and infinity
  // times a number infinite, with the xor'ed sign; zero times infinity is NaN. `position` keys a
  // stochastic rounding of the product. Settings must be resolved.
  Dyadic multiply(const Dyadic& x, const Dyadic& w, uint64_t position = 0) const;

  ProductForm form() const { return family_->form(settings_); }

  bool operator==(const Multiplier&) const = default;

 private:
  const MultiplierFamily* family_;
  std::vector<int> settings_;
  std::optional<Cast> product_;
};

// The paper's l(k): k for k <= 3, 3 for k = 4, 4 for k > 4 (arXiv 2410.00907, Eq. 1).
constexpr int lmul_offset_bits(int k) { return k <= 3 ? k : k == 4 ? 3 : 4; }

}  // namespace napier
