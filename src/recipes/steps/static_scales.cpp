// Scales of activations fixed beforehand, from what a calibration text showed.
#include <algorithm>
#include <array>
#include <cmath>

#include "napier/error.hpp"
#include "recipes/step.hpp"

namespace napier {
namespace {

constexpr std::array<std::string_view, 2> k_keys = {"from", "percent"};

void check(const StepSpec& spec) {
  const std::string from = spec.text("from", "absmax");
  if (from != "absmax" && from != "minmax" && from != "percentile") {
    throw Error("'from' is absmax, minmax or percentile, not '" + from + "'");
  }
  const double percent = spec.number("percent", 99.99);
  if (!(percent > 0 && percent <= 100)) throw Error("'percent' must be above 0, at most 100");
}

// MobileQuant's: q = clip(round(x / a) - beta), a = (greatest - least) / (2^b - 1), beta =
// round(least / a), so that the least number has the lowest code.
void fix_range(Operand& operand, double least, double greatest) {
  const Format& format = operand.cast.format;
  const double lowest = to_double(format.lowest());
  const double largest = to_double(format.max_finite());
  least = std::min(least, 0.0);
  greatest = std::max(greatest, 0.0);
  ScaleLevel level{.granularity = Granularity::tensor, .method = ScaleMethod::given};
  level.parameter = greatest > least ? (greatest - least) / (largest - lowest) : 1;
  level.zero = static_cast<int32_t>(
      std::clamp(lowest - std::nearbyint(least / level.parameter), lowest, largest));
  operand.scaling = {level};
}

void fix_largest(Operand& operand, double largest) {
  ScaleLevel level{.granularity = Granularity::tensor, .method = ScaleMethod::given};
  level.parameter = largest > 0 ? largest / to_double(operand.cast.format.max_finite()) : 1;
  operand.scaling = {level};
}

bool is_per_tensor(const Operand& operand) {
  return operand.scaling.size() == 1 && operand.scaling[0].granularity == Granularity::tensor;
}

void run(StepContext& context) {
  const std::string from = context.spec.text("from", "absmax");
  const double percent = context.spec.number("percent", 99.99);
  context.each([&](MatrixRule& m) {
    const MatrixStatistics& statistics = context.of(m.matrix);
    Operand& x = m.rule.arithmetic.x;
    if (!is_per_tensor(x)) throw Error("a static scale is of activations scaled @tensor");
    // What the product sees: columns divided by the factors of an equalisation before this step.
    const std::vector<float>* factors = nullptr;
    for (Treatment& treatment : m.rule.treatments) {
      if (treatment.kind == TreatmentKind::equalise) factors = &treatment.numbers->factors;
      if (takes_operand(treatment.kind) && is_per_tensor(treatment.operand)) {
        if (from == "minmax") {
          fix_range(treatment.operand, statistics.result_least, statistics.result_greatest);
        } else {
          fix_largest(treatment.operand,
                      std::max(-statistics.result_least, statistics.result_greatest));
        }
      }
    }
    double least = 0;
    double greatest = 0;
    for (size_t i = 0; i < statistics.absmax.size(); ++i) {
      const double factor = factors ? double{(*factors)[i]} : 1;
      least = std::min(least, statistics.least[i] / factor);
      greatest = std::max(greatest, statistics.greatest[i] / factor);
    }
    if (from == "minmax") {
      fix_range(x, least, greatest);
    } else if (from == "absmax") {
      fix_largest(x, std::max(-least, greatest));
    } else {
      if (factors) throw Error("percentiles are not known of equalised columns: say absmax");
      fix_largest(x, statistics.percentile(percent));
    }
  });
}

}  // namespace

const Step k_static_step = {"static", "scales of activations from the text, fixed",
                            k_keys,   [](const StepSpec&) { return true; },
                            check,    run};

}  // namespace napier
