#include "eval/workload.hpp"

#include <algorithm>
#include <array>
#include <functional>
#include <random>
#include <set>
#include <utility>

#include "napier/error.hpp"
#include "numerics/cursor.hpp"

namespace napier {
namespace {

// mt19937_64 is the same everywhere; the standard library's distributions are not.
class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}
  int below(int count) { return static_cast<int>(engine_() % static_cast<uint64_t>(count)); }
  int between(int low, int high) { return low + below(high - low + 1); }
  template <class T>
  void shuffle(std::vector<T>& values) {
    for (size_t i = values.size(); i > 1; --i) std::swap(values[i - 1], values[engine_() % i]);
  }

 private:
  std::mt19937_64 engine_;
};

std::string reversed(std::string text) {
  std::reverse(text.begin(), text.end());
  return text;
}

std::string digits(int value) { return std::to_string(value); }

// ---- pairs of operands ----

struct Pair {
  int a, b;
  auto operator<=>(const Pair&) const = default;
};

// A tenth of all pairs is kept for questions, whatever the seed.
bool is_for(Part part, const Pair& pair) {
  const uint64_t number = static_cast<uint64_t>(pair.a) * 1000003 + static_cast<uint64_t>(pair.b);
  return ((number * 0x9E3779B97F4A7C15 >> 40) % 10 == 0) == (part == Part::test);
}

int carries(const Pair& pair) {
  int count = 0, carry = 0;
  for (int a = pair.a, b = pair.b; a > 0 || b > 0; a /= 10, b /= 10) {
    carry = a % 10 + b % 10 + carry >= 10;
    count += carry;
  }
  return count;
}

int borrows(const Pair& pair) {
  int count = 0, borrow = 0;
  for (int a = pair.a, b = pair.b; a > 0 || b > 0; a /= 10, b /= 10) {
    borrow = a % 10 - b % 10 - borrow < 0;
    count += borrow;
  }
  return count;
}

// Teaching Arithmetic (arXiv 2307.03381), section 3: all 100 pairs of one digit, 9 % of two digits,
// the rest of three, as many of each number of carries; no pair twice. Questions: any of 0 to 999.
std::vector<Pair> balanced_pairs(Part part, int count, Random& random,
                                 int (*hardness)(const Pair&)) {
  std::vector<Pair> pairs;
  std::set<Pair> taken;
  const auto take = [&](const Pair& pair) {
    if (taken.insert(pair).second) pairs.push_back(pair);
  };
  constexpr int k_numbers = 1000;
  const auto wanted = static_cast<size_t>(count);
  if (part == Part::train) {
    for (int i = 0; i < 100 && pairs.size() < wanted; ++i) take({i / 10, i % 10});
    const size_t of_two = std::min(wanted, pairs.size() + wanted * 9 / 100);
    const auto two = [&] { return Pair{random.between(10, 99), random.between(10, 99)}; };
    while (pairs.size() < of_two) {
      const Pair pair = two();
      if (is_for(part, pair)) take(pair);
    }
  }
  // Pairs of a kind that are used up, or that do not exist, are given up for any other.
  for (int tries = 0; pairs.size() < wanted;) {
    const bool any = part == Part::test || tries > 200;
    const Pair pair = any ? Pair{random.below(k_numbers), random.below(k_numbers)}
                          : Pair{random.between(100, 999), random.between(100, 999)};
    const bool fits = any || hardness(pair) == static_cast<int>(pairs.size() % 4);
    const size_t before = pairs.size();
    if (fits && is_for(part, pair)) take(pair);
    tries = pairs.size() == before ? tries + 1 : 0;
    if (tries > 1000000) {
      throw Error("there are not " + std::to_string(count) + " different samples of this workload");
    }
  }
  random.shuffle(pairs);
  return pairs;
}

std::vector<Sample> samples_of(const std::vector<Pair>& pairs,
                               const std::function<Sample(const Pair&)>& write) {
  std::vector<Sample> samples;
  for (const Pair& pair : pairs) samples.push_back(write(pair));
  return samples;
}

// ---- Teaching Arithmetic's four formats of addition ----

template <Sample (*Write)(const Pair&), int (*Hardness)(const Pair&) = carries>
std::vector<Sample> balanced(Part part, int count, uint64_t seed) {
  Random random(seed);
  return samples_of(balanced_pairs(part, count, random, Hardness), Write);
}

Sample plain_sum(const Pair& p) {
  return {digits(p.a) + "+" + digits(p.b) + "=", digits(p.a + p.b) + "\n"};
}

Sample reversed_sum(const Pair& p) {
  return {"$" + digits(p.a) + "+" + digits(p.b) + "=", reversed(digits(p.a + p.b)) + "$\n"};
}

Sample plain_difference(const Pair& p) {
  return {digits(p.a) + "-" + digits(p.b) + "=", digits(p.a - p.b) + "\n"};
}

Sample reversed_difference(const Pair& p) {
  return {"$" + digits(p.a) + "-" + digits(p.b) + "=", reversed(digits(p.a - p.b)) + "$\n"};
}

std::string digit_list(std::string_view number) {
  std::string text = "[";
  for (const char digit : number) text += (text.size() > 1 ? "," : "") + std::string(1, digit);
  return text + "]";
}

int digit_from_right(const std::string& number, size_t place) {
  return place < number.size() ? number[number.size() - 1 - place] - '0' : 0;
}

// "A->8 , C->1" a digit: its sum and its carry.
Sample simplified_scratchpad(const Pair& p) {
  const std::string a = digits(p.a), b = digits(p.b);
  Sample sample = {"Input:\n" + a + "+" + b + "\nTarget:\n", ""};
  const size_t places = std::max(a.size(), b.size());
  int carry = 0;
  for (size_t i = 0; i < places; ++i) {
    const int sum = digit_from_right(a, i) + digit_from_right(b, i) + carry;
    carry = sum / 10;
    sample.answer += "A->" + digits(sum % 10) + " , C->" + digits(carry);
    sample.answer += i + 1 == places ? ".\n" : "\n";
  }
  sample.answer += digits(p.a + p.b) + "\n";
  return sample;
}

// What is left of both numbers, the answer so far, the carry, the next sum.
Sample detailed_scratchpad(const Pair& p) {
  const std::string a = digits(p.a), b = digits(p.b);
  Sample sample = {"Input:\n" + a + "+" + b + "\nTarget:\n", "<scratch>\n"};
  std::string& text = sample.answer;
  for (const std::string& number : {a, b}) {
    text += digit_list(number) + " has " + digits(static_cast<int>(number.size())) + " digits.\n";
  }
  std::string sum;
  int carry = 0;
  const auto left = [](const std::string& number, size_t done) {
    return std::string_view(number).substr(0, number.size() - std::min(done, number.size()));
  };
  const size_t places = std::max(a.size(), b.size());
  for (size_t i = 0; i < places; ++i) {
    const int x = digit_from_right(a, i), y = digit_from_right(b, i);
    const int total = x + y + carry;
    text += digit_list(left(a, i)) + " + " + digit_list(left(b, i)) + " , A=" + digit_list(sum) +
            " , C=" + digits(carry) + " , " + digits(x) + "+" + digits(y) + "+" + digits(carry) +
            "=" + digits(total) + " , A->" + digits(total % 10) + " , C->" + digits(total / 10) +
            "\n";
    sum.insert(0, digits(total % 10));
    carry = total / 10;
  }
  text += "[] + [] , A=" + digit_list(sum) + " C=" + digits(carry) + " , END\n</scratch>\n";
  const std::string result = digits(p.a + p.b);
  for (size_t i = 0; i < result.size(); ++i) text += (i > 0 ? " " : "") + std::string(1, result[i]);
  text += "\n";
  return sample;
}

// ---- small sums and products ----

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
    const std::string result = reversed(digits(sum ? pair.a + pair.b : pair.a * pair.b));
    samples.push_back(
        {"$" + digits(pair.a) + (sum ? "+" : "*") + digits(pair.b) + "=", result + "$\n"});
  }
  random.shuffle(samples);
  return samples;
}

// Teaching Arithmetic, section 3: products of numbers of two digits at most.
template <bool Reverse>
std::vector<Sample> products(Part part, int count, uint64_t seed) {
  Random random(seed);
  std::vector<Sample> samples;
  while (static_cast<int>(samples.size()) < count) {
    const Pair pair = {random.below(100), random.below(100)};
    if (!is_for(part, pair)) continue;
    const std::string result = digits(pair.a * pair.b);
    const std::string question = digits(pair.a) + "*" + digits(pair.b) + "=";
    samples.push_back(Reverse ? Sample{"$" + question, reversed(result) + "$\n"}
                              : Sample{question, result + "\n"});
  }
  return samples;
}

// ---- Dissecting Multiplication (arXiv 2407.15360) ----

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
                       (Reverse ? reversed(result) : result) + "\n"});
  }
  return samples;
}

// ---- chain of thought (arXiv 2305.15408): expressions modulo 11 ----

// A tree of numbers and operators; printed with brackets only where they are needed.
struct Expression {
  char op = 0;  // 0: a number
  int value = 0;
  std::vector<Expression> parts;  // two
};

constexpr int k_modulus = 11;

int inverse(int value) {
  int result = 1;  // value^9: Fermat
  for (int i = 0; i < k_modulus - 2; ++i) result = result * value % k_modulus;
  return result;
}

int apply(char op, int x, int y) {
  switch (op) {
    case '+': return (x + y) % k_modulus;
    case '-': return (x - y + k_modulus) % k_modulus;
    case '*': return x * y % k_modulus;
    default: return x * inverse(y) % k_modulus;
  }
}

std::string printed(const Expression& e) {
  if (e.op == 0) return digits(e.value);
  const auto weight = [](const Expression& part) {
    return part.op == 0 ? 3 : part.op == '*' || part.op == '/' ? 2 : 1;
  };
  const auto bracketed = [&](const Expression& part, bool right) {
    const bool needs = weight(part) < weight(e) ||
                       (right && weight(part) == weight(e) && (e.op == '-' || e.op == '/'));
    return needs ? "(" + printed(part) + ")" : printed(part);
  };
  return bracketed(e.parts[0], false) + e.op + bracketed(e.parts[1], true);
}

// Replaces a random number by two with an operator between them, of the same value.
void split_number(Expression& root, Random& random) {
  std::vector<Expression*> numbers;
  const std::function<void(Expression&)> visit = [&](Expression& e) {
    if (e.op == 0) numbers.push_back(&e);
    for (Expression& part : e.parts) visit(part);
  };
  visit(root);
  Expression& number =
      *numbers[static_cast<size_t>(random.below(static_cast<int>(numbers.size())))];
  const char op = "+-*/"[random.below(4)];
  int y = random.below(k_modulus);
  if (op == '*' || op == '/') y = random.between(1, k_modulus - 1);
  const char undo = op == '+' ? '-' : op == '-' ? '+' : op == '*' ? '/' : '*';
  number.parts = {{0, apply(undo, number.value, y), {}}, {0, y, {}}};
  number.op = op;
}

// Computes the first operator whose operands are numbers.
bool simplify(Expression& e) {
  if (e.op == 0) return false;
  if (simplify(e.parts[0]) || simplify(e.parts[1])) return true;
  e = {0, apply(e.op, e.parts[0].value, e.parts[1].value), {}};
  return true;
}

template <int Operators, bool Steps>
std::vector<Sample> modular(Part part, int count, uint64_t seed) {
  Random random(seed);
  std::vector<Sample> samples;
  while (static_cast<int>(samples.size()) < count) {
    Expression expression = {0, random.below(k_modulus), {}};
    for (int i = 0; i < Operators; ++i) split_number(expression, random);
    const int value = expression.value;
    const std::string question = printed(expression);
    uint64_t hash = 0xCBF29CE484222325;  // FNV-1a
    for (const char c : question) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3;
    hash >>= 20;
    if ((hash % 10 == 0) != (part == Part::test)) continue;
    Sample sample = {question + "=", ""};
    if (!Steps) sample.answer = digits(value);
    Expression rest = expression;
    while (Steps && simplify(rest))
      sample.answer += (sample.answer.empty() ? "" : "=") + printed(rest);
    sample.answer += "\n";
    samples.push_back(std::move(sample));
  }
  return samples;
}

constexpr std::array k_workloads = {
    Workload{"add-plain", "a+b of up to 3 digits (Teaching Arithmetic, arXiv 2307.03381)", "\n", 6,
             balanced<plain_sum>},
    Workload{"add-reverse", "$a+b=, the sum's last digit first (the same)", "$", 6,
             balanced<reversed_sum>},
    Workload{"add-simplified", "a+b, each digit's sum and carry, the sum (the same)", "Input", 64,
             balanced<simplified_scratchpad>},
    Workload{"add-detailed", "a+b, every step spelt out, the sum (the same)", "Input", 320,
             balanced<detailed_scratchpad>},
    Workload{"subtract-plain", "a-b of up to 3 digits (the same)", "\n", 6,
             balanced<plain_difference, borrows>},
    Workload{"subtract-reverse", "$a-b=, the last digit first (the same)", "$", 6,
             balanced<reversed_difference, borrows>},
    Workload{"multiply-plain", "a*b of up to 2 digits (the same)", "\n", 6, products<false>},
    Workload{"multiply-reverse", "$a*b=, the last digit first (the same)", "$", 6, products<true>},
    Workload{"small", "a+b below 100; any a*b below 100 by below 10; the last digit first", "$", 6,
             small_sums_and_products},
    Workload{"dissect-unit", "5 digits by 1, zero padded (arXiv 2407.15360)", "\n", 8,
             long_products<false, 1, 0>},
    Workload{"dissect-unit-reverse", "the same, the last digit first", "\n", 8,
             long_products<true, 1, 0>},
    Workload{"dissect", "5 digits by 5, zero padded (the same)", "\n", 12,
             long_products<false, 5, 0>},
    Workload{"dissect-reverse", "the same, the last digit first", "\n", 12,
             long_products<true, 5, 0>},
    Workload{"dissect-simple", "the same with 30 % simple samples, the last digit first", "\n", 12,
             long_products<true, 5, 30>},
    Workload{"modular-4", "expressions of 4 operators modulo 11, direct (arXiv 2305.15408)", "\n",
             4, modular<4, false>},
    Workload{"modular-4-steps", "the same, one simplification a step", "\n", 64, modular<4, true>},
    Workload{"modular-6", "of 6 operators, direct", "\n", 4, modular<6, false>},
    Workload{"modular-6-steps", "of 6 operators, one simplification a step", "\n", 128,
             modular<6, true>},
};

}  // namespace

std::span<const Workload> workloads() { return k_workloads; }

const Workload& find_workload(std::string_view name) {
  const auto found = std::find_if(k_workloads.begin(), k_workloads.end(),
                                  [&](const Workload& w) { return w.name == name; });
  if (found != k_workloads.end()) return *found;
  std::vector<std::string> known;
  for (const Workload& w : k_workloads) known.emplace_back(w.name);
  const std::string hint = suggestion(name, known);
  throw Error("there is no workload '" + std::string(name) + "'" +
              (hint.empty() ? "; there are " + alternatives(known) : hint));
}

}  // namespace napier
