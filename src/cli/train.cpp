// napier train: trains or fine-tunes a model under arithmetics.
#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <string>

#include "cli/command.hpp"
#include "report/training_report.hpp"
#include "train/training.hpp"

namespace napier::cli {
namespace {

struct TrainArguments {
  std::string config;
  int threads = 1;
  bool json = false;
};

void run_train(const TrainArguments& arguments) {
  TrainConfig config = read_train_config(arguments.config);
  config.options.threads = arguments.threads;
  Files files;
  files.read(arguments.config);
  for (const std::string& path : {config.text, config.from, config.vocabulary}) {
    if (!path.empty()) files.read(path);
  }
  ProgressLine progress;
  const TrainRun run = train(config, [&](const TrainProgress& at) {
    progress.show(fmt::format("step {}, loss {:.4f}, {:.0f} tokens/s, {:.0f} s left", at.step,
                              at.loss, at.tokens_per_second, at.seconds_left),
                  static_cast<double>(at.step) / config.steps, false);
  });
  progress.clear();
  const std::filesystem::path folder(config.output);
  Output((folder / "losses.csv").string(), files).write(losses_csv(run.record));
  Output((folder / "losses.svg").string(), files).write(losses_svg(config.name, run.record));
  Output("", files).write(arguments.json ? training_json(config, run) : training_text(config, run));
}

}  // namespace

void add_train(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("train", "Train or fine-tune a model, forward and backward under plans");
  auto arguments = std::make_shared<TrainArguments>();
  command->add_option("config", arguments->config, "what to train, on what, how; docs/training.md")
      ->type_name("CONFIG.toml")
      ->required();
  add_threads(*command, arguments->threads);
  command->add_flag("--json", arguments->json, "print JSON");
  command->footer(
      "Writes model.gguf, checkpoint.gguf, losses.csv and losses.svg into the folder that the "
      "file\n"
      "names; goes on from the checkpoint if there is one.\n"
      "Example:\n"
      "  napier train models/arithmetic.toml");
  command->callback([arguments] { run_train(*arguments); });
}

}  // namespace napier::cli
