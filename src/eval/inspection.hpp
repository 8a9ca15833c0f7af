// What an arithmetic does to each matrix multiplication of a model, on the operands that it has.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "eval/evaluation.hpp"
#include "eval/passages.hpp"

namespace napier {

// How the numbers of one operand are spread. Error theory asks for both: relative errors of L-Mul
// and of rounding hang on mantissas alone, overflow and underflow on exponents.
struct OperandHistogram {
  static constexpr size_t k_mantissa_bins = 32;

  std::map<int, uint64_t> exponents;                     // floor(log2 |value|)
  std::array<uint64_t, k_mantissa_bins> mantissas = {};  // of [1, 2), bins of equal width
  uint64_t zeros = 0;

  // A finite number.
  void add(float value);
  uint64_t count() const;
};

struct MatmulInspection {
  std::string name;  // as plans match it
  std::string role;
  std::optional<int> layer;
  // By arithmetic: 10 log10(sum of squares of the exact results / of the differences from them), in
  // dB; infinite where there is no difference.
  std::vector<double> snr;
  OperandHistogram x;  // of attention: queries, or probabilities
  OperandHistogram w;  // of attention: keys, or values; counted at every passage
};

// Runs the passages in f32 and multiplies the operands of each matrix multiplication once more in
// f32 with sums in f64, which is called exact here, and under each arithmetic. So errors of one
// layer do not reach the next. Products of queries and keys count also where they are masked later.
// In the order of layers and then names.
std::vector<MatmulInspection> inspect(const Model& model, std::span<const Passage> passages,
                                      std::span<const Arithmetic> arithmetics,
                                      const EvaluationOptions& options);

}  // namespace napier
