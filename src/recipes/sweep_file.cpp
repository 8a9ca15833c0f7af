#include "recipes/sweep_file.hpp"

#include <filesystem>

#include "napier/error.hpp"
#include "recipes/quantize.hpp"
#include "recipes/toml_section.hpp"

namespace napier {
namespace {

std::string name_of(const std::string& path) { return std::filesystem::path(path).stem().string(); }

Plan with_own_multiplier(const Recipe& recipe) {
  return recipe.multiplier.empty() ? recipe.plan : with_multiplier(recipe.plan, recipe.multiplier);
}

// The plans that napier quantize has made for the models, of the subject that comes next.
void add_computed(SweepSpec& spec, const Recipe& recipe) {
  std::vector<Plan>& plans = spec.computed[spec.subjects.size()];
  for (const std::string& model : spec.models) {
    plans.push_back(plan_for(recipe, model));
    spec.computed_files.push_back(computed_path(model, recipe.name));
  }
}

// A source's name, which stands in tables and in names of files.
std::string source_name(const Section& section, const std::string& otherwise) {
  const std::string name = section.text("name");
  for (const char c : name) {
    if (static_cast<unsigned char>(c) < ' ') throw section.wrong("name", "must be one line");
  }
  return name.empty() ? otherwise : name;
}

}  // namespace

SweepSpec read_sweep_file(const std::string& path) {
  const toml::table table = read_toml(path, "the sweep file");
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
      if (recipe.is_computed()) add_computed(spec, recipe);
      spec.subjects.push_back({recipe.display_name(), with_own_multiplier(recipe)});
    } catch (const ParseError& problem) {
      throw top.wrong("plans", std::string("holds what is none: ") + problem.what());
    }
  }
  if (spec.subjects.empty()) throw top.wrong("arithmetics", "or 'plans' must name one at least");

  for (const Section& section : top.sections("text")) {
    section.allow({"name", "path", "context", "limit", "jsonl", "separator"});
    SweepSource source;
    source.path = from_here(section.text("path", true));
    source.name = source_name(section, name_of(source.path));
    source.context = section.number("context", 512);
    source.limit = section.number("limit", 0);
    source.jsonl = section.text("jsonl");
    source.separator = section.text("separator");
    if (section.has("jsonl") && section.has("separator")) {
      throw section.wrong("separator", "cannot stand beside 'jsonl'");
    }
    EvaluationOptions options;
    options.context = source.context;
    options.check();
    spec.sources.push_back(std::move(source));
  }
  for (const Section& section : top.sections("task")) {
    section.allow({"name", "task", "path", "seed", "context", "limit", "max_tokens"});
    SweepSource source;
    source.task = section.text("task", true);
    const bool made = source.is_made();
    if (section.has(made ? "path" : "seed")) {
      throw made
          ? section.wrong("path", "is not read: the questions of " + source.task + " are made")
          : section.wrong("seed", "is of arithmetic/... tasks alone");
    }
    source.path =
        made ? std::to_string(section.number("seed", 0)) : from_here(section.text("path", true));
    source.name = source_name(section, source.task);
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
