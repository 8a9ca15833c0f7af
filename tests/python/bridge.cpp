// For ctypes: the scalar reference, which the Python package's arrays are compared with, and the
// kernels' time without Python.
#include <chrono>
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

// Seconds of packing and of multiplying, by the kernel that lower() picks, as a C++ program does.
// Returns 1 where that is refused.
extern "C" __attribute__((visibility("default"))) int bridge_seconds(
    const char* arithmetic, int64_t m, int64_t n, int64_t k, int threads, const float* x,
    const float* w, float* out, double* packing, double* multiplying) {
  using clock = std::chrono::steady_clock;
  static napier::ThreadPool pool(threads);
  const auto rows_of = [k](const float* matrix) {
    return [=](int64_t row, float* to) { napier::copy_row(matrix + row * k, k, k, to); };
  };
  try {
    const auto begin = clock::now();
    const auto weights =
        napier::pack_weights(napier::parse_arithmetic(arithmetic), n, k, rows_of(w), pool);
    const auto packed = clock::now();
    weights->multiply(m, rows_of(x), out, n, pool);
    *packing = std::chrono::duration<double>(packed - begin).count();
    *multiplying = std::chrono::duration<double>(clock::now() - packed).count();
    return 0;
  } catch (const std::exception&) {
    return 1;
  }
}
