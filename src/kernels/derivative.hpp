// Gradients by the derivative of the arithmetic itself, in place of that of the exact product.
#pragma once

#include "napier/gemm.hpp"

namespace napier {

// Which operand of a multiplication.
enum class Side : uint8_t { x, w };

// Rows, each read as its name says. Called from several threads at once.
struct DerivativeOperands {
  RowReader at;        // m rows of n: the operand that the gradient is with respect to
  RowReader other;     // k rows of n: the other operand of the multiplication
  RowReader gradient;  // m rows of k: of the loss, with respect to the multiplication's result
};

// Whether a product has a derivative that is known: exact ones, L-Mul, Mitchell.
bool has_own_derivative(const Arithmetic& arithmetic);

// out[i * out_stride + c] = sum over t of gradient[i][t] * D(at[i][c], other[t][c]), i < m, c < n,
// t < k: D is the derivative of the forward arithmetic's product with respect to `at`, which was
// its operand `side`. Rounding into formats, and the choice of scales, count as the identity
// ("straight through"), as in quantisation-aware training; the piecewise linear product of the
// rounded numbers is differentiated exactly, as "Multiplication-Free Transformer Training via
// Piecewise Affine Operations" (PAM, arXiv 2305.17190) does:
//   exact             D = y
//   L-Mul's formula   D = +-2^ye
//   sums of patterns  D = +-2^ye times 1, 2 or 4, as the mantissas' sum carries
// where y = +-2^ye (1 + ym) is the rounded other operand. A zero `at` lies at the lower end of a
// piece. Products and sums are f32, in order of t. Throws Error for other products.
void own_derivative(const Arithmetic& arithmetic, Side side, const Shape& shape,
                    const DerivativeOperands& operands, float* out, int64_t out_stride,
                    ThreadPool& pool);

}  // namespace napier
