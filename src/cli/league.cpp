// napier league: all arithmetics on some models and texts, in one table.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "cli/command.hpp"
#include "eval/league.hpp"
#include "model/gguf_file.hpp"
#include "model/probe.hpp"
#include "napier/arithmetic.hpp"
#include "napier/error.hpp"
#include "recipes/quantize.hpp"
#include "report/image.hpp"
#include "report/league_report.hpp"

namespace napier::cli {
namespace {

struct LeagueArguments {
  std::vector<std::string> models;
  std::vector<std::string> texts;
  std::string arithmetics;
  std::vector<std::string> plans;
  std::string calibrate;
  std::string prices{k_default_prices};
  EvaluationOptions options;
  int chunks = 8;
  ResultArguments result;
  std::string plot;
};

struct Entered {
  std::vector<std::string> names;
  std::vector<Recipe> recipes;
};

// Whether the recipe can be computed for all that it names.
bool fits(const Recipe& recipe, std::span<const WeightMatrix> matrices) {
  const std::optional<Entrant> entrant = league_entrant(matrices, {recipe.name, recipe.plan});
  return entrant && entrant->subject.plan == recipe.plan;
}

// What is missing beside the models is computed before anything is evaluated.
void compute_recipes(const LeagueArguments& arguments, const Entered& entered, Files& files,
                     ProgressLine& progress) {
  QuantizeOptions options;
  options.text = arguments.calibrate;
  options.threads = arguments.options.threads;
  options.on_progress = [&](std::string_view what, double done) { progress.show(what, done); };
  std::vector<std::pair<std::string, Recipe>> missing;
  for (const std::string& model : arguments.models) {
    const std::vector<WeightMatrix> matrices = weight_matrices(model);
    std::vector<Recipe> fitting;
    for (const Recipe& recipe : entered.recipes) {
      if (!recipe.is_computed() || !fits(recipe, matrices)) continue;
      if (has_computed(recipe, model)) plan_for(recipe, model);  // says what is wrong with it
      fitting.push_back(recipe);
    }
    for (const Recipe* recipe : recipes_to_compute(fitting, model, options, files)) {
      missing.emplace_back(model, *recipe);
    }
  }
  for (const auto& [model, recipe] : missing) quantize(model, recipe, options);
}

std::vector<Entrant> entrants_of(const Entered& entered, const std::string& path,
                                 std::span<const WeightMatrix> matrices) {
  std::vector<Entrant> entrants;
  std::vector<std::string> left_out;
  for (const std::string& name : entered.names) {
    if (auto entrant = league_entrant(matrices, name)) entrants.push_back(std::move(*entrant));
  }
  for (const Recipe& recipe : entered.recipes) {
    std::optional<Entrant> entrant;
    if (!recipe.is_computed() || fits(recipe, matrices)) {
      entrant = league_entrant(matrices, {recipe.display_name(), plan_for(recipe, path)});
    }
    if (entrant) {
      entrant->written = to_string(recipe.plan);
      entrants.push_back(std::move(*entrant));
    } else {
      left_out.push_back(recipe.display_name());
    }
  }
  if (entrants.empty()) {
    throw Error(path + ": no matrix has rows that the arithmetics' blocks divide");
  }
  if (!left_out.empty()) {
    warn(fmt::format("{}: {}: left out, as blocks do not divide its rows", path,
                     fmt::join(left_out, ", ")));
  }
  return entrants;
}

League run_one(const LeagueArguments& arguments, const Model& model, const std::string& text_path,
               std::vector<Entrant> entrants, ProgressLine& progress) {
  EvaluationOptions options = arguments.options;
  const std::vector<Passage> passages =
      chunk_passages(model, read_text(text_path), options.context, arguments.chunks);
  options.on_progress = [&](std::string_view subject, double done) {
    progress.show(fmt::format("{}, {}: {}", model.path(), text_path, subject), done);
  };
  League league;
  league.entrants = std::move(entrants);
  std::vector<Subject> subjects;
  for (const Entrant& entrant : league.entrants) subjects.push_back(entrant.subject);
  league.evaluation = evaluate(model, passages, subjects, {}, options);
  league.evaluation.text = text_path;
  return league;
}

void run_league(LeagueArguments& arguments) {
  EvaluationOptions& options = arguments.options;
  options.max_outputs = options.context - options.context / 2;  // a chunk's second half is scored
  options.check();
  Entered entered;
  for (const std::string& plan : arguments.plans) entered.recipes.push_back(plan_argument(plan));
  if (!arguments.arithmetics.empty()) {
    entered.names = split_list(arguments.arithmetics);
  } else if (entered.recipes.empty()) {
    entered.names = league_names();
  }
  const Prices prices(arguments.prices);
  Files files;
  files.read(arguments.models);
  files.read(arguments.texts);
  for (const std::string& name : entered.names) files.read(parse_plan(name));
  files.read(arguments.plans);
  files.read(entered.recipes);
  files.read(arguments.calibrate);
  for (const std::string& tables : split_list(arguments.prices, "a table of prices"))
    files.read(tables);
  Output output(arguments.result.output, files);
  Output plot(arguments.plot, files);
  check_plot(arguments.plot);  // said before the work begins
  for (const std::string& path : arguments.models) {
    check_gguf_header(path);
    for (const std::string& text : arguments.texts) {
      probe_model(path, options.context_options(), read_text(text));
    }
  }

  ProgressLine progress;
  compute_recipes(arguments, entered, files, progress);
  std::vector<League> leagues;
  for (const std::string& path : arguments.models) {
    const std::vector<WeightMatrix> matrices = weight_matrices(path);
    const std::vector<Entrant> entrants = entrants_of(entered, path, matrices);
    const Model model(path);
    for (const std::string& text : arguments.texts) {
      leagues.push_back(run_one(arguments, model, text, entrants, progress));
      count_costs(leagues.back(), matrices, prices);
    }
  }
  progress.clear();
  if (!arguments.plot.empty()) plot.write(plot_for(arguments.plot, league_plot(leagues)));
  output.write(arguments.result.json  ? league_json(leagues)
               : arguments.result.csv ? league_csv(leagues)
                                      : league_table(leagues));
  for (const League& league : leagues) require_finite(league.evaluation);
}

}  // namespace

void add_league(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "league",
      "One table of arithmetics and recipes: bits, energy, quality and speed on models and texts");
  auto arguments = std::make_shared<LeagueArguments>();
  command->add_option("models", arguments->models, "GGUF files")
      ->required()
      ->type_name("MODEL.gguf...");
  command
      ->add_option("--text", arguments->texts, "what is evaluated on; may be given more than once")
      ->required()
      ->type_name("FILE")
      ->take_all()
      ->allow_extra_args(false);
  add_arithmetics(
      *command, arguments->arithmetics,
      "arithmetics in place of all presets, which are left out too where there are plans");
  add_plans(*command, arguments->plans);
  command
      ->add_option("--calibrate", arguments->calibrate,
                   "for recipes that napier quantize has not run for: the text that it reads")
      ->type_name("FILE");
  command->add_option("--prices", arguments->prices, "tables of prices, as napier cost has them")
      ->type_name("LIST")
      ->capture_default_str();
  add_context(*command, arguments->options.context);
  add_chunks(*command, arguments->chunks, "chunks of each text; 0: all of it");
  add_threads(*command, arguments->options.threads);
  add_result(*command, arguments->result);
  command->add_option("--plot", arguments->plot, "write a plot of quality against bits and energy")
      ->type_name("FILE.svg|FILE.png");
  command->footer(
      "Examples:\n"
      "  napier league MODEL.gguf --text FILE --chunks 4 --plot league.svg\n"
      "  napier league MODEL.gguf --text FILE --plan recipes/llm-int8.toml --plan "
      "recipes/fliqs.toml \\\n      --calibrate FILE");
  command->callback([arguments] { run_league(*arguments); });
}

}  // namespace napier::cli
