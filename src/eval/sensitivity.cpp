#include "eval/sensitivity.hpp"

#include <map>
#include <utility>

namespace napier {
namespace {

// The names of the multiplications that make up each part, by the part's name and in its order.
std::vector<std::pair<std::string, std::vector<std::string>>> members(
    Part part, std::span<const MatmulInspection> matmuls) {
  std::vector<std::pair<std::string, std::vector<std::string>>> result;
  std::map<std::string, size_t> place;
  for (const MatmulInspection& matmul : matmuls) {
    if (part == Part::layer && !matmul.layer) continue;
    const std::string name = part == Part::matmul ? matmul.name
                             : part == Part::role ? matmul.role
                                                  : std::to_string(*matmul.layer);
    const auto [found, is_new] = place.try_emplace(name, result.size());
    if (is_new) result.push_back({name, {}});
    result[found->second].second.push_back(matmul.name);
  }
  return result;
}

}  // namespace

Sensitivity measure_sensitivity(const Model& model, std::span<const Passage> passages,
                                std::span<const NamedArithmetic> arithmetics,
                                std::span<const Part> parts, const EvaluationOptions& options) {
  Sensitivity sensitivity;
  std::vector<Arithmetic> plain;
  for (const NamedArithmetic& named : arithmetics) plain.push_back(named.arithmetic);
  sensitivity.matmuls = inspect(model, passages, plain, options);

  const Arithmetic f32 = parse_arithmetic("f32");
  std::vector<Subject> subjects;
  for (const NamedArithmetic& named : arithmetics) {
    subjects.push_back({named.name, Plan{{{"*", named.arithmetic}}}});
    ArithmeticSensitivity& entry = sensitivity.arithmetics.emplace_back();
    entry.arith = named.name;
    for (const Part part : parts) {
      for (const auto& [name, matmuls] : members(part, sensitivity.matmuls)) {
        entry.parts.push_back({part, name, {}});
      }
    }
  }
  for (const NamedArithmetic& named : arithmetics) {
    for (const Part part : parts) {
      for (const auto& [name, matmuls] : members(part, sensitivity.matmuls)) {
        Plan plan;
        for (const std::string& matmul : matmuls) plan.rules.push_back({matmul, named.arithmetic});
        if (matmuls.size() < sensitivity.matmuls.size()) plan.rules.push_back({"*", f32});
        subjects.push_back({name, std::move(plan)});
      }
    }
  }
  sensitivity.evaluation = evaluate(model, passages, subjects, {}, options);
  std::vector<Result>& results = sensitivity.evaluation.results;
  size_t next = arithmetics.size();
  for (ArithmeticSensitivity& entry : sensitivity.arithmetics) {
    for (PartResult& part : entry.parts) part.result = std::move(results[next++]);
  }
  results.resize(arithmetics.size());
  return sensitivity;
}

}  // namespace napier
