// Towards Revealing the Mystery behind Chain of Thought (arXiv 2305.15408): systems of linear
// equations modulo 11, solved at once or by Gauss and Jordan's elimination, a column a step.
//
// The paper's tokens are written one after the other, its <sep> between systems as ';'.
#include <array>

#include "eval/workloads/drawing.hpp"
#include "eval/workloads/modular.hpp"

namespace napier {
namespace {

using Matrix = std::vector<std::vector<int>>;  // an equation a row, its constant last

Matrix random_matrix(Random& random, int variables) {
  Matrix matrix(static_cast<size_t>(variables));
  for (auto& row : matrix) {
    for (int i = 0; i <= variables; ++i) row.push_back(random.below(k_modulus));
  }
  return matrix;
}

// Of the `done` columns that are eliminated nothing is written where there is a zero, and a one is
// left out; of the others everything is.
std::string printed(const Matrix& matrix, size_t done) {
  std::string text;
  for (const auto& row : matrix) {
    std::string sum;
    for (size_t i = 0; i + 1 < row.size(); ++i) {
      if (i < done && row[i] == 0) continue;
      if (!sum.empty()) sum += "+";
      if (i >= done || row[i] != 1) sum += std::to_string(row[i]);
      sum += static_cast<char>('a' + i);
    }
    text += (text.empty() ? "" : ",") + sum + "=" + std::to_string(row.back());
  }
  return text;
}

// Makes a column that of the unit matrix; false if there is no pivot.
bool eliminate(Matrix& matrix, size_t column) {
  size_t pivot = column;
  while (pivot < matrix.size() && matrix[pivot][column] == 0) ++pivot;
  if (pivot == matrix.size()) return false;
  std::swap(matrix[pivot], matrix[column]);
  std::vector<int>& own = matrix[column];
  const int factor = modular_inverse(own[column]);
  for (int& value : own) value = value * factor % k_modulus;
  for (auto& row : matrix) {
    if (&row == &own) continue;
    const int times = row[column];
    for (size_t i = 0; i < row.size(); ++i) {
      row[i] = (row[i] + (k_modulus - times) * own[i]) % k_modulus;
    }
  }
  return true;
}

// A system that has one solution.
Sample system(Random& random, int variables, bool steps) {
  for (;;) {
    Matrix matrix = random_matrix(random, variables);
    Sample sample = {printed(matrix, 0) + ";", "", variables};
    size_t column = 0;
    while (column < matrix.size() && eliminate(matrix, column)) {
      ++column;
      if (steps || column == matrix.size()) {
        sample.answer += printed(matrix, column) + (column == matrix.size() ? "\n" : ";");
      }
    }
    if (column == matrix.size()) return sample;
  }
}

Workload workload_of(int variables, bool steps) {
  const std::string count = std::to_string(variables);
  Workload workload;
  workload.name = "equations-" + count + (steps ? "-steps" : "");
  workload.summary = count + " linear equations of " + count + " variables modulo 11, " +
                     (steps ? "a column eliminated a step" : "direct (arXiv 2305.15408)");
  workload.stop = "\n";
  // A term is "10a+" at most, a constant "=10,".
  const int whole = variables * (4 * variables + 4);
  workload.max_tokens = steps ? variables * whole : 6 * variables;
  workload.make = [=](Part part, int samples, uint64_t seed) {
    return different_samples(part, samples, seed, variables, variables,
                             [=](Random& random, int) { return system(random, variables, steps); });
  };
  workload.notation = Notation::none;
  workload.result_after = ";";
  return workload;
}

}  // namespace

std::vector<Workload> linear_equations() {
  std::vector<Workload> workloads;
  for (const int variables : {3, 4, 5}) {
    for (const bool steps : {false, true}) workloads.push_back(workload_of(variables, steps));
  }
  return workloads;
}

}  // namespace napier
