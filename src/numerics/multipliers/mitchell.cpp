// Mitchell's logarithmic multiplier ("Computer multiplication and division using binary
// logarithms", IRE Trans. 1962): log2(1 + m) is taken as m, so the patterns are added as they are.
#include <array>

#include "families.hpp"

namespace napier {
namespace {

constexpr std::array k_parameters = {k_kept_bits_parameter};

}  // namespace

const MultiplierFamily k_mitchell_multiplier = {
    .name = "mitchell",
    .summary = "Mitchell's logarithmic multiplier: the bit patterns added, no offset",
    .parameters = k_parameters,
    .resolve =
        [](std::span<int> settings, const Operand& x, const Operand& w) {
          if (settings[0] < 0) settings[0] = own_mantissa_bits(x, w);
        },
    .multiply = [](std::span<const int> settings, const Dyadic& x,
                   const Dyadic& w) { return add_patterns(x, w, settings[0], 0); },
    .form =
        [](std::span<const int> settings) {
          return ProductForm{ProductForm::Kind::pattern_add, settings[0], 0};
        },
    .rounds_by_default = true,
};

}  // namespace napier
