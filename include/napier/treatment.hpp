// What is done around a matrix multiplication beside its arithmetic.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "napier/arithmetic.hpp"

namespace napier {

// In the order in which they nest, the outermost first: each sees what those before it leave.
enum class TreatmentKind : uint8_t {
  result,    // the finished result is rounded into a format, as an operand is
  equalise,  // columns of x divided by factors, of w multiplied (SmoothQuant)
  delta,     // rows become differences of multiples of theta, results are summed up (2107.07305)
  lowrank,   // plus x V^T U^T, which makes up for the weights' rounding (ZeroQuant's LoRC)
  outliers,  // columns with a magnitude of the threshold or more go their own way (LLM.int8())
  dyadic,    // integer sums become integers of another scale by a multiplication and a shift (HAWQ)
};

// What was computed for one matrix of n rows of k. A treatment takes what is its own.
struct MatrixNumbers {
  std::vector<float> factors;  // equalise: k
  std::vector<float> left;     // lowrank: U, n rows of `rank`
  std::vector<float> right;    // lowrank: V, `rank` rows of k
  uint64_t id = next_id();     // never given twice in a process

  static uint64_t next_id();
};

// Written  name[(number[,arith])]  or  name(operand). A value type; the numbers are not written.
struct Treatment {
  TreatmentKind kind = TreatmentKind::outliers;
  double number = 0;      // delta: theta, lowrank: the rank, outliers: the threshold
  Arithmetic arithmetic;  // of the multiplication that lowrank and outliers add
  Operand operand;        // result, dyadic
  std::shared_ptr<const MatrixNumbers> numbers;

  bool operator==(const Treatment&) const = default;
};

std::string to_string(const Treatment& treatment);
// Of lowrank on a matrix of n rows: as it was computed, else as it is asked for.
int64_t rank_of(const Treatment& treatment, int64_t n);
// " with a b", or nothing where there are none.
std::string to_string(std::span<const Treatment> treatments);

// For help: what can be written, and what it is.
struct TreatmentForm {
  TreatmentKind kind;
  std::string_view name;
  std::string_view form;  // with its defaults
  std::string_view summary;
  std::string_view needs;  // of MatrixNumbers, in a word; empty: nothing
};
std::span<const TreatmentForm> treatment_forms();
const TreatmentForm& form_of(TreatmentKind kind);
bool takes_operand(TreatmentKind kind);

}  // namespace napier
