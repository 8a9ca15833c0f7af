// How the kernel of aligned sums adds.
#pragma once

#include "kernels/panels.hpp"

namespace napier {

struct AlignedSpec {
  int64_t align = 0;  // products a group
  double step = 0;    // the quantum of a group whose largest exponent is 0
  RoundSpec round;
};

}  // namespace napier
