// The product of the values.
#include "families.hpp"

namespace napier {

const MultiplierFamily k_exact_multiplier = {
    .name = "exact",
    .summary = "the product of the values; exact, or rounded once where a product format is named",
    .parameters = {},
    .resolve = [](std::span<int>, const Operand&, const Operand&) {},
    .multiply = [](std::span<const int>, const Dyadic& x, const Dyadic& w) { return x * w; },
    .form =
        [](std::span<const int>) {
          return ProductForm{ProductForm::Kind::exact, 0, 0};
        },
    .rounds_by_default = false,
};

}  // namespace napier
