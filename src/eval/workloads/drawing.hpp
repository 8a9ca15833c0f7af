// Drawing samples: random numbers, and which part a sample is for.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "eval/workload.hpp"

namespace napier {

// mt19937_64 is the same everywhere; the standard library's distributions are not.
class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}
  int below(int count) { return static_cast<int>(engine_() % static_cast<uint64_t>(count)); }
  int between(int low, int high) { return low + below(high - low + 1); }
  bool chance(int percent) { return below(100) < percent; }
  template <class T>
  void shuffle(std::vector<T>& values) {
    for (size_t i = values.size(); i > 1; --i) std::swap(values[i - 1], values[engine_() % i]);
  }

 private:
  std::mt19937_64 engine_;
};

inline std::string reversed(std::string text) {
  std::reverse(text.begin(), text.end());
  return text;
}

// `count` digits, the first of them no zero where there are several; from 1 on if `positive`.
std::string random_digits(Random& random, int count, bool positive = false);

// A tenth of all texts is kept for questions, whatever the seed.
bool is_for(Part part, std::string_view question);

// Different samples of a part, from `draw`, which is told how long each is to be: all lengths from
// `shortest` to `longest` in turn. A length of which there are no more is left out; throws Error if
// that is all of them.
std::vector<Sample> different_samples(
    Part part, int count, uint64_t seed, int shortest, int longest,
    const std::function<Sample(Random& random, int length)>& draw);

// The tables of workloads, a file each.
std::vector<Workload> teaching_arithmetic();
std::vector<Workload> teaching_functions();
std::vector<Workload> small_arithmetic();
std::vector<Workload> dissecting_multiplication();
std::vector<Workload> chain_of_thought();
std::vector<Workload> linear_equations();
std::vector<Workload> positional_description();
std::vector<Workload> number_cookbook();

}  // namespace napier
