// A plan from a file, with its name and its source.
#pragma once

#include <string>

#include "napier/plan.hpp"

namespace napier {

struct Recipe {
  std::string name;
  std::string summary;
  std::string source;  // where it comes from: a paper's section, a measurement
  Plan plan;
};

// Reads a TOML file of these keys:
//   name = "lmul-attention"
//   summary = "..."                                 (may be left out)
//   source = "arXiv 2410.00907, section 3"
//   plan = ["kq-* -> lmul-m4", "* -> f32"]          (or one string, with ; between rules)
// Throws Error, naming the file and the key or line.
Recipe read_recipe(const std::string& path);

// A plan as a user gives it: a recipe file's path (it ends in .toml, or is a file), or its text.
Recipe plan_argument(const std::string& text_or_path);

}  // namespace napier
