#include "recipes/budget.hpp"

#include <coin/Cbc_C_Interface.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <random>
#include <string>

#include "napier/error.hpp"

namespace napier {
namespace {

double total(Places places, std::span<const size_t> chosen, double Candidate::*what) {
  double sum = 0;
  for (size_t i = 0; i < places.size(); ++i) sum += places[i][chosen[i]].*what;
  return sum;
}

// Of candidates that cost the same the one of least error.
std::vector<size_t> cheapest(Places places, double budget) {
  std::vector<size_t> chosen;
  for (const std::vector<Candidate>& candidates : places) {
    const auto least = std::min_element(candidates.begin(), candidates.end(), [](auto& a, auto& b) {
      return a.cost != b.cost ? a.cost < b.cost : a.error < b.error;
    });
    chosen.push_back(static_cast<size_t>(least - candidates.begin()));
  }
  const double cost = total(places, chosen, &Candidate::cost);
  if (cost > budget) {
    throw Error("the budget of " + std::to_string(budget) +
                " is too small: the cheapest choice costs " + std::to_string(cost));
  }
  return chosen;
}

struct DeleteModel {
  void operator()(Cbc_Model* model) const { Cbc_deleteModel(model); }
};

}  // namespace

std::vector<size_t> choose_by_program(Places places, double budget) {
  std::vector<size_t> chosen = cheapest(places, budget);
  const std::unique_ptr<Cbc_Model, DeleteModel> model(Cbc_newModel());
  Cbc_setParameter(model.get(), "logLevel", "0");
  Cbc_setParameter(model.get(), "ratioGap", "0");
  // Errors and costs are brought near 1, where the solver's tolerances are made for.
  const double error_unit = std::max(1e-300, total(places, chosen, &Candidate::error));
  const double cost_unit = budget > 0 ? budget : 1;
  std::vector<int> columns;
  std::vector<double> costs;
  int column = 0;
  for (const std::vector<Candidate>& candidates : places) {
    for (const Candidate& candidate : candidates) {
      Cbc_addCol(model.get(), std::to_string(column).c_str(), 0, 1, candidate.error / error_unit, 1,
                 0, nullptr, nullptr);
      columns.push_back(column++);
      costs.push_back(candidate.cost / cost_unit);
    }
  }
  int first = 0;
  for (const std::vector<Candidate>& candidates : places) {
    const auto count = static_cast<int>(candidates.size());
    const std::vector<double> ones(candidates.size(), 1);
    Cbc_addRow(model.get(), ("place" + std::to_string(first)).c_str(), count,
               columns.data() + first, ones.data(), 'E', 1);
    first += count;
  }
  Cbc_addRow(model.get(), "budget", column, columns.data(), costs.data(), 'L', budget / cost_unit);
  Cbc_solve(model.get());
  if (!Cbc_isProvenOptimal(model.get())) {
    throw Error("the integer program was not solved", Blame::environment);
  }
  const double* solution = Cbc_getColSolution(model.get());
  for (size_t i = 0, at = 0; i < places.size(); at += places[i++].size()) {
    for (size_t j = 0; j < places[i].size(); ++j) {
      if (solution[at + j] > 0.5) chosen[i] = j;
    }
  }
  return chosen;
}

std::vector<size_t> choose_greedily(Places places, double budget) {
  std::vector<size_t> chosen = cheapest(places, budget);
  double cost = total(places, chosen, &Candidate::cost);
  for (;;) {
    double best = 0;
    size_t place = 0;
    size_t candidate = 0;
    for (size_t i = 0; i < places.size(); ++i) {
      const Candidate& now = places[i][chosen[i]];
      for (size_t j = 0; j < places[i].size(); ++j) {
        const Candidate& other = places[i][j];
        const double gained = now.error - other.error;
        const double paid = std::max(other.cost - now.cost, 1e-12 * std::max(1.0, budget));
        if (gained <= 0 || cost + other.cost - now.cost > budget) continue;
        if (gained / paid <= best) continue;
        best = gained / paid;
        place = i;
        candidate = j;
      }
    }
    if (best == 0) return chosen;
    cost += places[place][candidate].cost - places[place][chosen[place]].cost;
    chosen[place] = candidate;
  }
}

std::vector<size_t> choose_by_reinforcement(Places places, double budget,
                                            const ReinforceOptions& options) {
  std::vector<size_t> best = cheapest(places, budget);
  double least = total(places, best, &Candidate::error);
  const double unit = std::max(least, 1e-300);
  std::mt19937_64 random(options.seed);
  std::vector<std::vector<double>> logits;
  for (const auto& candidates : places) logits.emplace_back(candidates.size(), 0.0);
  double baseline = 0;
  for (int sample = 0; sample < options.samples; ++sample) {
    std::vector<size_t> chosen;
    std::vector<std::vector<double>> chances;
    for (const std::vector<double>& own : logits) {
      const double largest = *std::max_element(own.begin(), own.end());
      std::vector<double> p;
      double sum = 0;
      for (const double logit : own) sum += p.emplace_back(std::exp(logit - largest));
      for (double& chance : p) chance /= sum;
      double left = std::generate_canonical<double, 53>(random);
      size_t at = 0;
      while (at + 1 < p.size() && left >= p[at]) left -= p[at++];
      chosen.push_back(at);
      chances.push_back(std::move(p));
    }
    const double error = total(places, chosen, &Candidate::error);
    const double cost = total(places, chosen, &Candidate::cost);
    if (cost <= budget && error < least) {
      least = error;
      best = chosen;
    }
    const double reward = -error / unit - options.penalty * std::fabs(1 - cost / budget);
    if (sample == 0) baseline = reward;
    const double advantage = reward - baseline;
    baseline += 0.05 * advantage;
    const double fade = 1 - static_cast<double>(sample) / options.samples;
    for (size_t i = 0; i < logits.size(); ++i) {
      double entropy = 0;
      for (const double p : chances[i]) entropy -= p > 0 ? p * std::log(p) : 0;
      for (size_t j = 0; j < logits[i].size(); ++j) {
        const double p = chances[i][j];
        const double to_sample = (j == chosen[i] ? 1.0 : 0.0) - p;
        const double to_entropy = p > 0 ? -p * (std::log(p) + entropy) : 0;
        logits[i][j] +=
            options.rate * (advantage * to_sample + options.entropy * fade * to_entropy);
      }
    }
  }
  return best;
}

}  // namespace napier
