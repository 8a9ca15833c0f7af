// The arithmetic's own derivative against differences of the reference's products.
#include "kernels/derivative.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "napier/error.hpp"
#include "support/test_support.hpp"

namespace napier {
namespace {

using Floats = std::vector<float>;

RowReader rows_of(const Floats& values, int64_t count) {
  return [&values, count](int64_t row, float* out) {
    std::copy_n(values.begin() + row * count, count, out);
  };
}

// Normal numbers with room around them: no mantissa within 2^-6 of a power of two, so that a small
// step stays on a piece, and rounded to 10 bits, so that differences are exact in f32.
Floats numbers(size_t count, std::mt19937_64& random) {
  Floats values(count);
  for (float& value : values) {
    const auto mantissa = static_cast<float>(16 + random() % 992) / 1024;
    const float power = std::ldexp(1.0f, static_cast<int>(random() % 5) - 2);
    value = (random() % 2 ? -1.0f : 1.0f) * power * (1 + mantissa);
  }
  return values;
}

// d(sum of g * out) / d(one operand), one product at a time: k = 1 makes every sum one product, and
// the products' pieces are linear, so a difference quotient is the derivative, exactly but for f32.
void expect_derivative(const char* written, Side side) {
  const Arithmetic arithmetic = parse_arithmetic(written);
  std::mt19937_64 random(test::seed());
  const int64_t m = 7, n = 5, k = 9;  // at: m x n, other: k x n, gradient: m x k
  const Floats at = numbers(m * n, random), other = numbers(k * n, random);
  Floats gradient(m * k);
  for (float& value : gradient) value = static_cast<float>(static_cast<int>(random() % 9) - 4);
  ThreadPool pool(2);
  Floats out(m * n);
  own_derivative(arithmetic, side, {m, n, k},
                 {rows_of(at, n), rows_of(other, n), rows_of(gradient, k)}, out.data(), n, pool);

  const auto product = [&](float a, float b) {
    float result = 0;
    const float& x = side == Side::x ? a : b;
    const float& w = side == Side::x ? b : a;
    reference_gemm(arithmetic, {1, 1, 1}, &x, &w, &result);
    return double{result};
  };
  int compared = 0;
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t c = 0; c < n; ++c) {
      const float a = at[i * n + c];
      const float step = std::ldexp(1.0f, std::ilogb(a) - 9);
      double sum = 0, magnitude = 0;
      bool kink = false;
      for (int64_t t = 0; t < k; ++t) {
        const float b = other[t * n + c];
        const double right = (product(a + step, b) - product(a, b)) / step;
        const double left = (product(a, b) - product(a - step, b)) / step;
        kink = kink || right != left;  // between two pieces there is no derivative
        sum += gradient[i * k + t] * right;
        magnitude += std::abs(gradient[i * k + t] * right);
      }
      if (kink) continue;
      ++compared;
      EXPECT_NEAR(out[i * n + c], sum, 1e-6 * magnitude) << written << " at " << a;
    }
  }
  EXPECT_GT(compared, m * n / 3) << written;
}

TEST(OwnDerivative, IsTheSlopeOfTheProducts) {
  for (const char* written :
       {"f32", "mul=lmul(k=23)", "mul=lmul(k=23,l=0)", "mul=lmul(reading=formula,k=23)", "pam"}) {
    ASSERT_TRUE(has_own_derivative(parse_arithmetic(written))) << written;
    expect_derivative(written, Side::x);
    expect_derivative(written, Side::w);
  }
}

// Scaled operands: the product is s_x s_w p(x / s_x, w / s_w), of which s_x cancels.
TEST(OwnDerivative, OfScaledOperandsIsTheOtherWithItsScale) {
  const Arithmetic arithmetic = parse_arithmetic("x=e4m3@row/w=e4m3@row");
  const Floats at = {1, 2, 3, 4}, other = {448, 224, 112, 7}, gradient = {3};
  ThreadPool pool(1);
  Floats out(4);
  own_derivative(arithmetic, Side::x, {1, 4, 1},
                 {rows_of(at, 4), rows_of(other, 4), rows_of(gradient, 1)}, out.data(), 4, pool);
  EXPECT_EQ(out, (Floats{3 * 448, 3 * 224, 3 * 112, 3 * 7}));
}

TEST(OwnDerivative, UnknownOnesAreRefused) {
  const Arithmetic arithmetic = parse_arithmetic("x=e4m3/w=e4m3/mul=realm(segments=4,bits=4)");
  EXPECT_FALSE(has_own_derivative(arithmetic));
  ThreadPool pool(1);
  Floats one = {1}, out = {0};
  EXPECT_THROW(
      own_derivative(arithmetic, Side::x, {1, 1, 1},
                     {rows_of(one, 1), rows_of(one, 1), rows_of(one, 1)}, out.data(), 1, pool),
      Error);
}

}  // namespace
}  // namespace napier
