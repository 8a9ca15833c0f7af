// An Arithmetic says with which numbers, products and sums a matrix is multiplied.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "napier/accumulator.hpp"
#include "napier/multiplier.hpp"
#include "napier/operand.hpp"

namespace napier {

// Activations x, weights w, multiplier, accumulator.
//
//   arith       := (preset | field){/field}          a later field overrides the preset's
//   preset      := name[-rounding]                   the suffix sets the rounding of both operands
//   field       := x=operand | w=operand | mul=multiplier | acc=accumulator
//   operand     := cast[:ftz|:literal]{@granularity[(scale-format[:rounding][,method[=number]])]}
//   cast        := format[:rounding][:sat|:inf|:wrap]
//   method      := absmax | ocp | full | minmax | percentile=p | mse | mean[=factor]
//                | given=scale[:zero]
//   granularity := tensor | row | column | block<n>
//   multiplier  := name[(key=value{,key=value})][:cast]
//   accumulator := cast[(chunk=n[,outer=format])] | cast(align=n[,extra=bits]) | exact
//   rounding    := rne | rna | rtz | rup | rdn | rto | sr | sr(seed)
//
// A field that is not written is f32, exact, f32. Value type; equal ones compute the same bits.
struct Arithmetic {
  Operand x;
  Operand w;
  Multiplier multiplier;
  Accumulator accumulator;

  bool operator==(const Arithmetic&) const = default;

  // The multiplier with every setting decided for these operands.
  Multiplier resolved_multiplier() const { return multiplier.resolved(x, w); }
};

// Reads the written form. Throws ParseError with the position and what would be right there.
// Example: parse_arithmetic("lmul-m4-rne/acc=bf16").
Arithmetic parse_arithmetic(std::string_view text);

// The canonical written form, all four fields, settings that are the default left out:
// parse_arithmetic(to_string(a)) == a, and to_string gives that text again.
std::string to_string(const Arithmetic& arithmetic);
std::string to_string(const Operand& operand);
std::string to_string(const Multiplier& multiplier);
std::string to_string(const Accumulator& accumulator);

// The name of the preset that an arithmetic equals, or its written form.
std::string display_name(const Arithmetic& arithmetic);

// A preset of the registry in src/numerics/presets.cpp: one line each.
struct Preset {
  std::string_view name;
  std::string_view written;
  std::string_view summary;
};

std::span<const Preset> presets();

// Splits "a,b,c" at the commas outside parentheses and reads each. Throws ParseError.
std::vector<Arithmetic> parse_arithmetic_list(std::string_view text);

// The parts of such a list as they were written, trimmed. Throws ParseError for an empty part.
std::vector<std::string> split_list(std::string_view text, std::string_view what = "an arithmetic");

}  // namespace napier
