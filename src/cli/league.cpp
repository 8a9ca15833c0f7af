// napier league: all arithmetics on some models and texts, in one table.
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "cli/command.hpp"
#include "eval/league.hpp"
#include "model/gguf_file.hpp"
#include "model/probe.hpp"
#include "napier/arithmetic.hpp"
#include "napier/error.hpp"
#include "report/image.hpp"
#include "report/league_report.hpp"

namespace napier::cli {
namespace {

struct LeagueArguments {
  std::vector<std::string> models;
  std::vector<std::string> texts;
  std::string arithmetics;
  EvaluationOptions options;
  int chunks = 8;
  ResultArguments result;
  std::string plot;
};

League run_one(const LeagueArguments& arguments, const std::string& path,
               const std::string& text_path, const std::vector<std::string>& names,
               ProgressLine& progress) {
  const std::string text = read_text(text_path);
  EvaluationOptions options = arguments.options;
  options.max_outputs = options.context - options.context / 2;  // a chunk's second half is scored
  probe_model(path, options.context_options(), text);
  const Model model(path);
  const std::vector<Passage> passages =
      chunk_passages(model, text, options.context, arguments.chunks);
  options.on_progress = [&](std::string_view subject, double done) {
    progress.show(fmt::format("{}, {}: {}", path, text_path, subject), done);
  };
  League league;
  league.entrants = league_entrants(weight_matrices(path), names, options.context);
  std::vector<Subject> subjects;
  for (const Entrant& entrant : league.entrants) subjects.push_back(entrant.subject);
  if (subjects.empty()) {
    throw Error(path + ": no matrix has rows that the arithmetics' blocks divide");
  }
  league.evaluation = evaluate(model, passages, subjects, {}, options);
  league.evaluation.text = text_path;
  return league;
}

void run_league(const LeagueArguments& arguments) {
  arguments.options.check();
  const std::vector<std::string> names =
      arguments.arithmetics.empty() ? league_names() : split_list(arguments.arithmetics);
  Files files;
  files.read(arguments.models);
  files.read(arguments.texts);
  for (const std::string& name : names) files.read(parse_plan(name));
  Output output(arguments.result.output, files);
  Output plot(arguments.plot, files);
  check_plot(arguments.plot);  // said before the work begins
  for (const std::string& path : arguments.models) check_gguf_header(path);

  ProgressLine progress;
  std::vector<League> leagues;
  for (const std::string& path : arguments.models) {
    for (const std::string& text : arguments.texts) {
      leagues.push_back(run_one(arguments, path, text, names, progress));
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
      "league", "One table of all arithmetics: bits, quality and speed on models and texts");
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
  add_arithmetics(*command, arguments->arithmetics, "arithmetics in place of all presets");
  add_context(*command, arguments->options.context);
  add_chunks(*command, arguments->chunks, "chunks of each text; 0: all of it");
  add_threads(*command, arguments->options.threads);
  add_result(*command, arguments->result);
  command->add_option("--plot", arguments->plot, "write a plot of quality against bits")
      ->type_name("FILE.svg|FILE.png");
  command->footer("Example: napier league MODEL.gguf --text FILE --chunks 4 --plot league.svg");
  command->callback([arguments] { run_league(*arguments); });
}

}  // namespace napier::cli
