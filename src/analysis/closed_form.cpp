#include "analysis/closed_form.hpp"

#include <algorithm>
#include <cmath>

namespace napier {
namespace {

double power_of_two(int exponent) { return std::ldexp(1.0, exponent); }

// Of two independent integers uniform in [0, n): n^2 E[(their sum - a)^+], a an integer. Their sum
// t has triangular weights n - |t - (n - 1)|.
double triangular_excess(double n, double a) {
  const auto tetrahedral = [](double r) { return r <= 0 ? 0 : r * (r + 1) * (r + 2) / 6; };
  if (a >= n - 1) return tetrahedral(2 * n - 2 - a);
  return n * n * (n - 1 - a) + tetrahedral(a);
}

// The same with the weight of each integer negated where it is odd (n even).
double alternating_excess(double n, double a) {
  if (a < 0 || a > 2 * n - 2 || std::fmod(a, 2) == 0) return 0;
  return std::min(a + 1, 2 * n - 1 - a) / 2;
}

// The sum of (t - a)^+ over t in [0, n), less that over t in [n, 2n).
double stepped_excess(double n, double a) {
  if (a < 0) return -n * n;
  const auto triangle = [](double r) { return r <= 0 ? 0 : r * (r + 1) / 2; };
  return 2 * triangle(n - 1 - a) - triangle(2 * n - 1 - a);
}

// E[(i + j - a)^+] over the kept mantissas i/2^k, j/2^k of two operands, for integer a.
double excess_at(int m, int k, double a, Rounding rounding) {
  const double n = power_of_two(k);
  if (rounding == Rounding::toward_zero || m <= k) return triangular_excess(n, a) / (n * n);
  // To nearest even the weights of i = 0..n are d (1/2, 1, ..., 1, 1/2) plus the ties: +1 at even
  // i < n, -1 at odd. As polynomials in z: d V + Q, V = (1 + z)/2 U, Q = (1 - z^n)/(1 + z), where U
  // is the uniform one; V^2 = (1 + z)^2/4 U^2, 2 V Q = (1 - z^n)^2/(1 - z), Q^2 alternates.
  const double d = power_of_two(m - k);
  const double smooth = triangular_excess(n, a) / 4 + triangular_excess(n, a - 1) / 2 +
                        triangular_excess(n, a - 2) / 4;
  const double total = d * d * smooth + d * stepped_excess(n, a) + alternating_excess(n, a);
  return total / (power_of_two(m) * power_of_two(m));
}

// The same for any a: the codes are integers, so it is linear between two.
double excess(int m, int k, double a, Rounding rounding) {
  const double below = std::floor(a);
  const double part = a - below;
  const double low = excess_at(m, k, below, rounding);
  return part == 0 ? low : (1 - part) * low + part * excess_at(m, k, below + 1, rounding);
}

// E[xm] of m bits.
double mean_mantissa(int m) { return (1 - power_of_two(-m)) / 2; }

struct Side {
  int kept = 0;
  Rounding rounding = Rounding::toward_zero;
};

// How the operand's mantissa is shortened, if its format is wide enough for a product's exponents.
std::optional<Side> side_of(const Operand& operand, int m) {
  const Format& format = operand.cast.format;
  const Rounding rounding = operand.cast.rounding;
  if (!operand.scaling.empty() || !format.is_float() || format.exponent_bits == 0 ||
      !format.is_signed || format.mantissa_bits == 0 || format.max_exponent() < 1 ||
      format.min_exponent() > 0 ||
      (rounding != Rounding::toward_zero && rounding != Rounding::nearest_even)) {
    return std::nullopt;
  }
  if (compare_magnitude(format.max_finite(), Dyadic::make(false, 1, 1)) < 0) return std::nullopt;
  // A mantissa that fits is kept as it is, however the format rounds.
  if (m <= format.mantissa_bits) return Side{m, Rounding::toward_zero};
  return Side{format.mantissa_bits, rounding};
}

double mean_operand(const Side& side, int m) {
  return 1 + mean_mantissa(side.rounding == Rounding::toward_zero ? side.kept : m);
}

// Whether products below 8 with `bits` mantissa bits pass this rounding unchanged.
bool keeps_products(const std::optional<Cast>& cast, int bits) {
  return !cast || (cast->format.mantissa_bits >= bits && cast->format.max_exponent() >= 3 &&
                   cast->format.min_exponent() <= 0);
}

std::optional<double> mean_by_formula(const ProductForm& form, const std::optional<Cast>& product,
                                      const Side& x, const Side& w, int m) {
  if (form.kind == ProductForm::Kind::exact && keeps_products(product, x.kept + w.kept + 1)) {
    return mean_operand(x, m) * mean_operand(w, m);
  }
  const bool alike = x.kept == w.kept && x.rounding == w.rounding;
  if (!alike || form.kept_bits < x.kept || !keeps_products(product, 23)) return std::nullopt;
  if (form.kind == ProductForm::Kind::pattern_add) {
    return mean_pattern_sum(m, x.kept, form.offset, x.rounding);
  }
  if (form.kind == ProductForm::Kind::bilinear) {
    // q = p (1 + mantissa) with p = 2 where rounding carried, in 2^-(k+1) of the cases:
    // L = qx pw + px qw - (1 - offset) px pw.
    const double p = x.rounding == Rounding::toward_zero ? 1 : 1 + power_of_two(-x.kept - 1);
    return 2 * p * mean_operand(x, m) - (1 - form.offset) * p * p;
  }
  return std::nullopt;
}

}  // namespace

double paper_f1(int m, int k) {
  const double kept = mean_mantissa(k);
  const double rest = (power_of_two(-k) - power_of_two(-m)) / 2;
  return 2 * kept * rest + 2 * rest + rest * rest;
}

double paper_f2(int k, int l) {
  const double kept = mean_mantissa(k);
  return kept * kept - (l == 0 ? 0 : power_of_two(-l));
}

std::vector<double> kept_weights(int m, int k, Rounding rounding) {
  const auto codes = size_t{1} << k;
  const double each = power_of_two(m - k);
  std::vector<double> weights(codes + 1, each);
  weights[codes] = 0;
  if (rounding != Rounding::nearest_even || m <= k) return weights;
  for (size_t i = 0; i < codes; ++i) weights[i] = i % 2 == 0 ? each + 1 : each - 1;  // ties to even
  weights[0] = each / 2 + 1;
  weights[codes] = each / 2;
  return weights;
}

double mean_pattern_sum(int m, int k, double offset, Rounding rounding) {
  // With s = xm + wm + offset the product is 1 + s + (s - 1)^+ + 2 (s - 2)^+, also where rounding
  // carried (then xm = 1).
  const double n = power_of_two(k);
  const double mean = 2 * mean_mantissa(rounding == Rounding::toward_zero ? k : m) + offset;
  return 1 + mean + excess(m, k, (1 - offset) * n, rounding) / n +
         2 * excess(m, k, (2 - offset) * n, rounding) / n;
}

std::optional<ClosedForm> closed_form(const Arithmetic& arithmetic, int source_bits) {
  const int m = source_bits;
  const auto x = side_of(arithmetic.x, m);
  const auto w = side_of(arithmetic.w, m);
  if (!x || !w) return std::nullopt;
  const double exact = (1 + mean_mantissa(m)) * (1 + mean_mantissa(m));
  const Multiplier multiplier = arithmetic.resolved_multiplier();
  if (const auto mean = mean_by_formula(multiplier.form(), multiplier.product(), *x, *w, m)) {
    return ClosedForm{*mean - exact, true};
  }
  if (x->kept + w->kept > 22) return std::nullopt;
  if (multiplier.product() && multiplier.product()->rounding == Rounding::stochastic) {
    return std::nullopt;
  }
  const std::vector<double> x_weights = kept_weights(m, x->kept, x->rounding);
  const std::vector<double> w_weights = kept_weights(m, w->kept, w->rounding);
  const auto value = [](size_t i, int kept) {
    return Dyadic::make(false, (uint64_t{1} << kept) + i, -kept);
  };
  double mean = 0;
  for (size_t i = 0; i < x_weights.size(); ++i) {
    double row = 0;
    for (size_t j = 0; j < w_weights.size(); ++j) {
      if (w_weights[j] == 0) continue;
      row += w_weights[j] * to_double(multiplier.multiply(value(i, x->kept), value(j, w->kept)));
    }
    mean += x_weights[i] * row;
  }
  return ClosedForm{mean / power_of_two(2 * m) - exact, false};
}

}  // namespace napier
