// napier sweep: models by arithmetics by texts and tasks, into a database.
#include <fmt/format.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cli/command.hpp"
#include "eval/ranks.hpp"
#include "eval/sweep_database.hpp"
#include "eval/sweep_results.hpp"
#include "model/gguf_file.hpp"
#include "model/probe.hpp"
#include "napier/error.hpp"
#include "recipes/sweep_file.hpp"
#include "report/sweep_report.hpp"

namespace napier::cli {
namespace {

struct SweepArguments {
  std::string spec;
  std::string database;
  int threads = 1;
  ResultArguments result;
};

// On the first rank, before the ranks know each other: a child process may still be started.
void try_models(const SweepSpec& spec) {
  ContextOptions options;
  options.threads = spec.threads;
  for (const SweepSource& source : spec.sources) {
    if (source.context > 0) options.context = std::max(options.context, source.context);
  }
  options.check();
  for (const std::string& model : spec.models) {
    check_gguf_header(model);
    probe_model(model, options, "a");
  }
}

void sweep_on(Ranks& ranks, const SweepSpec& spec, const std::string& path) {
  std::optional<SweepWorker> worker;
  std::map<std::string, std::string> hashes;
  ranks.prepare([&] {
    worker.emplace(spec);
    hashes = spec.hashes();
  });
  const auto compute = [&](const SweepUnit& unit) { return worker->run(unit); };
  ranks.check_same(spec, hashes, NAPIER_VERSION);
  if (ranks.rank() != 0) {
    ranks.share_out({}, compute, {});
    return;
  }
  SweepDatabase database(path, spec, hashes, NAPIER_VERSION);
  const std::vector<SweepUnit> all = worker->units();
  const std::set<SweepUnit> done = database.done();
  std::vector<SweepUnit> left;
  for (const SweepUnit& unit : all) {
    if (!done.contains(unit)) left.push_back(unit);
  }
  std::map<std::pair<size_t, size_t>, size_t> missing;  // units, by model and source
  for (const SweepUnit& unit : left) ++missing[{unit.model, unit.source}];
  ProgressLine progress;
  progress.show(fmt::format("unit {} of {}", done.size(), all.size()), 0);
  size_t stored = 0;
  const auto store = [&](const UnitResult& result) {
    database.store(result);
    ++stored;
    if (--missing[{result.unit.model, result.unit.source}] == 0) database.finish(all);
    progress.show(fmt::format("unit {} of {}", done.size() + stored, all.size()),
                  static_cast<double>(stored) / static_cast<double>(left.size()));
  };
  ranks.share_out(left, compute, store);
  progress.clear();
  database.finish(all);
}

void run_sweep(SweepArguments& arguments) {
  const bool first = Ranks::rank_in_environment() == 0;
  try {
    Ranks::check_start();
  } catch (const Error&) {
    if (!first) std::_Exit(ExitCode::wrong_input);  // it is the same for all of them: said once
    throw;
  }
  // The others wait here for the first rank, so that it alone says what is wrong for all of them.
  std::optional<Ranks> ranks;
  if (!first) ranks.emplace();
  std::optional<Output> output;
  try {
    SweepSpec spec;
    const auto read = [&] {
      spec = read_sweep_file(arguments.spec);
      spec.threads = arguments.threads;
    };
    if (first) {
      read();
      Files files;
      files.read(arguments.spec);
      files.read(spec.models);
      files.read(spec.subjects);
      files.read(spec.computed_files);
      for (const SweepSource& source : spec.sources) {
        if (!source.is_made()) files.read(files_of_task(source.task, source.path));
      }
      const Output never_over_an_input(arguments.database, files);
      output.emplace(arguments.result.output, files);
      try_models(spec);
      ranks.emplace();
    }
    ranks->prepare([&] {
      if (!first) read();
    });
    sweep_on(*ranks, spec, arguments.database);
  } catch (const std::exception& error) {
    if (!ranks || ranks->count() == 1) throw;
    const auto* known = dynamic_cast<const Error*>(&error);
    const bool is_input = known && known->blame() == Blame::input;
    std::fprintf(stderr, "napier: rank %d: %s\n", ranks->rank(), error.what());
    ranks->abort(is_input ? ExitCode::wrong_input : ExitCode::failed);
  }
  if (!first) return;
  const SweepResults results = read_sweep_results(arguments.database);
  output->write(arguments.result.json  ? sweep_json(results)
                : arguments.result.csv ? sweep_csv(results)
                                       : sweep_tables(results, TableStyle::plain));
  require_finite(results);
}

}  // namespace

void add_sweep(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "sweep", "Models by arithmetics by texts and tasks, into a database; goes on where it ended");
  auto arguments = std::make_shared<SweepArguments>();
  command->add_option("sweep", arguments->spec, "what is swept over (TOML; docs/sweep.md)")
      ->required()
      ->type_name("SWEEP.toml");
  command->add_option("--db", arguments->database, "the SQLite database of the results")
      ->required()
      ->type_name("FILE");
  add_threads(*command, arguments->threads);
  add_result(*command, arguments->result);
  command->footer(
      "Examples:\n"
      "  napier sweep SWEEP.toml --db results.db\n"
      "  mpirun -n 4 napier sweep SWEEP.toml --db results.db --threads 1");
  command->callback([arguments] { run_sweep(*arguments); });
}

}  // namespace napier::cli
