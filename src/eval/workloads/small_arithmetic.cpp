// The workload of the embedded arithmetic model.
#include "eval/workloads/pairs.hpp"

namespace napier {
namespace {

// Sums of numbers below 100 and products of numbers below 100 and below 10, half of each. Questions
// ask for sums that were not trained on, and for any product: a tenth of them is not trained on.
std::vector<Sample> small_sums_and_products(Part part, int count, uint64_t seed) {
  Random random(seed);
  std::vector<Sample> samples;
  while (static_cast<int>(samples.size()) < count) {
    const bool sum = samples.size() % 2 == 0;
    const Pair pair = {random.below(100), random.below(sum ? 100 : 10)};
    const bool any = part == Part::train ? pair.a < 10 && pair.b < 10 : !sum;
    if (!any && !is_for(part, pair)) continue;
    const std::string result = reversed(std::to_string(sum ? pair.a + pair.b : pair.a * pair.b));
    samples.push_back(
        {"$" + std::to_string(pair.a) + (sum ? "+" : "*") + std::to_string(pair.b) + "=",
         result + "$\n", length_of(pair)});
  }
  random.shuffle(samples);
  return samples;
}

}  // namespace

std::vector<Workload> small_arithmetic() {
  return {{"small", "a+b below 100; any a*b below 100 by below 10; the last digit first", "$", 6,
           small_sums_and_products, Notation::reversed}};
}

}  // namespace napier
