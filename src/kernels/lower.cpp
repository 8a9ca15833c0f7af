// Which kernel runs an arithmetic.
#include <array>

#include "kernels/kernel.hpp"

namespace napier {
namespace {

// One line a kernel, the fastest first.
constexpr std::array k_kernels = {
    &k_dot_kernel,   &k_native_kernel,  &k_adder_kernel, &k_bilinear_kernel,  &k_narrow_kernel,
    &k_table_kernel, &k_aligned_kernel, &k_wide_kernel,  &k_reference_kernel,
};

}  // namespace

std::string_view kernel_name(KernelKind kind) {
  switch (kind) {
    case KernelKind::reference: return "reference";
    case KernelKind::dot: return "dot";
    case KernelKind::native: return "native";
    case KernelKind::bilinear: return "bilinear";
    case KernelKind::adder: return "adder";
    case KernelKind::narrow: return "narrow";
    case KernelKind::table: return "table";
    case KernelKind::wide: return "wide";
    case KernelKind::aligned: return "aligned";
  }
  return "";
}

Lowering lower(const Arithmetic& arithmetic, const Shape& shape) {
  check_shape(arithmetic, shape.k);
  std::string reason;
  for (const Kernel* kernel : k_kernels) {
    const std::optional<std::string> why_not = kernel->why_not(arithmetic);
    if (!why_not) {
      reason.insert(0, std::string(kernel->how) + (reason.empty() ? "" : "; "));
      return {kernel->kind, reason};
    }
    reason += (reason.empty() ? "" : ", ");
    reason += "not " + std::string(kernel_name(kernel->kind)) + ": " + *why_not;
  }
  return {};  // the reference serves everything
}

std::vector<KernelKind> legal_kernels(const Arithmetic& arithmetic, const Shape& shape) {
  check_shape(arithmetic, shape.k);
  std::vector<KernelKind> kinds;
  for (const Kernel* kernel : k_kernels) {
    if (!kernel->why_not(arithmetic)) kinds.push_back(kernel->kind);
  }
  return kinds;
}

std::unique_ptr<PackedWeights> pack_weights(const Arithmetic& arithmetic, int64_t n, int64_t k,
                                            const RowReader& w, ThreadPool& pool,
                                            std::optional<KernelKind> kind) {
  check_shape(arithmetic, k);
  for (const Kernel* kernel : k_kernels) {
    if (kind && kernel->kind != *kind) continue;
    const std::optional<std::string> why_not = kernel->why_not(arithmetic);
    if (!why_not) return kernel->pack(arithmetic, n, k, w, pool);
    if (kind) {
      throw Error("kernel '" + std::string(kernel_name(*kind)) + "' cannot run " +
                  display_name(arithmetic) + ": " + *why_not +
                  "; leave the choice to lower(), or take one of legal_kernels()");
    }
  }
  throw Error("no kernel runs " + display_name(arithmetic), Blame::environment);
}

}  // namespace napier
