// Mitchell's product with a correction term, REALM's (Saadat, Javaid, Ignjatovic, Parameswaran,
// DATE 2020; the constants are derived here, their rounding not compared with the paper's): each
// mantissa's range is cut into `segments` parts, and each pair of parts has a constant that makes
// the mean relative error zero there. One segment is a single constant, as in minimally biased
// multipliers (Saadat et al., 2018).
//
//   s = xm + wm < 1:   2^(xe+we) (1 + s + c)       s >= 1:   2^(xe+we+1) (s + c/2)
//
// c is the mean over the pair of parts of (product - Mitchell's) / product, over that of 1 /
// product, here on a grid of 32 points a part, rounded to `bits` bits after the point.
#include <array>
#include <cmath>
#include <memory>
#include <mutex>
#include <vector>

#include "families.hpp"

namespace napier {
namespace {

enum Setting { k_kept, k_segments, k_bits };

constexpr std::array k_parameters = {
    k_kept_bits_parameter,
    Parameter{.name = "segments",
              .fallback = 4,
              .min = 1,
              .max = 16,
              .summary = "parts of each mantissa's range that have a constant of their own"},
    Parameter{.name = "bits",
              .fallback = 6,
              .min = 1,
              .max = 20,
              .summary = "bits after the point of the constants"},
};

// In units of 2^-bits.
std::vector<int64_t> make_constants(int segments, int bits) {
  constexpr int k_grid = 32;
  std::vector<int64_t> constants;
  const double step = 1.0 / (segments * k_grid);
  for (int i = 0; i < segments; ++i) {
    for (int j = 0; j < segments; ++j) {
      double missing = 0;
      double weight = 0;
      for (int p = 0; p < k_grid; ++p) {
        for (int q = 0; q < k_grid; ++q) {
          const double x = (i * k_grid + p + 0.5) * step;
          const double w = (j * k_grid + q + 0.5) * step;
          const double product = (1 + x) * (1 + w);
          const double mitchell = x + w < 1 ? 1 + x + w : 2 * (x + w);
          missing += (product - mitchell) / product;
          weight += 1 / product;
        }
      }
      constants.push_back(std::llround(missing / weight * std::ldexp(1.0, bits)));
    }
  }
  return constants;
}

const std::vector<int64_t>& constants_of(int segments, int bits) {
  static std::mutex mutex;
  static auto& made = *new std::array<std::unique_ptr<const std::vector<int64_t>>, 17 * 21>;
  const std::lock_guard lock(mutex);
  auto& constants = made[static_cast<size_t>(segments * 21 + bits)];
  if (!constants) {
    constants = std::make_unique<const std::vector<int64_t>>(make_constants(segments, bits));
  }
  return *constants;
}

}  // namespace

const MultiplierFamily k_realm_multiplier = {
    .name = "realm",
    .summary = "Mitchell's with correction terms, a constant for each pair of mantissas' segments",
    .parameters = k_parameters,
    .resolve =
        [](std::span<int> settings, const Operand& x, const Operand& w) {
          if (settings[k_kept] < 0) settings[k_kept] = own_mantissa_bits(x, w);
        },
    .multiply =
        [](std::span<const int> settings, const Dyadic& x, const Dyadic& w) {
          const int segments = settings[k_segments];
          const uint64_t xm = kept_mantissa(x, settings[k_kept]);
          const uint64_t wm = kept_mantissa(w, settings[k_kept]);
          const auto segment = [&](uint64_t mantissa) {
            return static_cast<size_t>((uint128{mantissa} * static_cast<uint64_t>(segments)) >> 64);
          };
          const std::vector<int64_t>& constants = constants_of(segments, settings[k_bits]);
          const int64_t constant =
              constants[segment(xm) * static_cast<size_t>(segments) + segment(wm)];
          // All in units of 2^-64. Twice s + c/2 is 2 s + c: no constant is lost.
          const uint128 sum = uint128{xm} + wm;
          const uint128 one = uint128{1} << 64;
          const uint128 plain = sum < one ? one + sum : sum << 1;
          const uint128 product =
              plain + (static_cast<uint128>(constant) << (64 - settings[k_bits]));
          return Dyadic::make_to_odd(x.negative != w.negative, product,
                                     x.exponent + w.exponent - 64);
        },
    .form = [](std::span<const int>) { return ProductForm{}; },
    .rounds_by_default = true,
};

}  // namespace napier
