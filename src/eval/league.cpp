#include "eval/league.hpp"

#include <algorithm>

#include "napier/arithmetic.hpp"

namespace napier {
namespace {

bool divides(const Operand& operand, int64_t k) {
  return std::all_of(operand.scaling.begin(), operand.scaling.end(), [k](const ScaleLevel& level) {
    return level.granularity != Granularity::block || k % level.block == 0;
  });
}

}  // namespace

std::vector<Entrant> league_entrants(std::span<const WeightMatrix> matrices,
                                     std::span<const std::string> names, int context) {
  std::vector<Entrant> entrants;
  for (const std::string& name : names) {
    const Arithmetic arithmetic = parse_arithmetic(name);
    Entrant entrant;
    entrant.subject.name = name;
    double all = 0;
    double covered = 0;
    double activations = 0;
    for (const WeightMatrix& matrix : matrices) {
      const double elements = static_cast<double>(matrix.rows) * static_cast<double>(matrix.k);
      all += elements;
      if (!divides(arithmetic.x, matrix.k) || !divides(arithmetic.w, matrix.k)) {
        entrant.subject.plan.rules.push_back({matrix.name, Arithmetic{}});
        continue;
      }
      covered += elements;
      entrant.weight_bits += elements * arithmetic.w.bits_per_element(matrix.rows, matrix.k);
      entrant.activation_bits +=
          static_cast<double>(matrix.k) * arithmetic.x.bits_per_element(context, matrix.k);
      activations += static_cast<double>(matrix.k);
    }
    if (covered == 0) continue;
    entrant.weight_bits /= covered;
    entrant.activation_bits /= activations;
    entrant.share = covered / all;
    entrant.subject.plan.rules.push_back({"*.weight", arithmetic});
    entrant.subject.plan.rules.push_back({"*", Arithmetic{}});
    entrants.push_back(std::move(entrant));
  }
  return entrants;
}

std::vector<std::string> league_names() {
  std::vector<std::string> names;
  for (const Preset& preset : presets()) {
    const Arithmetic arithmetic = parse_arithmetic(preset.name);
    if (arithmetic == Arithmetic{}) continue;  // the reference
    names.emplace_back(preset.name);
    const Cast& cast = arithmetic.w.cast;
    if (cast.rounding == Rounding::toward_zero) {
      names.push_back(names.back() + "-rne");
    } else if (cast.format.is_float() && cast.format.bits() == 8 && arithmetic.x.scaling.empty()) {
      names.push_back(names.back() + "-rtz");
    }
  }
  return names;
}

}  // namespace napier
