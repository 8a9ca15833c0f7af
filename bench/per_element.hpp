// How L-Mul is emulated without a kernel: a function for each product.
#pragma once

#include <cstdint>

namespace napier::bench {

// out[m][n] = sum over k of lmul(x[m][k], w[n][k]), mantissas of 7 bits; dense rows.
void per_element_gemm(int64_t m, int64_t n, int64_t k, const float* x, const float* w, float* out);

}  // namespace napier::bench
