// L-Mul: "Addition is All You Need for Energy-efficient Language Models", arXiv 2410.00907.
//
// x = +-2^xe (1 + xm), y = +-2^ye (1 + ym), mantissas cut to k bits:
//   formula reading, its Eq. 1:      +-2^(xe+ye) (1 + xm + ym + 2^-l(k))
//   adder reading, its Fig. 2:       the bit patterns added as integers; it differs from Eq. 1
//                                    wherever xm + ym + 2^-l >= 1, as the carry doubles the rest.
#include <array>

#include "families.hpp"

namespace napier {
namespace {

enum Setting { k_reading, k_kept, k_offset };
enum Reading { k_adder, k_formula };

constexpr std::array<std::string_view, 2> k_readings = {"adder", "formula"};

constexpr std::array k_parameters = {
    Parameter{.name = "reading",
              .fallback = k_adder,
              .words = k_readings,
              .summary = "adder: integer addition, carries into the exponent; formula: Eq. 1"},
    k_kept_bits_parameter,
    Parameter{.name = "l",
              .fallback = -1,
              .min = 0,
              .max = 23,
              .summary = "offset 2^-l, 0: none; default the paper's l(k): k to 3, 3 at 4, else 4"},
};

}  // namespace

const MultiplierFamily k_lmul_multiplier = {
    .name = "lmul",
    .summary = "L-Mul: the mantissa product replaced by a sum and a constant",
    .parameters = k_parameters,
    .resolve =
        [](std::span<int> settings, const Operand& x, const Operand& w) {
          if (settings[k_kept] < 0) settings[k_kept] = own_mantissa_bits(x, w);
          // k = 0: powers of two; their sum of exponents is exact, the paper's l(0) doubles it.
          if (settings[k_offset] < 0) settings[k_offset] = lmul_offset_bits(settings[k_kept]);
        },
    .multiply =
        [](std::span<const int> settings, const Dyadic& x, const Dyadic& w) {
          if (settings[k_reading] == k_adder) {
            return add_patterns(x, w, settings[k_kept], settings[k_offset]);
          }
          const uint128 sum = mantissa_sum(x, w, settings[k_kept], settings[k_offset]);
          return Dyadic::make_to_odd(x.negative != w.negative, (uint128{1} << 64) + sum,
                                     x.exponent + w.exponent - 64);
        },
    .form =
        [](std::span<const int> settings) {
          const int l = settings[k_offset];
          return ProductForm{settings[k_reading] == k_adder ? ProductForm::Kind::pattern_add
                                                            : ProductForm::Kind::bilinear,
                             settings[k_kept], l == 0 ? 0.0 : 1.0 / static_cast<double>(1u << l)};
        },
    .rounds_by_default = true,
};

}  // namespace napier
