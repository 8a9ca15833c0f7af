// napier eval: perplexity and divergence of a model under several arithmetics.
#include <fmt/format.h>

#include <cmath>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "cli/command.hpp"
#include "eval/evaluation.hpp"
#include "model/engine.hpp"
#include "model/gguf_file.hpp"
#include "model/probe.hpp"
#include "napier/arithmetic.hpp"
#include "napier/error.hpp"
#include "recipes/recipe.hpp"
#include "report/evaluation_report.hpp"

namespace napier::cli {
namespace {

struct EvalArguments {
  std::string model;
  std::string text;
  std::string arithmetics;
  std::vector<std::string> plans;
  EvaluationOptions options;
  std::string cache = "f32";
  bool json = false;
  bool csv = false;
  bool verbose = false;
  std::string output;
};

std::vector<Subject> subjects_of(const EvalArguments& arguments) {
  std::vector<Subject> subjects;
  if (!arguments.arithmetics.empty()) {
    for (const std::string& name : split_list(arguments.arithmetics)) {
      subjects.push_back({name, Plan{{{"*", parse_arithmetic(name)}}}});
    }
  }
  for (const std::string& text : arguments.plans) {
    const Recipe recipe = plan_argument(text);
    subjects.push_back({recipe.name, recipe.plan});
  }
  if (subjects.empty()) throw Error("nothing to evaluate: give --arith LIST or --plan PLAN");
  return subjects;
}

void run_eval(EvalArguments& arguments) {
  const std::vector<Subject> subjects = subjects_of(arguments);
  EvaluationOptions& options = arguments.options;
  options.cache = arguments.cache == "f16" ? CacheType::f16 : CacheType::f32;
  options.check();
  set_engine_verbose(arguments.verbose);

  std::vector<std::string> read = arguments.plans;
  read.insert(read.end(), {arguments.model, arguments.text});
  Output output(arguments.output, read);
  check_gguf_header(arguments.model);
  const std::string text = read_text(arguments.text);
  // A token is no less than a byte, but for one at each end that the model may add.
  if (text.size() + 2 < static_cast<size_t>(options.context)) {
    throw Error(
        fmt::format("{}: the text has {} bytes, too few for one chunk of {} tokens; give a "
                    "longer text or a smaller --ctx",
                    arguments.text, text.size(), options.context));
  }
  probe_model(arguments.model, options.context_options(), text);

  const Model model(arguments.model);
  const std::vector<Token> tokens = model.tokenise(text, true, false);
  options.chunks = count_chunks(tokens.size(), options);
  if (options.context > model.training_context()) {
    warn(fmt::format("--ctx {} is longer than the {} tokens that the model was trained on",
                     options.context, model.training_context()));
  }

  ProgressLine progress;
  options.on_progress = [&](std::string_view subject, double done) {
    progress.show(subject, done);
  };
  Evaluation evaluation = evaluate(model, tokens, subjects, options);
  progress.clear();
  evaluation.text = arguments.text;
  output.write(arguments.json  ? evaluation_json(evaluation)
               : arguments.csv ? evaluation_csv(evaluation)
                               : evaluation_table(evaluation));
  for (const Result& result : evaluation.results) {
    if (std::isfinite(result.perplexity)) continue;
    throw Error(result.arith +
                    ": the perplexity is not a finite number: the model's logits overflow "
                    "or are not numbers under it",
                Blame::environment);
  }
}

}  // namespace

void add_eval(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "eval", "Perplexity of a model under arithmetics, and its divergence from f32");
  auto arguments = std::make_shared<EvalArguments>();
  arguments->options.threads = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  command->add_option("model", arguments->model, "a GGUF file")
      ->required()
      ->type_name("MODEL.gguf");
  command->add_option("--text", arguments->text, "what is evaluated on")
      ->required()
      ->type_name("FILE");
  command
      ->add_option("--arith", arguments->arithmetics,
                   "arithmetics, each for every matrix multiplication")
      ->type_name("LIST");
  command
      ->add_option("--plan", arguments->plans,
                   "a plan or a recipe file; may be given more than once")
      ->type_name("PLAN|FILE")
      ->take_all()
      ->allow_extra_args(false);
  command->add_option("-c,--ctx", arguments->options.context, "tokens a chunk")
      ->capture_default_str();
  command->add_option("--chunks", arguments->options.chunks, "chunks of the text; 0: all of it")
      ->capture_default_str();
  command->add_option("-t,--threads", arguments->options.threads, "threads to compute with")
      ->capture_default_str();
  command->add_option("--kv", arguments->cache, "what keys and values are cached in: f32 or f16")
      ->check(CLI::IsMember({"f32", "f16"}))
      ->capture_default_str();
  CLI::Option* json = command->add_flag("--json", arguments->json, "print JSON, figures in full");
  command->add_flag("--csv", arguments->csv, "print CSV")->excludes(json);
  command->add_option("--output", arguments->output, "write there, as a whole, instead of stdout")
      ->type_name("FILE");
  command->add_flag("--verbose", arguments->verbose, "llama.cpp's own messages on stderr");
  command->footer(
      "Examples:\n"
      "  napier eval MODEL.gguf --text FILE --arith bf16,fp8_e4m3,fp8_e5m2,lmul-m4,lmul-m3\n"
      "  napier eval MODEL.gguf --text FILE --plan recipes/lmul-attention.toml --plan 'kq-* -> "
      "bf16'");
  command->callback([arguments] { run_eval(*arguments); });
}

}  // namespace napier::cli
