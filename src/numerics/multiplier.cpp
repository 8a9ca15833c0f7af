// The registry of multipliers and what is common to all of them.
#include "napier/multiplier.hpp"

#include <array>

#include "multipliers/families.hpp"

namespace napier {
namespace {

// One line each.
constexpr std::array<const MultiplierFamily*, 3> k_families = {
    &k_exact_multiplier,
    &k_lmul_multiplier,
    &k_mitchell_multiplier,
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
  const bool common = x.kind != Dyadic::Kind::finite || w.kind != Dyadic::Kind::finite;
  const Dyadic product = common ? x * w : family_->multiply(settings_, x, w);
  const std::optional<Cast> rounding = this->product();
  return rounding ? (*rounding)(product, position) : product;
}

}  // namespace napier
