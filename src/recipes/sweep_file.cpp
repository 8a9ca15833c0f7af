#include "recipes/sweep_file.hpp"

#include <toml++/toml.h>

#include <algorithm>
#include <filesystem>
#include <initializer_list>

#include "napier/error.hpp"
#include "numerics/cursor.hpp"
#include "numerics/input_file.hpp"
#include "recipes/quantize.hpp"

namespace napier {
namespace {

// A table of the file with its place in messages.
class Section {
 public:
  Section(const toml::table& table, std::string where) : table_(&table), where_(std::move(where)) {}

  Error wrong(std::string_view key, const std::string& what) const {
    return Error(where_ + ": key '" + std::string(key) + "' " + what);
  }

  void allow(std::initializer_list<std::string_view> keys) const {
    for (const auto& [key, value] : *table_) {
      if (std::find(keys.begin(), keys.end(), key.str()) != keys.end()) continue;
      const std::vector<std::string> known(keys.begin(), keys.end());
      const std::string hint = suggestion(key.str(), known);
      throw Error(where_ + ": has the unknown key '" + std::string(key.str()) + "'" +
                  (hint.empty() ? "; it has " + alternatives(known) : hint));
    }
  }

  std::string text(std::string_view key, bool required = false) const {
    const toml::node* node = table_->get(key);
    if (!node && !required) return "";
    const auto value = node ? node->value_exact<std::string>() : std::nullopt;
    if (!value || value->empty()) throw wrong(key, "must be a string that is not empty");
    return *value;
  }

  int number(std::string_view key, int otherwise) const {
    const toml::node* node = table_->get(key);
    if (!node) return otherwise;
    const auto value = node->value_exact<int64_t>();
    if (!value || *value < 0 || *value > INT32_MAX) throw wrong(key, "must be a number from 0 on");
    return static_cast<int>(*value);
  }

  std::vector<std::string> texts(std::string_view key) const {
    std::vector<std::string> result;
    const toml::node* node = table_->get(key);
    if (!node) return result;
    if (!node->is_array()) throw wrong(key, "must be a list of strings");
    for (const toml::node& entry : *node->as_array()) {
      const auto value = entry.value_exact<std::string>();
      if (!value || value->empty()) throw wrong(key, "must be a list of strings");
      result.push_back(*value);
    }
    return result;
  }

  std::vector<Section> sections(std::string_view key) const {
    std::vector<Section> result;
    const toml::node* node = table_->get(key);
    if (!node) return result;
    if (!node->is_array()) throw wrong(key, "must be written [[" + std::string(key) + "]]");
    for (const toml::node& entry : *node->as_array()) {
      if (!entry.is_table()) throw wrong(key, "must be written [[" + std::string(key) + "]]");
      result.emplace_back(*entry.as_table(), where_ + ": [[" + std::string(key) + "]] " +
                                                 std::to_string(result.size() + 1));
    }
    return result;
  }

 private:
  const toml::table* table_;
  std::string where_;
};

std::string name_of(const std::string& path) { return std::filesystem::path(path).stem().string(); }

}  // namespace

SweepSpec read_sweep_file(const std::string& path) {
  const std::string content = read_input_file(path, "the sweep file", k_settings_limit);
  toml::table table;
  try {
    table = toml::parse(content, path);
  } catch (const toml::parse_error& problem) {
    throw Error(path + ", line " + std::to_string(problem.source().begin.line) +
                ": is no sound TOML: " + std::string(problem.description()));
  }
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  const auto from_here = [&](const std::string& other) {
    return (folder / other).lexically_normal().string();
  };

  const Section top(table, path);
  top.allow({"models", "arithmetics", "plans", "text", "task"});
  SweepSpec spec;
  for (const std::string& model : top.texts("models")) spec.models.push_back(from_here(model));
  if (spec.models.empty()) throw top.wrong("models", "must name a GGUF file at least");
  for (const std::string& name : top.texts("arithmetics")) {
    try {
      spec.subjects.push_back({name, Plan{{{"*", parse_arithmetic(name)}}}});
    } catch (const ParseError& problem) {
      throw top.wrong("arithmetics", std::string("holds what is none: ") + problem.what());
    }
  }
  for (const std::string& text : top.texts("plans")) {
    try {
      const Recipe recipe = plan_argument(text.ends_with(".toml") ? from_here(text) : text);
      if (recipe.is_computed()) {
        throw top.wrong("plans", "names '" + recipe.name +
                                     "', which is computed for each model: use napier eval");
      }
      spec.subjects.push_back({recipe.display_name(), plan_for(recipe, "")});
    } catch (const ParseError& problem) {
      throw top.wrong("plans", std::string("holds what is none: ") + problem.what());
    }
  }
  if (spec.subjects.empty()) throw top.wrong("arithmetics", "or 'plans' must name one at least");

  for (const Section& section : top.sections("text")) {
    section.allow({"name", "path", "context", "limit", "jsonl", "separator"});
    SweepSource source;
    source.path = from_here(section.text("path", true));
    source.name = section.text("name");
    if (source.name.empty()) source.name = name_of(source.path);
    source.context = section.number("context", 512);
    source.limit = section.number("limit", 0);
    source.jsonl = section.text("jsonl");
    source.separator = section.text("separator");
    EvaluationOptions options;
    options.context = source.context;
    options.check();
    spec.sources.push_back(std::move(source));
  }
  for (const Section& section : top.sections("task")) {
    section.allow({"name", "task", "path", "context", "limit", "max_tokens"});
    SweepSource source;
    source.task = section.text("task", true);
    source.path = from_here(section.text("path", true));
    source.name = section.text("name");
    if (source.name.empty()) source.name = source.task;
    source.context = section.number("context", 0);
    source.limit = section.number("limit", 0);
    source.max_tokens = section.number("max_tokens", 0);
    read_task(source.task + "=" + source.path, 0);  // wrong ones are found at once
    spec.sources.push_back(std::move(source));
  }
  if (spec.sources.empty()) throw Error(path + ": has neither [[text]] nor [[task]]");
  for (size_t i = 0; i < spec.sources.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      if (spec.sources[i].name != spec.sources[j].name) continue;
      throw Error(path + ": two sources are called '" + spec.sources[i].name +
                  "'; give one another name");
    }
  }
  return spec;
}

}  // namespace napier
