// What an arithmetic does, in words and worked on two numbers.
#pragma once

#include <span>
#include <string>

#include "napier/arithmetic.hpp"
#include "napier/gemm.hpp"
#include "napier/treatment.hpp"

namespace napier {

// For people: the operands' bits, the product step by step beside the exact one, one step of the
// sum, and the kernel that would run it.
std::string explanation(const Arithmetic& arithmetic, float x, float w);

// The kernel that runs it on a matrix that its blocks divide, and why.
Lowering usual_lowering(const Arithmetic& arithmetic);

// What each treatment of a rule does to the product, a line each; nothing where there are none.
std::string treatments_explanation(std::span<const Treatment> treatments);

// For programs: {arith, written, x: {written, value, scale, code, bits, stored}, w, multiplier,
// product, exact_product, accumulator, kernel, why}; a product that is not finite is null.
std::string explanation_json(const Arithmetic& arithmetic, float x, float w);

// The two numbers' product as the explanation's steps give it: for tests, equal to what
// Multiplier::multiply gives for operands without scaling.
Dyadic explained_product(const Arithmetic& arithmetic, float x, float w);

}  // namespace napier
