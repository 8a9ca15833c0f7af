// Teaching Arithmetic to Small Transformers (arXiv 2307.03381): sums, differences, products.
#include <algorithm>
#include <set>

#include "eval/workloads/pairs.hpp"
#include "napier/error.hpp"

namespace napier {
namespace {

std::string to_text(int value) { return std::to_string(value); }

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

Sample plain_sum(const Pair& p) {
  return {to_text(p.a) + "+" + to_text(p.b) + "=", to_text(p.a + p.b) + "\n"};
}

Sample reversed_sum(const Pair& p) {
  return {"$" + to_text(p.a) + "+" + to_text(p.b) + "=", reversed(to_text(p.a + p.b)) + "$\n"};
}

Sample plain_difference(const Pair& p) {
  return {to_text(p.a) + "-" + to_text(p.b) + "=", to_text(p.a - p.b) + "\n"};
}

Sample reversed_difference(const Pair& p) {
  return {"$" + to_text(p.a) + "-" + to_text(p.b) + "=", reversed(to_text(p.a - p.b)) + "$\n"};
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
  const std::string a = to_text(p.a), b = to_text(p.b);
  Sample sample = {"Input:\n" + a + "+" + b + "\nTarget:\n", ""};
  const size_t places = std::max(a.size(), b.size());
  int carry = 0;
  for (size_t i = 0; i < places; ++i) {
    const int sum = digit_from_right(a, i) + digit_from_right(b, i) + carry;
    carry = sum / 10;
    sample.answer += "A->" + to_text(sum % 10) + " , C->" + to_text(carry);
    sample.answer += i + 1 == places ? ".\n" : "\n";
  }
  sample.answer += to_text(p.a + p.b) + "\n";
  return sample;
}

// What is left of both numbers, the answer so far, the carry, the next sum.
Sample detailed_scratchpad(const Pair& p) {
  const std::string a = to_text(p.a), b = to_text(p.b);
  Sample sample = {"Input:\n" + a + "+" + b + "\nTarget:\n", "<scratch>\n"};
  std::string& text = sample.answer;
  for (const std::string& number : {a, b}) {
    text += digit_list(number) + " has " + to_text(static_cast<int>(number.size())) + " digits.\n";
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
            " , C=" + to_text(carry) + " , " + to_text(x) + "+" + to_text(y) + "+" +
            to_text(carry) + "=" + to_text(total) + " , A->" + to_text(total % 10) + " , C->" +
            to_text(total / 10) + "\n";
    sum.insert(0, to_text(total % 10));
    carry = total / 10;
  }
  text += "[] + [] , A=" + digit_list(sum) + " C=" + to_text(carry) + " , END\n</scratch>\n";
  const std::string result = to_text(p.a + p.b);
  for (size_t i = 0; i < result.size(); ++i) text += (i > 0 ? " " : "") + std::string(1, result[i]);
  text += "\n";
  return sample;
}

// Section 3: products of numbers of two digits at most.
template <bool Reverse>
std::vector<Sample> products(Part part, int count, uint64_t seed) {
  Random random(seed);
  std::vector<Sample> samples;
  while (static_cast<int>(samples.size()) < count) {
    const Pair pair = {random.below(100), random.below(100)};
    if (!is_for(part, pair)) continue;
    const std::string result = to_text(pair.a * pair.b);
    const std::string question = to_text(pair.a) + "*" + to_text(pair.b) + "=";
    samples.push_back(Reverse ? Sample{"$" + question, reversed(result) + "$\n"}
                              : Sample{question, result + "\n"});
    samples.back().length = length_of(pair);
  }
  return samples;
}

using Write = Sample (*)(const Pair&);

Workload balanced_workload(const char* name, const char* summary, const char* stop, int max_tokens,
                           Write write, Notation notation, int (*hardness)(const Pair&) = carries) {
  const auto make = [=](Part part, int count, uint64_t seed) {
    Random random(seed);
    std::vector<Sample> samples;
    for (const Pair& pair : balanced_pairs(part, count, random, hardness)) {
      samples.push_back(write(pair));
      samples.back().length = length_of(pair);
    }
    return samples;
  };
  return {name, summary, stop, max_tokens, make, notation};
}

}  // namespace

std::vector<Workload> teaching_arithmetic() {
  constexpr Notation integer = Notation::integer;
  return {
      balanced_workload("add-plain",
                        "a+b of up to 3 digits (Teaching Arithmetic, arXiv 2307.03381)", "\n", 6,
                        plain_sum, integer),
      balanced_workload("add-reverse", "$a+b=, the sum's last digit first (the same)", "$", 6,
                        reversed_sum, Notation::reversed),
      balanced_workload("add-simplified", "a+b, each digit's sum and carry, the sum (the same)",
                        "Input", 64, simplified_scratchpad, integer),
      balanced_workload("add-detailed", "a+b, every step spelt out, the sum (the same)", "Input",
                        320, detailed_scratchpad, integer),
      balanced_workload("subtract-plain", "a-b of up to 3 digits (the same)", "\n", 6,
                        plain_difference, integer, borrows),
      balanced_workload("subtract-reverse", "$a-b=, the last digit first (the same)", "$", 6,
                        reversed_difference, Notation::reversed, borrows),
      {"multiply-plain", "a*b of up to 2 digits (the same)", "\n", 6, products<false>},
      {"multiply-reverse", "$a*b=, the last digit first (the same)", "$", 6, products<true>,
       Notation::reversed},
  };
}

}  // namespace napier
