// The kernel with f64 lanes, which others hand over to.
#pragma once

#include <optional>
#include <string>

#include "kernels/panels.hpp"

namespace napier {

// Products in a sum for which kernels are chosen; longer ones the reference may have to compute.
inline constexpr int64_t k_long_sum = int64_t{1} << 17;

// How the wide kernel multiplies and adds.
struct WideSpec {
  enum class Sum : uint8_t {
    plain,    // f64's own addition
    nearest,  // f64's addition, then rounded, where that rounds as the exact sum does
    any,      // an addition rounded to odd, then rounded
    parts,    // exact, in several numbers of f64
  };

  // Integer sums that wrap: what is left modulo a power of two, from the lowest number on. As f64
  // holds the whole sum, it is enough to wrap that, once.
  struct Wrap {
    double modulus = 0;
    double lowest = 0;
  };

  // Nothing, and why, where f64 lanes are not exact for an arithmetic and sums of up to so many
  // products.
  static std::optional<WideSpec> make(const Arithmetic& arithmetic, std::string* why_not = nullptr,
                                      int64_t max_k = k_long_sum);

  ProductForm form;
  std::optional<RoundSpec> product;
  Sum sum = Sum::any;
  RoundSpec accumulator;
  std::optional<Wrap> wrap;
  // Sums in parts: part i holds multiples of 2^(low + i * k_part_bits), and in all of them lies the
  // exact sum of k_long_sum terms.
  int parts = 0;
  int low = 0;
  int64_t chunk = 0;
  Sum outer_sum = Sum::any;
  RoundSpec outer;
  std::optional<Wrap> outer_wrap;
};

inline constexpr int k_part_bits = 35;
inline constexpr int k_most_parts = 32;  // products of f32 span 2 (128 + 149) bits: 16 parts

void run_wide(const WideSpec& spec, const PanelTask<float>& task);
void run_wide(const WideSpec& spec, const PanelTask<double>& task);

}  // namespace napier
