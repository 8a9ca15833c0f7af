// The kernel with f64 lanes, which others hand over to.
#pragma once

#include <limits>
#include <optional>
#include <string>

#include "kernels/panels.hpp"

namespace napier {

// How the wide kernel multiplies and adds.
struct WideSpec {
  enum class Sum : uint8_t {
    plain,    // f64's own addition
    nearest,  // f64's addition, then rounded, where that rounds as the exact sum does
    any,      // an addition rounded to odd, then rounded
  };

  // Integer sums that wrap: what is left modulo a power of two, from the lowest number on. As f64
  // holds the whole sum, it is enough to wrap that, once.
  struct Wrap {
    double modulus = 0;
    double lowest = 0;
  };

  // Nothing, and why, where f64 lanes are not exact for an arithmetic.
  static std::optional<WideSpec> make(const Arithmetic& arithmetic, std::string* why_not = nullptr);

  ProductForm form;
  std::optional<RoundSpec> product;
  Sum sum = Sum::any;
  RoundSpec accumulator;
  std::optional<Wrap> wrap;
  int64_t max_k = std::numeric_limits<int64_t>::max();  // longer sums may be inexact
  int64_t chunk = 0;
  Sum outer_sum = Sum::any;
  RoundSpec outer;
  std::optional<Wrap> outer_wrap;
};

void run_wide(const WideSpec& spec, const PanelTask<float>& task);
void run_wide(const WideSpec& spec, const PanelTask<double>& task);

}  // namespace napier
