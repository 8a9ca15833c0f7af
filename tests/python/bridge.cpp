// The scalar reference for ctypes: what the Python package's arrays are compared with.
#include <cstring>
#include <exception>

#include "napier/arithmetic.hpp"
#include "napier/gemm.hpp"

// out[m][n] = sum over k of x[m][k] w[n][k], dense. Returns 0, or 1 with a sentence of at most 511
// bytes in `error`.
extern "C" __attribute__((visibility("default"))) int bridge_reference(const char* arithmetic,
                                                                       int64_t m, int64_t n,
                                                                       int64_t k, const float* x,
                                                                       const float* w, float* out,
                                                                       char* error) {
  try {
    napier::reference_gemm(napier::parse_arithmetic(arithmetic), {m, n, k}, x, w, out);
    return 0;
  } catch (const std::exception& problem) {
    std::strncpy(error, problem.what(), 511);
    return 1;
  }
}
