// Which codes are exact for a row of activations and weights, and what zeros look like.
//
// Codes of bf16 or of f32, of M mantissa bits: a sum of two is a product's code. A zero has no
// code. Either it has a tiny one, whose products are too small to change a sum (what they add up to
// alone is cleared in the end), or its products are multiplied by 0, or cleared one by one.
//
// With exponents of values other than zero in [a0, a1] of a row, [b0, b1] of the weights, K < 2^q:
// sums are computed times 2^S, S = 124 - q - a1 - b1, so that K products, each below
// 2^(a1 + b1 + S + 3) (two mantissas and the offset can carry twice), stay finite. Sums are
// multiples of u = 2^(a0 + b0 + S - M); K times a zero's product must stay below 2^-26 u, so that
// no rounding of a sum sees it.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#include "kernels/panels.hpp"

namespace napier {

inline constexpr int k_zero_exponent = -127;  // what code 0 stands for in a sum of codes

// The exponents of a row's and the weights' values.
struct CodeWindow {
  enum Path : int {
    none,
    adder,     // zeros have tiny codes
    factored,  // zeros of the row are multiplied by 0
    masked,    // and products with zeros of the weights are cleared
  };

  int a0, a1, b0, b1, q;
  bool x_zeros, w_zeros;
  int mantissa;

  CodeWindow(const MagnitudeRange& x, const MagnitudeRange& w, int64_t k, int mantissa_bits)
      : a0(x.min_exponent()),
        a1(x.max_exponent()),
        b0(w.min_exponent()),
        b1(w.max_exponent()),
        q(std::bit_width(static_cast<uint64_t>(k))),
        x_zeros(x.has_zero || x.is_empty()),
        w_zeros(w.has_zero || w.is_empty()),
        mantissa(mantissa_bits) {}

  int shift() const { return 124 - q - a1 - b1; }  // S
  int unseen() const { return mantissa + 26; }     // so far below the least product lie zeros'
  // The exponent of the code of a row's zeros: their products lie below 2^(it + b1 + 3 + S).
  int zero() const { return a0 + b0 - b1 - q - unseen() - 3; }
  // Products with a weight's zero, code 0, lie below 2^(a1 - 127 + 3 + S).
  bool hides_zero_weights() const { return a1 + k_zero_exponent + 3 + q + unseen() <= a0 + b0; }

  Path adder_path() const {
    const int s = shift();
    // The reference's sums do not overflow, and none of their bits lies below 2^-149. No sum is
    // below the normal numbers, which the dot product would take for zero: all are multiples of u.
    if (s < 0 || a0 + b0 < -149 + mantissa || a0 + b0 + s - mantissa < -126) return none;
    // No sum of codes wraps below code 0, which stands for 2^-127.
    if (w_zeros && !(hides_zero_weights() && a0 + s + k_zero_exponent >= k_zero_exponent)) {
      return masked;
    }
    if (!x_zeros) return adder;
    return zero() + s + (w_zeros ? k_zero_exponent : b0) >= k_zero_exponent ? adder : factored;
  }

  // What the finished sums of a row need: x's codes carry S.
  RowCode row_code(Path path) const {
    RowCode code;
    code.path = path;
    code.exponent = static_cast<float>(-shift());
    code.least = std::ldexp(1.0f, a0 + b0 + shift() - mantissa);
    return code;
  }
};

}  // namespace napier
