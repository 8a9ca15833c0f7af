// For ctypes: the scalar reference, which the Python package's arrays are compared with, and the
// kernels' time without Python.
#include <time.h>

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

// Seconds of packing and of multiplying, by the kernel that lower() picks, as a C++ program does:
// of the clock on the wall, or of this thread's own work. Returns 1 where that is refused.
extern "C" __attribute__((visibility("default"))) int bridge_seconds(
    const char* arithmetic, int64_t m, int64_t n, int64_t k, int threads, int own_work,
    const float* x, const float* w, float* out, double* packing, double* multiplying) {
  const auto now = [own_work] {
    timespec time = {};
    clock_gettime(own_work ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &time);
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
  };
  static napier::ThreadPool pool(threads);
  const auto rows_of = [k](const float* matrix) {
    return [=](int64_t row, float* to) { napier::copy_row(matrix + row * k, k, k, to); };
  };
  try {
    const double begin = now();
    const auto weights =
        napier::pack_weights(napier::parse_arithmetic(arithmetic), n, k, rows_of(w), pool);
    const double packed = now();
    weights->multiply(m, rows_of(x), out, n, pool);
    *packing = packed - begin;
    *multiplying = now() - packed;
    return 0;
  } catch (const std::exception&) {
    return 1;
  }
}
