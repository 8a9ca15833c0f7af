// LLM-FP4's search (2310.16836, algorithm 1) for formats and for the activations' exponent bias.
#include <algorithm>
#include <array>
#include <cmath>

#include "napier/error.hpp"
#include "recipes/step.hpp"

namespace napier {
namespace {

constexpr std::array<std::string_view, 6> k_keys = {"x_formats", "w_formats", "low",
                                                    "high",      "steps",     "rounds"};

std::vector<Format> formats_of(const StepSpec& spec, std::string_view key) {
  std::vector<Format> formats;
  for (const std::string& name : spec.list(key)) {
    const Format format = parse_arithmetic("x=" + name).x.cast.format;
    if (!format.is_float()) throw Error("'" + name + "' is no floating-point format");
    formats.push_back(format);
  }
  return formats;
}

void check(const StepSpec& spec) {
  if (formats_of(spec, "x_formats").empty() || formats_of(spec, "w_formats").empty()) {
    throw Error("'x_formats' and 'w_formats' must hold a format each at least");
  }
  const double low = spec.number("low", 0.01);
  const double high = spec.number("high", 1.2);
  if (!(low > 0 && low <= high)) throw Error("'low' must be above 0, and not above 'high'");
  const double steps = spec.number("steps", 100);
  if (!(steps >= 1 && steps <= 10000)) throw Error("'steps' must be from 1 to 10000");
  const double rounds = spec.number("rounds", 3);
  if (!(rounds >= 1 && rounds <= 100)) throw Error("'rounds' must be from 1 to 100");
}

// A bias b makes the largest number Qmax = (2 - 2^-M) 2^(2^E - 1 - b); MinMax's bias makes it the
// largest magnitude. A bias of `gamma` times that is the scale Qmax / (the format's largest).
double scale_of(const Format& format, double absmax, double gamma) {
  const double exponents = std::exp2(format.exponent_bits);
  const double mantissa = std::log2(2 - std::exp2(-format.mantissa_bits));
  const double bias = exponents - std::log2(absmax) + mantissa - 1;
  return std::exp2(mantissa + exponents - 1 - gamma * bias) / to_double(format.max_finite());
}

void run(StepContext& context) {
  const StepSpec& spec = context.spec;
  const std::vector<Format> x_formats = formats_of(spec, "x_formats");
  const std::vector<Format> w_formats = formats_of(spec, "w_formats");
  const auto steps = static_cast<int>(spec.number("steps", 100));
  const double low = spec.number("low", 0.01);
  const double high = spec.number("high", 1.2);
  context.each([&](MatrixRule& m) {
    const MatrixStatistics& statistics = context.of(m.matrix);
    const Trial trial(m.matrix, statistics, context.weights);
    double absmax = 0;
    for (size_t i = 0; i < statistics.absmax.size(); ++i) {
      double factor = 1;
      for (const Treatment& treatment : m.rule.treatments) {
        if (treatment.kind == TreatmentKind::equalise) factor = treatment.numbers->factors[i];
      }
      absmax = std::max(absmax, statistics.absmax[i] / factor);
    }
    if (absmax == 0) absmax = 1;
    Rule& best = m.rule;
    double least = -1;
    const auto consider = [&](const Rule& candidate) {
      const double error = trial.error(candidate, context.pool);
      if (least >= 0 && !(error < least)) return;
      least = error;
      best = candidate;
    };
    const auto with_x = [&](Rule rule, const Format& format, double gamma) {
      rule.arithmetic.x.cast.format = format;
      ScaleLevel level{.granularity = Granularity::tensor, .method = ScaleMethod::given};
      level.parameter = scale_of(format, absmax, gamma);
      rule.arithmetic.x.scaling = {level};
      return rule;
    };
    // The weights' bias of each channel is chosen by the channel's own squared error.
    const auto with_w = [](Rule rule, const Format& format, ScaleMethod method) {
      rule.arithmetic.w.cast.format = format;
      rule.arithmetic.w.scaling = {{.granularity = Granularity::row, .method = method}};
      return rule;
    };
    consider(with_x(with_w(best, w_formats[0], ScaleMethod::absmax), x_formats[0], 1));
    for (int round = 0; round < static_cast<int>(spec.number("rounds", 3)); ++round) {
      const double before = least;
      for (const Format& format : w_formats) {
        for (const ScaleMethod method : {ScaleMethod::absmax, ScaleMethod::mse}) {
          consider(with_w(best, format, method));
        }
      }
      const Rule fixed = best;
      for (const Format& format : x_formats) {
        consider(with_x(fixed, format, 1));  // MinMax
        for (int i = 0; i < steps; ++i) {
          const double part = steps == 1 ? 0 : static_cast<double>(i) / (steps - 1);
          consider(with_x(fixed, format, low + part * (high - low)));
        }
      }
      if (least == before) break;
    }
  });
}

}  // namespace

const Step k_bias_step = {"bias", "formats and a static exponent bias by the product's error",
                          k_keys, [](const StepSpec&) { return true; },
                          check,  run};

}  // namespace napier
