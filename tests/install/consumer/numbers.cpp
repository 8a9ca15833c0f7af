// Prints what 0.3 becomes in e4m3: 0.3125.
#include <cstdio>

#include "napier/format.hpp"

int main() {
  const napier::Format e4m3 = napier::parse_format("e4m3fn");
  const napier::Dyadic value = e4m3.round(
      napier::Dyadic::from_double(0.3), napier::Rounding::nearest_even, napier::Overflow::saturate);
  std::printf("%g\n", napier::to_double(value));
}
