// How the kernel that rounds sums in f32 lanes rounds.
#pragma once

#include <optional>

#include "kernels/panels.hpp"

namespace napier {

struct NarrowSpec {
  // To nearest even, saturating, with subnormals.
  struct Round {
    float floor = 0;  // 2^e of the lowest binade with its own gap
    float magic = 0;  // 1.5 * 2^23 gaps of the binade at 1
    float largest = 0;
  };

  // What may come to lie beyond the largest numbers, by the operands' exponents.
  enum Path : int { unfit, none_saturates, sums_saturate, products_saturate };

  Round accumulator;
  std::optional<Round> product;
  Format format;             // of the sums
  Format product_format;     // where products are rounded
  float half_gap = 0;        // between the smallest sums
  bool sums_vanish = false;  // whether a sum other than zero may be rounded to zero
  int term_bits = 0;         // of a term's significand
  int product_mantissa = 0;  // an exact product's least bit lies so far below the exponents' sum
};

}  // namespace napier
