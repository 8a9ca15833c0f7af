// Where in a model an arithmetic hurts.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "eval/evaluation.hpp"
#include "eval/inspection.hpp"

namespace napier {

// What is switched to the arithmetic alone, all else staying in the reference's f32.
enum class Part : uint8_t { matmul, role, layer };

struct PartResult {
  Part part = Part::matmul;
  std::string name;  // the multiplication's, the role's, or the layer's number
  Result result;
};

struct ArithmeticSensitivity {
  std::string arith;
  std::vector<PartResult> parts;
};

struct Sensitivity {
  Evaluation evaluation;  // of the arithmetics everywhere, on the same passages
  std::vector<MatmulInspection> matmuls;
  std::vector<ArithmeticSensitivity> arithmetics;
};

struct NamedArithmetic {
  std::string name;
  Arithmetic arithmetic;
};

// Inspects the model's matrix multiplications and evaluates it with only one of `parts` at a time
// under each arithmetic: each is a plan `part -> arithmetic; * -> f32`. All run on one
// llama_context. Costs as many passes over the text as there are parts, times arithmetics.
Sensitivity measure_sensitivity(const Model& model, std::span<const Passage> passages,
                                std::span<const NamedArithmetic> arithmetics,
                                std::span<const Part> parts, const EvaluationOptions& options);

}  // namespace napier
