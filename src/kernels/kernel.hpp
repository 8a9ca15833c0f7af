// What a kernel is to lower(): one file that offers one of these, and one line in lower.cpp.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "napier/error.hpp"
#include "napier/gemm.hpp"

namespace napier {

struct Kernel {
  KernelKind kind;
  std::string_view how;  // "products are ...": for people

  // Nothing if the kernel gives the reference's bits for this arithmetic on any data, else why not.
  std::optional<std::string> (*why_not)(const Arithmetic& arithmetic);

  std::unique_ptr<PackedWeights> (*pack)(const Arithmetic& arithmetic, int64_t n, int64_t k,
                                         const RowReader& w, ThreadPool& pool);
};

extern const Kernel k_dot_kernel;
extern const Kernel k_native_kernel;
extern const Kernel k_bilinear_kernel;
extern const Kernel k_adder_kernel;
extern const Kernel k_narrow_kernel;
extern const Kernel k_table_kernel;
extern const Kernel k_aligned_kernel;
extern const Kernel k_wide_kernel;
extern const Kernel k_reference_kernel;

// Throws Error where scaling blocks do not divide k or one another.
void check_shape(const Arithmetic& arithmetic, int64_t k);

}  // namespace napier
