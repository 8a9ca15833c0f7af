#include "recipes/recipe.hpp"

#include <toml++/toml.h>
#include <filesystem>

#include "napier/error.hpp"
#include "numerics/input_file.hpp"

namespace napier {
namespace {

std::string string_at(const toml::table& table, const std::string& path, std::string_view key,
                      bool required) {
  const toml::node* node = table.get(key);
  if (!node) {
    if (!required) return "";
    throw Error(path + ": has no key '" + std::string(key) +
                "'; a recipe needs name, source, plan");
  }
  const auto value = node->value_exact<std::string>();
  if (!value || value->empty()) {
    throw Error(path + ": key '" + std::string(key) + "' must be a string that is not empty");
  }
  return *value;
}

std::string plan_text(const toml::table& table, const std::string& path) {
  const toml::array* rules = table.get_as<toml::array>("plan");
  if (!rules) return string_at(table, path, "plan", true);
  std::string text;
  for (const toml::node& rule : *rules) {
    const auto value = rule.value_exact<std::string>();
    if (!value) throw Error(path + ": key 'plan' must hold rules, each a string");
    text += (text.empty() ? "" : "; ") + *value;
  }
  return text;
}

}  // namespace

Recipe read_recipe(const std::string& path) {
  const std::string content = read_input_file(path, "the recipe", k_settings_limit);
  toml::table table;
  try {
    table = toml::parse(content, path);
  } catch (const toml::parse_error& problem) {
    throw Error(path + ", line " + std::to_string(problem.source().begin.line) +
                ": is no sound TOML: " + std::string(problem.description()));
  }
  for (const auto& [key, value] : table) {
    const std::string_view name = key.str();
    if (name != "name" && name != "summary" && name != "source" && name != "plan") {
      throw Error(path + ": has the unknown key '" + std::string(name) +
                  "'; a recipe has name, summary, source, plan");
    }
  }
  Recipe recipe;
  recipe.name = string_at(table, path, "name", true);
  recipe.summary = string_at(table, path, "summary", false);
  recipe.source = string_at(table, path, "source", true);
  try {
    recipe.plan = parse_plan(plan_text(table, path));
  } catch (const ParseError& problem) {
    throw Error(path + ": key 'plan': " + problem.what());
  }
  return recipe;
}

// A plan's text, unless it is the path of a file: what reads as a plan is none.
Recipe plan_argument(const std::string& text_or_path) {
  if (text_or_path.ends_with(".toml")) return read_recipe(text_or_path);
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
  return recipe;
}

}  // namespace napier
