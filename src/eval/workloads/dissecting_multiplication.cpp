// Dissecting Multiplication in Transformers (arXiv 2407.15360).
#include <algorithm>

#include "eval/workloads/pairs.hpp"

namespace napier {
namespace {

// Five digits by five, zero padded; a share of the samples is simple: one digit of the multiplier
// is free, the others are 0 (its "simple samples"). By = 1: the multiplier has one digit ("m x u").
template <bool Reverse, int By, int SimplePercent>
std::vector<Sample> long_products(Part part, int count, uint64_t seed) {
  Random random(seed);
  const auto padded = [](int64_t value, size_t width) {
    const std::string text = std::to_string(value);
    return std::string(width - std::min(width, text.size()), '0') + text;
  };
  std::vector<Sample> samples;
  while (static_cast<int>(samples.size()) < count) {
    Pair pair = {random.below(100000), random.below(By == 1 ? 10 : 100000)};
    if (By > 1 && random.below(100) < SimplePercent && part == Part::train) {
      pair.b = random.below(10);
      for (int place = random.below(5); place > 0; --place) pair.b *= 10;
    }
    if (!is_for(part, pair)) continue;
    const std::string result = padded(int64_t{pair.a} * pair.b, 5 + By);
    samples.push_back({padded(pair.a, 5) + "*" + padded(pair.b, By) + "=",
                       (Reverse ? reversed(result) : result) + "\n", 5});
  }
  return samples;
}

}  // namespace

std::vector<Workload> dissecting_multiplication() {
  return {
      {"dissect-unit", "5 digits by 1, zero padded (arXiv 2407.15360)", "\n", 8,
       long_products<false, 1, 0>},
      {"dissect-unit-reverse", "the same, the last digit first", "\n", 8, long_products<true, 1, 0>,
       Notation::reversed},
      {"dissect", "5 digits by 5, zero padded (the same)", "\n", 12, long_products<false, 5, 0>},
      {"dissect-reverse", "the same, the last digit first", "\n", 12, long_products<true, 5, 0>,
       Notation::reversed},
      {"dissect-simple", "the same with 30 % simple samples, the last digit first", "\n", 12,
       long_products<true, 5, 30>, Notation::reversed},
  };
}

}  // namespace napier
