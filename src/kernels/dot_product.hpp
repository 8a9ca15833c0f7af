// The instruction that multiplies pairs of bf16 and adds the products to f32 sums, and the loops
// around it. Only for machines where its sums were seen to be the reference's: first the product of
// the upper halves is added, then that of the lower, each sum rounded to nearest even; numbers
// below f32's normal range count as zeros.
#pragma once

#include "kernels/panels.hpp"

namespace napier::dot {

inline constexpr int k_mantissa = 7;       // bits of bf16's
inline constexpr uint16_t k_one = 0x3F80;  // its code of 1

// Whether this machine has the instruction and it sums so; tried once. Thread safe.
bool available();

// How codes of activations are made for a sum of codes: all modulo 2^16.
struct CodeRule {
  uint16_t bias;  // added to a value's code
  uint16_t zero;  // in place of a zero's
};

// The rows' encodings, in 16-bit numbers for each value (K of a row made even):
//   exact      the value's bf16 code
//   adder      a code to be added to the weight's
//   factored   that, and elsewhere 1 or 0, the factor of the product
//   masked     the same; products with zero weights are cleared
//   bilinear   a pair for each value: upper half times the weight's power, lower half times it
void encode_exact(const float* values, int64_t count, uint16_t* encoded);
void encode_codes(const float* values, int64_t count, CodeRule rule, uint16_t* encoded,
                  uint16_t* factors);
void encode_bilinear(const float* values, int64_t count, float offset, uint16_t* encoded);

void run_exact(const PanelTask<uint16_t>& task);
void run_adder(const PanelTask<uint16_t>& task);
void run_factored(const PanelTask<uint16_t>& task);
void run_masked(const PanelTask<uint16_t>& task);
void run_bilinear(const PanelTask<uint16_t>& task);

}  // namespace napier::dot
