// One of several products for each matrix: the best, or the best that a budget allows.
#include <algorithm>
#include <array>
#include <limits>
#include <numeric>

#include "napier/error.hpp"
#include "recipes/budget.hpp"
#include "recipes/step.hpp"

namespace napier {
namespace {

constexpr std::array<std::string_view, 7> k_keys = {"candidates", "method", "objective", "cost",
                                                    "budget",     "scope",  "seed"};

bool is_one_of(const std::string& word, std::initializer_list<std::string_view> words) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

void check_word(const StepSpec& spec, const char* key,
                std::initializer_list<std::string_view> words) {
  const std::string word = spec.text(key, *words.begin());
  if (is_one_of(word, words)) return;
  std::string known;
  for (const std::string_view w : words) known += (known.empty() ? "" : ", ") + std::string(w);
  throw Error("'" + std::string(key) + "' is one of " + known + ", not '" + word + "'");
}

std::vector<Rule> candidates_of(const StepSpec& spec) {
  std::vector<Rule> rules;
  for (const std::string& text : spec.list("candidates")) {
    const Plan plan = parse_plan(text);
    if (plan.rules.size() != 1 || plan.rules[0].pattern != "*") {
      throw Error("'candidates' are products without a pattern, not '" + text + "'");
    }
    rules.push_back(plan.rules[0]);
  }
  return rules;
}

void check(const StepSpec& spec) {
  check_word(spec, "method", {"best", "program", "greedy", "reinforce"});
  check_word(spec, "objective", {"output", "weights", "curvature"});
  check_word(spec, "cost", {"weight_bits", "bit_operations"});
  check_word(spec, "scope", {"matrix", "network"});
  if (candidates_of(spec).size() < 2) throw Error("'candidates' must hold two products at least");
  const bool best = spec.text("method", "best") == "best";
  if (best != (spec.number("budget", 0) == 0)) {
    throw Error("'budget' goes with the methods program, greedy and reinforce");
  }
  if (!best && spec.text("scope", "matrix") == "network") {
    throw Error("'scope' network goes with the method best");
  }
}

// A candidate in place of a matrix's rule: treatments of the same kind keep their numbers.
Rule instead_of(const Rule& before, const Rule& candidate) {
  Rule rule = candidate;
  rule.pattern = before.pattern;
  for (Treatment& treatment : rule.treatments) {
    for (const Treatment& own : before.treatments) {
      if (own.kind == treatment.kind) treatment.numbers = own.numbers;
    }
  }
  return rule;
}

double squared_weight_error(const Rule& rule, const WeightMatrix& matrix,
                            const std::vector<float>& weights) {
  const std::vector<float> rounded =
      rounded_weights(rule.arithmetic.w, matrix.rows, matrix.k, weights);
  double sum = 0;
  for (size_t i = 0; i < weights.size(); ++i) {
    const double difference = double{weights[i]} - double{rounded[i]};
    sum += difference * difference;
  }
  return sum;
}

// The error that a candidate makes in a matrix:
//   output     relative squared error of the product of rows from the text
//   weights    squared error of the weights, relative to their square
//   curvature  that error (absolute) times the mean square of the activations: the trace of the
//              layer's own Hessian X^T X a weight, in place of HAWQ's Hessian of the loss
std::vector<double> errors_of(const std::vector<Rule>& candidates, const MatrixRule& m,
                              StepContext& context) {
  const std::string objective = context.spec.text("objective", "output");
  std::vector<double> errors;
  if (objective == "output") {
    const Trial trial(m.matrix, context.of(m.matrix), context.weights);
    for (const Rule& candidate : candidates) {
      errors.push_back(trial.error(instead_of(m.rule, candidate), context.pool));
    }
    return errors;
  }
  const std::vector<float> weights = context.weights.all(m.matrix);
  double factor = 0;
  if (objective == "weights") {
    for (const float w : weights) factor += double{w} * double{w};
    factor = factor > 0 ? 1 / factor : 1;
  } else {
    const MatrixStatistics& s = context.of(m.matrix);
    factor = std::accumulate(s.squares.begin(), s.squares.end(), 0.0) / s.rows /
             static_cast<double>(m.matrix.k);
  }
  for (const Rule& rule : candidates) {
    errors.push_back(factor * squared_weight_error(rule, m.matrix, weights));
  }
  return errors;
}

// Stored bits of the weights, or bits of weight times bits of activation a multiplication (BitOPs).
double cost_of(const Rule& rule, const WeightMatrix& matrix, bool operations) {
  const double elements = static_cast<double>(matrix.rows) * static_cast<double>(matrix.k);
  if (!operations) {
    return elements * rule.arithmetic.w.bits_per_element(matrix.rows, matrix.k);
  }
  return elements * rule.arithmetic.w.cast.format.bits() * rule.arithmetic.x.cast.format.bits();
}

void run(StepContext& context) {
  const StepSpec& spec = context.spec;
  const std::vector<Rule> candidates = candidates_of(spec);
  const bool operations = spec.text("cost", "weight_bits") == "bit_operations";
  std::vector<std::vector<Candidate>> places;
  std::vector<size_t> concerned;
  double weights = 0;
  for (size_t i = 0; i < context.matrices.size(); ++i) {
    const MatrixRule& m = context.matrices[i];
    context.progress(static_cast<double>(i) / static_cast<double>(context.matrices.size()));
    if (!context.concerns(m.matrix)) continue;
    std::vector<Candidate> place;
    try {
      for (const double error : errors_of(candidates, m, context)) place.push_back({error, 0});
    } catch (const Error& error) {
      throw Error(m.matrix.name + ": " + error.what(), error.blame());
    }
    for (size_t c = 0; c < candidates.size(); ++c) {
      place[c].cost = cost_of(candidates[c], m.matrix, operations);
    }
    places.push_back(std::move(place));
    concerned.push_back(i);
    weights += static_cast<double>(m.matrix.rows) * static_cast<double>(m.matrix.k);
  }

  const std::string method = spec.text("method", "best");
  const double budget = spec.number("budget", 0) * weights;
  std::vector<size_t> chosen;
  if (method == "program") {
    chosen = choose_by_program(places, budget);
  } else if (method == "greedy") {
    chosen = choose_greedily(places, budget);
  } else if (method == "reinforce") {
    ReinforceOptions options;
    options.seed = static_cast<uint64_t>(spec.number("seed", 1));
    chosen = choose_by_reinforcement(places, budget, options);
  } else {
    std::vector<double> sums(candidates.size());
    for (const auto& place : places) {
      for (size_t c = 0; c < sums.size(); ++c) sums[c] += place[c].error;
    }
    const auto of_network =
        static_cast<size_t>(std::min_element(sums.begin(), sums.end()) - sums.begin());
    for (const auto& place : places) {
      const auto own = std::min_element(place.begin(), place.end(),
                                        [](auto& a, auto& b) { return a.error < b.error; });
      const bool network = spec.text("scope", "matrix") == "network";
      chosen.push_back(network ? of_network : static_cast<size_t>(own - place.begin()));
    }
  }
  for (size_t p = 0; p < places.size(); ++p) {
    Rule& rule = context.matrices[concerned[p]].rule;
    rule = instead_of(rule, candidates[chosen[p]]);
  }
}

}  // namespace

const Step k_choose_step = {
    "choose", "one of several products for each matrix",
    k_keys,   [](const StepSpec& spec) { return spec.text("objective", "output") != "weights"; },
    check,    run};

}  // namespace napier
