#include "eval/league.hpp"

#include <algorithm>

#include "cost/model_cost.hpp"
#include "napier/arithmetic.hpp"
#include "napier/error.hpp"

namespace napier {
namespace {

bool divides(const Operand& operand, int64_t k) {
  return std::all_of(operand.scaling.begin(), operand.scaling.end(), [k](const ScaleLevel& level) {
    return level.granularity != Granularity::block || k % level.block == 0;
  });
}

// Which of a plan's rules decide for any of the matrices, or for attention's products.
std::vector<bool> deciding(const Plan& plan, std::span<const WeightMatrix> matrices) {
  std::vector<bool> decides(plan.rules.size());
  const auto mark = [&](std::string_view name) {
    if (const auto rule = plan.match(name)) decides[*rule] = true;
  };
  for (const WeightMatrix& matrix : matrices) mark(matrix.name);
  mark("kq-0");
  mark("kqv-0");
  return decides;
}

}  // namespace

std::optional<Entrant> league_entrant(std::span<const WeightMatrix> matrices, Subject subject) {
  const Plan& plan = subject.plan;
  Plan fitting;
  bool any = false;
  for (const WeightMatrix& matrix : matrices) {
    if (leaves_in_f32(plan, matrix.name)) continue;
    const Arithmetic& arithmetic = plan.rules[*plan.match(matrix.name)].arithmetic;
    const bool fits = divides(arithmetic.x, matrix.k) && divides(arithmetic.w, matrix.k);
    if (!fits) fitting.rules.push_back({matrix.name, Arithmetic{}});
    any = any || fits;
  }
  if (!fitting.rules.empty()) {
    if (!any) return std::nullopt;
    // Plans have no rules that decide nothing: not those that lost all that they decided.
    const size_t left = fitting.rules.size();
    fitting.rules.insert(fitting.rules.end(), plan.rules.begin(), plan.rules.end());
    const std::vector<bool> before = deciding(plan, matrices);
    const std::vector<bool> after = deciding(fitting, matrices);
    for (size_t i = plan.rules.size(); i-- > 0;) {
      if (!before[i] || after[left + i]) continue;
      fitting.rules.erase(fitting.rules.begin() + static_cast<ptrdiff_t>(left + i));
    }
    subject.plan = std::move(fitting);
  }
  Entrant entrant;
  entrant.subject = std::move(subject);
  return entrant;
}

std::optional<Entrant> league_entrant(std::span<const WeightMatrix> matrices,
                                      const std::string& name) {
  const Arithmetic arithmetic = parse_arithmetic(name);
  std::optional<Entrant> entrant = league_entrant(
      matrices, Subject{name, Plan{{{"*.weight", arithmetic}, {"*", Arithmetic{}}}}});
  if (entrant) entrant->written = to_string(arithmetic);
  return entrant;
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

void count_costs(League& league, std::span<const WeightMatrix> matrices, const Prices& prices) {
  const Evaluation& evaluation = league.evaluation;
  const auto energy = [&](const Plan& plan, const Result& result) {
    const ModelShape shape = shape_of_file(evaluation.model, evaluation.context);
    return cost_of(shape, plan, prices, {}, &result.coverage).energy.total();
  };
  try {
    league.reference_pj = energy(Reference{}.subject.plan, evaluation.reference);
  } catch (const Error&) {  // each entrant says it
  }
  for (size_t i = 0; i < league.entrants.size(); ++i) {
    Entrant& entrant = league.entrants[i];
    const Result& result = evaluation.results[i];
    entrant.bits =
        stored_bits(matrices, entrant.subject.plan, evaluation.context, &result.coverage);
    try {
      entrant.energy_pj = energy(entrant.subject.plan, result);
    } catch (const Error& error) {
      entrant.no_energy = error.what();
    }
  }
}

}  // namespace napier
