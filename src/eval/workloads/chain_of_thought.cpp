// Towards Revealing the Mystery behind Chain of Thought (arXiv 2305.15408): expressions modulo 11.
#include <functional>

#include "eval/workloads/drawing.hpp"
#include "eval/workloads/modular.hpp"

namespace napier {
namespace {

// A tree of numbers and operators; printed with brackets only where they are needed.
struct Expression {
  char op = 0;  // 0: a number
  int value = 0;
  std::vector<Expression> parts;  // two
};

int apply(char op, int x, int y) {
  switch (op) {
    case '+': return (x + y) % k_modulus;
    case '-': return (x - y + k_modulus) % k_modulus;
    case '*': return x * y % k_modulus;
    default: return x * modular_inverse(y) % k_modulus;
  }
}

std::string printed(const Expression& e) {
  if (e.op == 0) return std::to_string(e.value);
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
    if (!is_for(part, question)) continue;
    Sample sample = {question + "=", "", Operators};
    if (!Steps) sample.answer = std::to_string(value);
    Expression rest = expression;
    while (Steps && simplify(rest))
      sample.answer += (sample.answer.empty() ? "" : "=") + printed(rest);
    sample.answer += "\n";
    samples.push_back(std::move(sample));
  }
  return samples;
}

}  // namespace

std::vector<Workload> chain_of_thought() {
  const Notation integer = Notation::integer;
  return {
      {"modular-4", "expressions of 4 operators modulo 11, direct (arXiv 2305.15408)", "\n", 4,
       modular<4, false>, integer, "="},
      {"modular-4-steps", "the same, one simplification a step", "\n", 64, modular<4, true>,
       integer, "="},
      {"modular-5", "of 5 operators, direct", "\n", 4, modular<5, false>, integer, "="},
      {"modular-5-steps", "of 5 operators, one simplification a step", "\n", 96, modular<5, true>,
       integer, "="},
      {"modular-6", "of 6 operators, direct", "\n", 4, modular<6, false>, integer, "="},
      {"modular-6-steps", "of 6 operators, one simplification a step", "\n", 128, modular<6, true>,
       integer, "="},
  };
}

}  // namespace napier
