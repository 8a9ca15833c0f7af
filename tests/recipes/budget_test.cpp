// Searches under a budget, against every combination tried out.
#include "recipes/budget.hpp"

#include <random>
#include <vector>

#include "napier/error.hpp"
#include "support/test_support.hpp"

namespace napier {
namespace {

using Instance = std::vector<std::vector<Candidate>>;

double sum(const Instance& places, const std::vector<size_t>& chosen, double Candidate::*what) {
  double total = 0;
  for (size_t i = 0; i < places.size(); ++i) total += places[i][chosen[i]].*what;
  return total;
}

// The least error of all combinations within the budget; negative where there is none.
double brute_force(const Instance& places, double budget) {
  double best = -1;
  std::vector<size_t> chosen(places.size());
  for (;;) {
    const double error = sum(places, chosen, &Candidate::error);
    if (sum(places, chosen, &Candidate::cost) <= budget && (best < 0 || error < best)) best = error;
    size_t i = 0;
    while (i < places.size() && ++chosen[i] == places[i].size()) chosen[i++] = 0;
    if (i == places.size()) return best;
  }
}

Instance random_instance(std::mt19937_64& random, size_t places, size_t candidates) {
  std::uniform_int_distribution<int> whole(1, 1000);
  Instance instance(places);
  for (auto& place : instance) {
    for (size_t i = 0; i < candidates; ++i) {
      place.push_back({whole(random) / 1e6, static_cast<double>(whole(random))});
    }
  }
  return instance;
}

TEST(Budget, TheProgramFindsTheOptimum) {
  std::mt19937_64 random(test::seed());
  for (int trial = 0; trial < 60; ++trial) {
    const Instance places = random_instance(random, 1 + random() % 7, 2 + random() % 3);
    const double budget = static_cast<double>(300 * places.size());
    const double best = brute_force(places, budget);
    if (best < 0) {
      EXPECT_THROW(choose_by_program(places, budget), Error);
      continue;
    }
    const std::vector<size_t> chosen = choose_by_program(places, budget);
    EXPECT_LE(sum(places, chosen, &Candidate::cost), budget);
    EXPECT_NEAR(sum(places, chosen, &Candidate::error), best, 1e-12);
  }
}

// FLIQS's and HAWQ's setting: 4, 6 or 8 bits for each of six layers, one of which matters most.
Instance layers() {
  Instance places;
  for (const double weight : {1.0, 40.0, 2.0, 3.0, 0.5, 8.0}) {
    places.push_back({{weight, 16}, {weight / 16, 36}, {weight / 256, 64}});
  }
  return places;
}

TEST(Budget, ReinforcementFindsTheKnownOptimum) {
  const Instance places = layers();
  for (const double budget : {120.0, 200.0, 280.0}) {
    const auto chosen = choose_by_reinforcement(places, budget);
    EXPECT_LE(sum(places, chosen, &Candidate::cost), budget);
    EXPECT_NEAR(sum(places, chosen, &Candidate::error), brute_force(places, budget), 1e-12);
    EXPECT_EQ(chosen, choose_by_reinforcement(places, budget));
  }
}

TEST(Budget, GreedyStaysWithinAndIsNearTheOptimum) {
  std::mt19937_64 random(test::seed());
  const Instance places = layers();
  for (double budget = 100; budget < 390; budget += 20) {
    const auto chosen = choose_greedily(places, budget);
    EXPECT_LE(sum(places, chosen, &Candidate::cost), budget);
    EXPECT_GE(sum(places, chosen, &Candidate::error), brute_force(places, budget) - 1e-12);
  }
  const auto all = choose_greedily(places, 1e6);
  EXPECT_NEAR(sum(places, all, &Candidate::error), brute_force(places, 1e6), 1e-12);
}

TEST(Budget, TooSmallOnesAreRefused) {
  EXPECT_THROW(choose_by_program(layers(), 95), Error);
  EXPECT_THROW(choose_greedily(layers(), 95), Error);
  EXPECT_THROW(choose_by_reinforcement(layers(), 95), Error);
}

}  // namespace
}  // namespace napier
