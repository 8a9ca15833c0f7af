// napier league: all arithmetics on some models and texts, in one table.
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "cli/command.hpp"
#include "eval/league.hpp"
#include "model/gguf_file.hpp"
#include "model/probe.hpp"
#include "napier/arithmetic.hpp"
#include "napier/error.hpp"
#include "report/league_report.hpp"

namespace napier::cli {
namespace {

struct LeagueArguments {
  std::vector<std::string> models;
  std::vector<std::string> texts;
  std::string arithmetics;
  EvaluationOptions options;
  int chunks = 8;
  bool json = false;
  bool csv = false;
  std::string output;
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
  if (arguments.chunks < 0) {
    throw Error(fmt::format("{} chunks cannot be evaluated: 0 means all", arguments.chunks));
  }
  const std::vector<std::string> names =
      arguments.arithmetics.empty() ? league_names() : split_list(arguments.arithmetics);
  for (const std::string& name : names) parse_arithmetic(name);
  std::vector<std::string> read = arguments.models;
  read.insert(read.end(), arguments.texts.begin(), arguments.texts.end());
  Output output(arguments.output, read);
  Output plot(arguments.plot, read);
  for (const std::string& path : arguments.models) check_gguf_header(path);

  ProgressLine progress;
  std::vector<League> leagues;
  for (const std::string& path : arguments.models) {
    for (const std::string& text : arguments.texts) {
      leagues.push_back(run_one(arguments, path, text, names, progress));
    }
  }
  progress.clear();
  if (!arguments.plot.empty()) plot.write(league_plot(leagues));
  output.write(arguments.json  ? league_json(leagues)
               : arguments.csv ? league_csv(leagues)
                               : league_table(leagues));
}

}  // namespace

void add_league(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "league", "One table of all arithmetics: bits, quality and speed on models and texts");
  auto arguments = std::make_shared<LeagueArguments>();
  arguments->options.threads = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  command->add_option("models", arguments->models, "GGUF files")
      ->required()
      ->type_name("MODEL.gguf...");
  command
      ->add_option("--text", arguments->texts, "what is evaluated on; may be given more than once")
      ->required()
      ->type_name("FILE")
      ->take_all()
      ->allow_extra_args(false);
  command->add_option("--arith", arguments->arithmetics, "arithmetics in place of all presets")
      ->type_name("LIST");
  command->add_option("-c,--ctx", arguments->options.context, "tokens a chunk")
      ->capture_default_str();
  command->add_option("--chunks", arguments->chunks, "chunks of each text; 0: all of it")
      ->capture_default_str();
  command->add_option("-t,--threads", arguments->options.threads, "threads to compute with")
      ->capture_default_str();
  CLI::Option* json = command->add_flag("--json", arguments->json, "print JSON, figures in full");
  command->add_flag("--csv", arguments->csv, "print CSV")->excludes(json);
  command->add_option("--output", arguments->output, "write there, as a whole, instead of stdout")
      ->type_name("FILE");
  command->add_option("--plot", arguments->plot, "write a plot of quality against bits")
      ->type_name("FILE.svg");
  command->footer("Example: napier league MODEL.gguf --text FILE --chunks 4 --plot league.svg");
  command->callback([arguments] { run_league(*arguments); });
}

}  // namespace napier::cli
