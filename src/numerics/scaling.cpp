// How a scale is chosen.
#include <cmath>

#include "napier/operand.hpp"

namespace napier {

Dyadic choose_scale(const ScaleLevel& level, double absmax, double element_max) {
  const Cast cast{level.format, Rounding::nearest_even, 0, Overflow::saturate};
  const Dyadic one = cast(Dyadic::make(false, 1, 0));
  if (!(absmax > 0)) return one;
  Dyadic scale = Dyadic::from_double(absmax / element_max);
  if (level.format.mantissa_bits == 0) {
    // OCP MX 1.0, section 6.3: the largest power of two in the block over that in the format.
    scale = Dyadic::make(false, 1, std::ilogb(absmax) - std::ilogb(element_max));
  }
  const Dyadic rounded = cast(scale);
  return rounded.is_zero() ? one : rounded;
}

}  // namespace napier
