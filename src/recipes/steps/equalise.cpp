// Factors that move range between activations and weights.
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <memory>
#include <numeric>

#include "napier/error.hpp"
#include "recipes/step.hpp"

namespace napier {
namespace {

constexpr std::array<std::string_view, 3> k_keys = {"method", "alpha", "exponent_bits"};

void check(const StepSpec& spec) {
  const std::string method = spec.text("method", "smooth");
  if (method != "smooth" && method != "exponent") {
    throw Error("'method' is smooth or exponent, not '" + method + "'");
  }
  const double alpha = spec.number("alpha", 0.5);
  if (!(alpha >= 0 && alpha <= 1)) throw Error("'alpha' must be from 0 to 1");
  const double bits = spec.number("exponent_bits", 2);
  if (!(bits >= 1 && bits <= 8)) throw Error("'exponent_bits' must be from 1 to 8");
}

// Rows are read a part at a time: an output matrix in f32 may be half as large as the model.
std::vector<double> largest_of_columns(const WeightReader& weights, const WeightMatrix& matrix) {
  constexpr int64_t k_part = int64_t{1} << 22;  // weights
  std::vector<double> largest(static_cast<size_t>(matrix.k));
  const int64_t part = std::max<int64_t>(1, k_part / matrix.k);
  for (int64_t first = 0; first < matrix.rows; first += part) {
    std::vector<int64_t> rows(static_cast<size_t>(std::min(part, matrix.rows - first)));
    std::iota(rows.begin(), rows.end(), first);
    const std::vector<float> some = weights.rows(matrix.name, rows);
    for (size_t i = 0; i < some.size(); ++i) {
      double& column = largest[i % largest.size()];
      column = std::max(column, double{std::fabs(some[i])});
    }
  }
  return largest;
}

// SmoothQuant (2211.10438, eq. 4): max|x|^alpha / max|w|^(1 - alpha) of each column.
std::vector<float> smooth(const std::vector<double>& x, const std::vector<double>& w,
                          double alpha) {
  std::vector<float> factors;
  for (size_t i = 0; i < x.size(); ++i) {
    const double factor = std::pow(x[i], alpha) / std::pow(w[i], 1 - alpha);
    factors.push_back(std::isfinite(factor) && factor > 0 ? static_cast<float>(factor) : 1);
  }
  return factors;
}

// LLM-FP4's pre-shifted exponent bias (2310.16836, eq. 15): a column whose largest magnitude is
// 2^b below the tensor's is scaled up by 2^b, at most by the exponents that the format has. The
// real-valued bias of a column is -log2 of its largest but for a constant, which drops out.
std::vector<float> shifts(const std::vector<double>& x, int exponent_bits) {
  const double largest = *std::max_element(x.begin(), x.end());
  const double most = std::exp2(exponent_bits) - 1;
  std::vector<float> factors;
  for (const double own : x) {
    const double shift = own > 0 ? std::nearbyint(std::log2(largest / own)) : 0;
    factors.push_back(static_cast<float>(std::exp2(-std::clamp(shift, 0.0, most))));
  }
  return factors;
}

void run(StepContext& context) {
  const bool by_exponent = context.spec.text("method", "smooth") == "exponent";
  context.each([&](MatrixRule& m) {
    const std::vector<double>& x = context.of(m.matrix).absmax;
    auto numbers = std::make_shared<MatrixNumbers>();
    numbers->factors = by_exponent
                           ? shifts(x, static_cast<int>(context.spec.number("exponent_bits", 2)))

                           : smooth(x, largest_of_columns(context.weights, m.matrix),
                                    context.spec.number("alpha", 0.5));
    for (Treatment& treatment : m.rule.treatments) {
      if (treatment.kind == TreatmentKind::equalise) treatment.numbers = std::move(numbers);
    }
    if (numbers) throw Error("the plan's rule for it does not say 'with equalise'");
  });
}

}  // namespace

const Step k_equalise_step = {"equalise", "factors of columns, for the treatment of that name",
                              k_keys,     [](const StepSpec&) { return true; },
                              check,      run};

}  // namespace napier
