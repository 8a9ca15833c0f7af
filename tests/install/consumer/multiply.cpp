// Prints 1.25 times 1.25 under L-Mul: 1 + 0.25 + 0.25 + 2^-3 = 1.625 by its paper's formula, l(4)
// = 3. By a packed kernel, so that Highway and the threads are linked too.
#include <cstdio>

#include "napier/gemm.hpp"

int main() {
  napier::ThreadPool pool(2);
  const napier::RowReader one = [](int64_t, float* row) { row[0] = 1.25F; };
  const auto weights = napier::pack_weights(napier::parse_arithmetic("lmul-m4"), 1, 1, one, pool);
  float product = 0;
  weights->multiply(1, one, &product, 1, pool);
  std::printf("%g\n", product);
}
