// napier quantize: what a recipe needs computed once for a model.
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "cli/command.hpp"
#include "model/gguf_file.hpp"
#include "model/probe.hpp"
#include "napier/error.hpp"
#include "recipes/quantize.hpp"
#include "report/quantize_report.hpp"

namespace napier::cli {
namespace {

struct QuantizeArguments {
  std::string model;
  std::string recipe;
  QuantizeOptions options;
  bool json = false;
};

void run_quantize(QuantizeArguments& arguments) {
  const Recipe recipe = read_recipe(arguments.recipe);
  QuantizeOptions& options = arguments.options;
  Files files;
  files.read(arguments.recipe);
  check_quantize(arguments.model, recipe, options, files);
  ProgressLine progress;
  options.on_progress = [&](std::string_view what, double done) { progress.show(what, done); };
  const Quantized quantized = quantize(arguments.model, recipe, options);
  progress.clear();
  fmt::print("{}", arguments.json ? quantized_json(quantized) : quantized_table(quantized));
}

}  // namespace

void check_quantize(const std::string& model, const Recipe& recipe, const QuantizeOptions& options,
                    Files& files) {
  options.check();
  check_gguf_header(model);
  std::string text;
  if (recipe.needs_text()) {
    if (options.text.empty()) {
      throw Error("recipe '" + recipe.name + "' needs a text: give --calibrate FILE");
    }
    text = read_text(options.text);
  }
  // Tried now: the work is long. Nothing is left behind.
  const std::string path =
      options.output.empty() ? computed_path(model, recipe.name) : options.output;
  files.read({model, options.text});
  Output(path, files);
  ContextOptions context;
  context.context = options.context;
  context.threads = options.threads;
  probe_model(model, context, text);
}

std::vector<const Recipe*> recipes_to_compute(const std::vector<Recipe>& recipes,
                                              const std::string& model,
                                              const QuantizeOptions& options, Files& files) {
  std::vector<const Recipe*> missing;
  for (const Recipe& recipe : recipes) {
    if (!recipe.is_computed() || has_computed(recipe, model)) continue;
    if (options.text.empty()) plan_for(recipe, model);  // says what is missing
    // With another multiplier a recipe is computed as without.
    const auto same = std::find_if(missing.begin(), missing.end(), [&](const Recipe* other) {
      return other->name == recipe.name && other->identity() == recipe.identity();
    });
    if (same != missing.end()) continue;
    check_quantize(model, recipe, options, files);
    missing.push_back(&recipe);
  }
  return missing;
}

void add_quantize(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "quantize", "Compute what a recipe needs for a model, into a file beside it");
  auto arguments = std::make_shared<QuantizeArguments>();
  add_model(*command, arguments->model);
  command->add_option("--recipe,--plan", arguments->recipe, "a recipe file")
      ->required()
      ->type_name("FILE");
  command->add_option("--calibrate", arguments->options.text, "the text that statistics are of")
      ->type_name("FILE");
  add_context(*command, arguments->options.context);
  add_chunks(*command, arguments->options.chunks, "chunks of the text, at most; 0: all of it");
  add_threads(*command, arguments->options.threads);
  command
      ->add_option("--output", arguments->options.output,
                   "write there; napier eval looks for MODEL.gguf.RECIPE.napier")
      ->type_name("FILE");
  command->add_flag("--json", arguments->json, "print JSON, figures in full");
  command->footer(
      "What was cut off goes on when it is called again in the same way.\n"
      "Example:\n  napier quantize MODEL.gguf --recipe recipes/mobilequant.toml --calibrate FILE");
  command->callback([arguments] { run_quantize(*arguments); });
}

}  // namespace napier::cli
