// Teaching Arithmetic to Small Transformers (arXiv 2307.03381), section 8: sine and square root of
// numbers of four decimals, truncated to four decimals; plain, and with the steps of a Taylor
// series or of Newton's method.
#include <array>
#include <cmath>
#include <numbers>

#include "eval/workloads/drawing.hpp"
#include "eval/workloads/natural.hpp"

namespace napier {
namespace {

constexpr int64_t k_one = 10000;  // numbers are counted in ten-thousandths

// "-0.5", "1.0": as the paper's data have it, without zeros at the end.
std::string decimal(int64_t value) {
  const int64_t size = std::abs(value);
  std::string decimals = std::to_string(k_one + size % k_one).substr(1);
  while (decimals.size() > 1 && decimals.back() == '0') decimals.pop_back();
  return (value < 0 ? "-" : "") + std::to_string(size / k_one) + "." + decimals;
}

struct Function {
  const char* name;
  int least, greatest;  // arguments
  int64_t (*value)(int64_t x);
  std::string (*steps)(int64_t x);  // the answer's, up to the result
};

// The paper truncates downward, below zero too.
int64_t sine(int64_t x) {
  return static_cast<int64_t>(std::floor(std::sin(static_cast<double>(x) / k_one) * k_one));
}

int64_t square_root(int64_t x) {
  auto root = static_cast<int64_t>(std::sqrt(static_cast<double>(x * k_one)));
  while (root * root > x * k_one) --root;
  while ((root + 1) * (root + 1) <= x * k_one) ++root;
  return root;
}

// Four terms of the series, the sum truncated after each.
std::string taylor_steps(int64_t argument) {
  std::string text = "<scratch>\nx_0=" + decimal(argument) + "\n";
  int64_t sum = argument;
  // Of x^k / k! in ten-thousandths.
  const auto size = static_cast<uint64_t>(std::abs(argument));
  Natural numerator = size, denominator = 1;
  constexpr int k_terms = 4;
  for (int i = 1; i <= k_terms; ++i) {
    const int k = 2 * i + 1;
    numerator = numerator * size * size;
    denominator =
        denominator * static_cast<uint64_t>(k_one * k_one) * static_cast<uint64_t>((k - 1) * k);
    const bool plus = i % 2 == 0;
    const auto term = static_cast<int64_t>(std::stoll((numerator / denominator).digits()));
    const bool whole = (numerator % denominator).is_zero();
    sum += plus == (argument >= 0) ? term : -term - !whole;
    const std::string order = std::to_string(k), step = std::to_string(i);
    text += "x_" + step + ": x_" + std::to_string(i - 1) + (plus ? " + 1/" : " - 1/") + order +
            "! * (x^" + order + ") , x_" + step + "=" + decimal(sum) +
            (i == k_terms ? " , END\n" : "\n");
  }
  return text + "</scratch>\n" + decimal(sum);
}

// Four steps from the root's whole part, each truncated.
std::string newton_steps(int64_t argument) {
  int64_t root = square_root(argument) / k_one * k_one;
  std::string known = std::to_string(root / k_one);
  std::string text = "<scratch>\nx_0=" + known + "\n";
  constexpr int k_steps = 4;
  for (int i = 1; i <= k_steps; ++i) {
    root = (root * root + argument * k_one) / (2 * root);
    const std::string step = std::to_string(i), next = decimal(root);
    text += "x_" + step + ": 1/2*(" + known + "+" + decimal(argument) + "/" + known + ")=" + next +
            ", x_" + step + "=" + next + (i == k_steps ? " , END\n" : "\n");
    known = next;
  }
  return text + "</scratch>\n" + decimal(root);
}

constexpr std::array k_functions = {
    // [-pi/2, pi/2] truncated downward, [1, 10)
    Function{"sin", -15708, 15707, sine, taylor_steps},
    Function{"sqrt", 10000, 99999, square_root, newton_steps},
};

Workload workload_of(const Function& function, bool steps) {
  const auto draw = [&function, steps](Random& random, int length) {
    const int64_t x = random.between(function.least, function.greatest);
    const std::string question = std::string(function.name) + "(" + decimal(x) + ")";
    if (!steps) return Sample{question + "=", decimal(function.value(x)) + "\n", length};
    return Sample{"Input:\n" + question + "\nTarget:\n", function.steps(x) + "\n", length};
  };
  Workload workload;
  workload.name = std::string(function.name) + (steps ? "-detailed" : "-plain");
  workload.summary =
      std::string(function.name) +
      (steps ? "(x), four decimals, by steps of Taylor's series or Newton's method (the same)"
             : "(x), four decimals, truncated (Teaching Arithmetic, arXiv 2307.03381)");
  workload.stop = steps ? "Input" : "\n";
  workload.max_tokens = steps ? 256 : 10;
  workload.make = [draw](Part part, int count, uint64_t seed) {
    constexpr int k_decimals = 4;
    return different_samples(part, count, seed, k_decimals, k_decimals, draw);
  };
  workload.notation = Notation::decimal;
  workload.tolerances = {5e-4, 5e-3};  // the paper's, besides none
  return workload;
}

}  // namespace

std::vector<Workload> teaching_functions() {
  std::vector<Workload> workloads;
  for (const Function& function : k_functions) {
    for (const bool steps : {false, true}) workloads.push_back(workload_of(function, steps));
  }
  return workloads;
}

}  // namespace napier
