// A plan from a file, with its name, its source, and what has to be computed for it.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "napier/plan.hpp"

namespace napier {

// One [[compute]] of a recipe: what is computed (a step of the registry in steps.cpp) and how.
struct StepSpec {
  std::string name;
  std::map<std::string, double, std::less<>> numbers;
  std::map<std::string, std::string, std::less<>> texts;
  std::map<std::string, std::vector<std::string>, std::less<>> lists;

  double number(std::string_view key, double otherwise) const;
  std::string text(std::string_view key, std::string_view otherwise) const;
  const std::vector<std::string>& list(std::string_view key) const;  // empty where absent
};

struct Recipe {
  std::string name;
  std::string summary;
  std::string source;  // where it comes from: a paper's section, a measurement
  Plan plan;
  std::vector<StepSpec> steps;  // what `napier quantize` does, in order
  // In place of the rules' own once all is computed; empty: theirs.
  std::string multiplier;

  std::string display_name() const { return multiplier.empty() ? name : name + "+" + multiplier; }
  bool is_computed() const { return !steps.empty(); }
  bool needs_text() const;
  // Of all that decides what is computed.
  std::string identity() const;
};

// Reads a TOML file of these keys:
//   name = "lmul-attention"
//   summary = "..."                                 (may be left out)
//   source = "arXiv 2410.00907, section 3"
//   plan = ["kq-* -> lmul-m4", "* -> f32"]          (or one string, with ; between rules)
//   [[compute]]                                     (any number, none for most recipes)
//   step = "static"; matrices = "*.weight"; from = "minmax"
// Throws Error, naming the file and the key or line.
Recipe read_recipe(const std::string& path);

// The plan with every product but those that it leaves in f32 (rules of f32 without a treatment) in
// this multiplier, its treatments' too: their operands, multiplied otherwise. Sums of integers are
// made in f32 then, so that dyadic has nothing to shift: its operand's scale and rounding stay, as
// result's.
Plan with_multiplier(const Plan& plan, const std::string& multiplier);

// A plan as a user gives it: a recipe file's path (it ends in .toml, or is a file), or its text.
// "recipe.toml+lmul" is the recipe with another multiplier.
Recipe plan_argument(const std::string& text_or_path);

}  // namespace napier
