// A Plan says which matrix multiplications of a model run in which arithmetic.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "napier/arithmetic.hpp"
#include "napier/treatment.hpp"

namespace napier {

struct Rule {
  std::string pattern;
  Arithmetic arithmetic;
  std::vector<Treatment> treatments = {};  // in TreatmentKind's order, each once

  bool operator==(const Rule&) const = default;
};

// Ordered rules; the first whose pattern matches a matrix multiplication's name decides; what
// matches none is left to the engine.
//
//   plan    := product | rule{;rule}        (a product alone is  * -> product)
//   rule    := pattern -> product
//   product := arith [with treatment{ treatment}]
//   treatment := name[(number[,arith])] | name(operand)
//
// Names are ggml's: the weight's ("blk.0.attn_q.weight", "output.weight") where there is one, else
// the result's ("kq-0", "kqv-0"). Patterns are globs over the whole name: * any run, ? any one
// character, [abc], [a-z], [!a] one of a set; everything else is itself.
struct Plan {
  std::vector<Rule> rules;

  bool operator==(const Plan&) const = default;

  // The index of the deciding rule, or nothing. Thread safe.
  std::optional<size_t> match(std::string_view name) const;
};

// Whether a glob as above matches the whole name.
bool glob_matches(std::string_view pattern, std::string_view name);

// Throws ParseError; positions count in the whole text.
Plan parse_plan(std::string_view text);

// Canonical: parse_plan(to_string(p)) == p, but for numbers that a recipe computed.
std::string to_string(const Plan& plan);
// What a rule computes, for people: "int8 with outliers(6,f16)"; static scales without their
// numbers, so that rules that differ in nothing else share a name.
std::string display_name(const Rule& rule);

}  // namespace napier
