// What is common to all multipliers.
#include "napier/multiplier.hpp"

#include <array>

#include "multipliers/families.hpp"

namespace napier {
namespace {

constexpr std::array k_families = {
#define NAPIER_MULTIPLIER(name) &k_##name##_multiplier,
#include "multipliers/registry.inc"
#undef NAPIER_MULTIPLIER
};

}  // namespace

std::span<const MultiplierFamily* const> multiplier_families() { return k_families; }

Multiplier::Multiplier() : family_(&k_exact_multiplier) {}

Multiplier::Multiplier(const MultiplierFamily& family, std::vector<int> settings,
                       std::optional<Cast> product)
    : family_(&family), settings_(std::move(settings)), product_(product) {}

std::optional<Cast> Multiplier::product() const {
  if (product_ || !family_->rounds_by_default) return product_;
  return Cast{};
}

Multiplier Multiplier::resolved(const Operand& x, const Operand& w) const {
  Multiplier result = *this;
  family_->resolve(result.settings_, x, w);
  return result;
}

Dyadic Multiplier::multiply(const Dyadic& x, const Dyadic& w, uint64_t position) const {
  const bool special = !x.is_finite() || !w.is_finite();
  const bool common = special || (!family_->takes_zeros && (x.is_zero() || w.is_zero()));
  const Dyadic product = common ? x * w : family_->multiply(settings_, x, w);
  const std::optional<Cast> rounding = this->product();
  return rounding ? (*rounding)(product, position) : product;
}

}  // namespace napier
