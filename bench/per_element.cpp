#include "per_element.hpp"

#include <bit>

namespace napier::bench {
namespace {

[[gnu::noinline]] float lmul(float x, float w) {
  if (x == 0 || w == 0) return 0;
  const uint32_t a = std::bit_cast<uint32_t>(x);
  const uint32_t b = std::bit_cast<uint32_t>(w);
  const uint32_t magnitude = (a & 0x7FFF0000) + (b & 0x7FFF0000) - 0x3F800000 + 0x00080000;
  return std::bit_cast<float>(((a ^ b) & 0x80000000) | (magnitude & 0x7FFFFFFF));
}

}  // namespace

void per_element_gemm(int64_t m, int64_t n, int64_t k, const float* x, const float* w, float* out) {
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      float sum = 0;
      for (int64_t l = 0; l < k; ++l) sum += lmul(x[i * k + l], w[j * k + l]);
      out[i * n + j] = sum;
    }
  }
}

}  // namespace napier::bench
