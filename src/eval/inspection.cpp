#include "eval/inspection.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>
#include <utility>

namespace napier {
namespace {

// Sums of squares of one matrix multiplication so far.
struct Power {
  double signal = 0;
  std::vector<double> noise;  // by arithmetic
};

double decibels(double signal, double noise) {
  if (noise == 0) return std::numeric_limits<double>::infinity();
  return 10 * std::log10(signal / noise);
}

}  // namespace

void OperandHistogram::add(float value) {
  if (value == 0) {
    ++zeros;
    return;
  }
  int exponent = 0;
  const float mantissa = 2 * std::frexp(std::abs(value), &exponent);  // in [1, 2)
  ++exponents[exponent - 1];
  ++mantissas[static_cast<size_t>((mantissa - 1) * k_mantissa_bins)];
}

uint64_t OperandHistogram::count() const {
  uint64_t count = zeros;
  for (const uint64_t bin : mantissas) count += bin;
  return count;
}

std::vector<MatmulInspection> inspect(const Model& model, std::span<const Passage> passages,
                                      std::span<const Arithmetic> arithmetics,
                                      const EvaluationOptions& options) {
  const Arithmetic exact = parse_arithmetic("acc=f64");
  std::map<std::string, std::pair<MatmulInspection, Power>, std::less<>> found;
  const auto look = [&](const MatmulObservation& observation) {
    auto& [inspection, power] = found[std::string(observation.name())];
    power.noise.resize(arithmetics.size());
    const auto into = [](OperandHistogram& histogram) {
      return [&histogram](std::span<const float> row) {
        for (const float value : row) histogram.add(value);
      };
    };
    observation.weights(into(inspection.w));
    observation.activations(into(inspection.x));
    const std::vector<float> expected = observation.under(exact);
    for (const double value : expected) power.signal += value * value;
    for (size_t i = 0; i < arithmetics.size(); ++i) {
      const std::vector<float> actual = observation.under(arithmetics[i]);
      for (size_t j = 0; j < actual.size(); ++j) {
        const double difference = double{actual[j]} - double{expected[j]};
        power.noise[i] += difference * difference;
      }
    }
  };

  Context context(model, parse_plan("f32"), options.context_options());
  context.warm_up();
  for (const Arithmetic& arithmetic : arithmetics) {  // what cannot run here says so at once
    context.sibling(Plan{{{"*", arithmetic}}})->warm_up();
  }
  context.observe(look);
  for (size_t i = 0; i < passages.size(); ++i) {
    if (options.on_progress) {
      options.on_progress("operands",
                          static_cast<double>(i) / static_cast<double>(passages.size()));
    }
    context.clear();
    context.decode(passages[i].tokens, static_cast<int>(passages[i].scored()) + 1);
  }

  std::vector<MatmulInspection> result;
  for (auto& [name, entry] : found) {
    auto& [inspection, power] = entry;
    inspection.name = name;
    inspection.role = role_of(name);
    inspection.layer = layer_of(name);
    for (const double noise : power.noise) inspection.snr.push_back(decibels(power.signal, noise));
    result.push_back(std::move(inspection));
  }
  // What is in no layer comes last: the output.
  const auto place = [](const MatmulInspection& i) {
    return std::tuple(i.layer.value_or(std::numeric_limits<int>::max()), i.name);
  };
  std::sort(result.begin(), result.end(),
            [&](const auto& a, const auto& b) { return place(a) < place(b); });
  return result;
}

}  // namespace napier
