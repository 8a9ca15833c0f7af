// Arithmetic modulo 11.
#pragma once

namespace napier {

inline constexpr int k_modulus = 11;

constexpr int modular_inverse(int value) {
  int result = 1;  // value^9: Fermat
  for (int i = 0; i < k_modulus - 2; ++i) result = result * value % k_modulus;
  return result;
}

}  // namespace napier
