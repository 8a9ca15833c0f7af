#include "recipes/recipe.hpp"

#include <algorithm>
#include <filesystem>
#include <sstream>

#include "napier/error.hpp"
#include "recipes/step.hpp"
#include "recipes/toml_section.hpp"

namespace napier {
namespace {

std::string required_text(const Section& section, std::string_view key) {
  if (section.has(key)) return section.text(key);
  throw Error(section.where() + ": has no key '" + std::string(key) +
              "'; a recipe needs name, source, plan");
}

std::string plan_text(const toml::table& table, const Section& section) {
  const toml::array* rules = table.get_as<toml::array>("plan");
  if (!rules) return required_text(section, "plan");
  std::string text;
  for (const toml::node& rule : *rules) {
    const auto value = rule.value_exact<std::string>();
    if (!value) throw section.wrong("plan", "must hold rules, each a string");
    text += (text.empty() ? "" : "; ") + *value;
  }
  return text;
}

StepSpec step_of(const toml::table& table) {
  StepSpec spec;
  for (const auto& [key, value] : table) {
    const std::string name(key.str());
    if (const auto text = value.value_exact<std::string>()) {
      if (name == "step") {
        spec.name = *text;
      } else {
        spec.texts[name] = *text;
      }
    } else if (value.is_number()) {
      spec.numbers[name] = *value.value<double>();
    } else if (const toml::array* list = value.as_array()) {
      for (const toml::node& entry : *list) {
        const auto one = entry.value_exact<std::string>();
        if (!one) throw Error("key '" + name + "' must hold strings");
        spec.lists[name].push_back(*one);
      }
    } else {
      throw Error("key '" + name + "' must be a string, a number or a list of strings");
    }
  }
  if (spec.name.empty()) throw Error("has no key 'step'");
  const Step& step = step_called(spec.name);
  const auto check_key = [&](const std::string& key) {
    if (key == "matrices") return;
    std::string known = "matrices";
    for (const std::string_view k : step.keys) {
      if (k == key) return;
      known += ", " + std::string(k);
    }
    throw Error("has the unknown key '" + key + "'; step '" + spec.name + "' has " + known);
  };
  for (const auto& [key, value] : spec.numbers) check_key(key);
  for (const auto& [key, value] : spec.texts) check_key(key);
  for (const auto& [key, value] : spec.lists) check_key(key);
  step.check(spec);
  return spec;
}

std::vector<StepSpec> steps_of(const toml::table& table, const std::string& path) {
  std::vector<StepSpec> steps;
  const toml::node* node = table.get("compute");
  if (!node) return steps;
  const auto at = [&] { return path + ": [[compute]] " + std::to_string(steps.size() + 1) + ": "; };
  if (!node->is_array_of_tables()) throw Error(path + ": 'compute' must be written [[compute]]");
  for (const toml::node& entry : *node->as_array()) {
    try {
      steps.push_back(step_of(*entry.as_table()));
    } catch (const Error& problem) {
      throw Error(at() + problem.what());
    }
  }
  return steps;
}

template <class Value>
const Value* find(const std::map<std::string, Value, std::less<>>& values, std::string_view key) {
  const auto found = values.find(key);
  return found == values.end() ? nullptr : &found->second;
}

}  // namespace

double StepSpec::number(std::string_view key, double otherwise) const {
  const double* value = find(numbers, key);
  return value ? *value : otherwise;
}

std::string StepSpec::text(std::string_view key, std::string_view otherwise) const {
  const std::string* value = find(texts, key);
  return value ? *value : std::string(otherwise);
}

const std::vector<std::string>& StepSpec::list(std::string_view key) const {
  static const std::vector<std::string> nothing;
  const std::vector<std::string>* value = find(lists, key);
  return value ? *value : nothing;
}

bool Recipe::needs_text() const {
  return std::any_of(steps.begin(), steps.end(),
                     [](const StepSpec& spec) { return step_called(spec.name).needs_text(spec); });
}

std::string Recipe::identity() const {
  std::ostringstream text;
  text.precision(17);
  text << to_string(plan);
  for (const StepSpec& spec : steps) {
    text << "\n" << spec.name;
    for (const auto& [key, value] : spec.numbers) text << "\n  " << key << " = " << value;
    for (const auto& [key, value] : spec.texts) text << "\n  " << key << " = '" << value << "'";
    for (const auto& [key, values] : spec.lists) {
      text << "\n  " << key << " =";
      for (const std::string& value : values) text << " '" << value << "'";
    }
  }
  return text.str();
}

Recipe read_recipe(const std::string& path) {
  const toml::table table = read_toml(path, "the recipe");
  const Section section(table, path);
  for (const auto& [key, value] : table) {
    const std::string_view name = key.str();
    if (name != "name" && name != "summary" && name != "source" && name != "plan" &&
        name != "compute") {
      throw Error(path + ": has the unknown key '" + std::string(name) +
                  "'; a recipe has name, summary, source, plan, [[compute]]");
    }
  }
  Recipe recipe;
  recipe.name = required_text(section, "name");
  recipe.summary = section.text("summary");
  recipe.source = required_text(section, "source");
  try {
    recipe.plan = parse_plan(plan_text(table, section));
  } catch (const ParseError& problem) {
    throw Error(path + ": key 'plan': " + problem.what());
  }
  recipe.steps = steps_of(table, path);
  if (recipe.is_computed() && recipe.name.find_first_of("/\\ ") != std::string::npos) {
    throw Error(path + ": key 'name' names a file here: it has no spaces and slashes");
  }
  return recipe;
}

Plan with_multiplier(const Plan& plan, const std::string& multiplier) {
  Plan changed = plan;
  const Multiplier wanted = parse_arithmetic("mul=" + multiplier).multiplier;
  const auto change = [&](Arithmetic& arithmetic) {
    arithmetic.multiplier = wanted;
    if (arithmetic.accumulator.cast.format.is_integer()) arithmetic.accumulator = Accumulator{};
    arithmetic = parse_arithmetic(to_string(arithmetic));  // whether it takes such operands
  };
  for (Rule& rule : changed.rules) {
    if (rule.arithmetic == Arithmetic{} && rule.treatments.empty()) continue;
    change(rule.arithmetic);
    for (Treatment& treatment : rule.treatments) {
      const bool multiplies = !(treatment.arithmetic == Arithmetic{});
      if (multiplies) change(treatment.arithmetic);
      // Sums that are not of integers are rounded into the same integers by their scales.
      if (treatment.kind == TreatmentKind::dyadic && rule.treatments.size() == 1 &&
          !rule.arithmetic.accumulator.cast.format.is_integer()) {
        treatment.kind = TreatmentKind::result;
      }
    }
  }
  return changed;
}

// A plan's text, unless it is the path of a file: what reads as a plan is none.
Recipe plan_argument(const std::string& text_or_path) {
  if (text_or_path.ends_with(".toml")) return read_recipe(text_or_path);
  if (const size_t plus = text_or_path.rfind(".toml+"); plus != std::string::npos) {
    constexpr size_t k_suffix = 5;
    Recipe recipe = read_recipe(text_or_path.substr(0, plus + k_suffix));
    recipe.multiplier = text_or_path.substr(plus + k_suffix + 1);
    with_multiplier(recipe.plan, recipe.multiplier);  // says what is wrong with it
    return recipe;
  }
  Recipe recipe;
  try {
    recipe.plan = parse_plan(text_or_path);
  } catch (const ParseError&) {
    std::error_code error;
    const bool is_path = text_or_path.starts_with('/') || text_or_path.starts_with("./") ||
                         text_or_path.starts_with("../");
    if (is_path || std::filesystem::exists(text_or_path, error)) return read_recipe(text_or_path);
    throw;
  }
  recipe.name = text_or_path;
  std::replace(recipe.name.begin(), recipe.name.end(), '\n', ' ');  // it stands in tables
  return recipe;
}

}  // namespace napier
