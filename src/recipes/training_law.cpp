#include "recipes/training_law.hpp"

#include <cmath>
#include <string>

#include "napier/error.hpp"

namespace napier {
namespace {

// The paper's fit to its 366 runs (section 4).
constexpr double k_n = 69.2343;
constexpr double k_alpha = 0.2368;
constexpr double k_d = 68973.0621;
constexpr double k_beta = 0.5162;
constexpr double k_epsilon = 1.9061;
constexpr double k_gamma = 11334.5197;
constexpr double k_delta = 3.1926;
constexpr double k_nu = 2.9543;

double precision(double exponent, double mantissa) {
  return std::pow(exponent + 0.5, k_delta) * std::pow(mantissa + 0.5, k_nu);
}

double precision(const FloatLayout& layout) { return precision(layout.exponent, layout.mantissa); }

}  // namespace

double exact_training_loss(const TrainingSetting& s) {
  return k_n / std::pow(s.parameters, k_alpha) + k_d / std::pow(s.tokens, k_beta) + k_epsilon;
}

double training_loss(const TrainingSetting& s, const FloatLayout& layout) {
  return exact_training_loss(s) + std::pow(s.tokens, k_beta) / std::pow(s.parameters, k_alpha) *
                                      std::log2(s.block) / (k_gamma * precision(layout));
}

double critical_tokens(const TrainingSetting& s, const FloatLayout& layout) {
  const double squared =
      k_d * k_gamma * std::pow(s.parameters, k_alpha) * precision(layout) / std::log2(s.block);
  return std::pow(squared, 1 / (2 * k_beta));
}

FloatLayout best_layout(int bits) {
  if (bits < 3 || bits > 32) {
    throw Error("a float of " + std::to_string(bits) + " bits has no choice of layout: 3 to 32");
  }
  FloatLayout best{1, bits - 2};
  for (int exponent = 2; exponent <= bits - 2; ++exponent) {
    const FloatLayout layout{exponent, bits - 1 - exponent};
    if (precision(layout) > precision(best)) best = layout;
  }
  return best;
}

double best_mantissa(int bits) { return k_nu * bits / (k_delta + k_nu) - 0.5; }

}  // namespace napier
