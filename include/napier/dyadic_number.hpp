// What an integer sum is multiplied by to be one of another scale.
#pragma once

#include <cmath>
#include <cstdint>

namespace napier {

// m 2^-e, nearest to Sx Sw / Sy: from units of Sx Sw to units of Sy, as HAWQ-V3 (arXiv 2011.10680)
// and its code have it. m has 31 bits, or is 2^31.
struct DyadicNumber {
  uint64_t m = 0;
  int e = 0;

  explicit DyadicNumber(double ratio) {
    const double mantissa = std::frexp(ratio, &e);
    m = static_cast<uint64_t>(std::floor(std::ldexp(mantissa, 31) + 0.5));
    e = 31 - e;
  }
  static DyadicNumber of_scales(float x, float w, float y) {
    const auto product = static_cast<float>(double{x} * double{w});
    return DyadicNumber(double{product} / double{y});
  }
};

}  // namespace napier
