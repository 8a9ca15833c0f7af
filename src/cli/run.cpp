// napier run: generates text under an arithmetic or a plan.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>

#include "cli/command.hpp"
#include "model/engine.hpp"
#include "model/generate.hpp"
#include "model/gguf_file.hpp"
#include "model/probe.hpp"
#include "napier/arithmetic.hpp"
#include "napier/error.hpp"
#include "recipes/quantize.hpp"

namespace napier::cli {
namespace {

struct RunArguments {
  std::string model;
  std::string prompt;
  std::string arithmetic;
  std::string plan;
  int tokens = 200;
  int context = 0;
  int threads = 1;
  std::string cache = "f32";
  SamplingOptions sampling;
  bool verbose = false;
};

Plan plan_of(const RunArguments& arguments) {
  if (!arguments.plan.empty()) return plan_for(plan_argument(arguments.plan), arguments.model);
  return Plan{{{"*", parse_arithmetic(arguments.arithmetic)}}};
}

void run_model(RunArguments& arguments) {
  const Plan plan = plan_of(arguments);
  if (arguments.tokens < 0) throw Error("-n must not be negative");
  const SamplingOptions& sampling = arguments.sampling;
  for (const float option :
       {sampling.temperature, sampling.top_p, sampling.min_p, sampling.repeat_penalty}) {
    if (std::isnan(option)) {
      throw Error("--temp, --top-p, --min-p and --repeat-penalty must be numbers, not NaN");
    }
  }
  set_engine_verbose(arguments.verbose);
  ContextOptions options;
  options.threads = arguments.threads;
  options.cache = arguments.cache == "f16" ? CacheType::f16 : CacheType::f32;
  options.max_outputs = 1;
  options.context = arguments.context == 0 ? 512 : arguments.context;
  options.check();
  probe_model(arguments.model, options, arguments.prompt);

  const Model model(arguments.model);
  const std::vector<Token> prompt = model.tokenise(arguments.prompt, true, true);
  if (prompt.empty()) throw Error("the prompt is empty; give some text with -p");
  if (arguments.context == 0) {
    // Generation ends with the context: no more of it than the model was trained for.
    const auto prompted = static_cast<int64_t>(prompt.size());
    const int64_t longest = std::max<int64_t>(model.training_context(), prompted + 1);
    options.context =
        static_cast<int>(std::min(prompted + std::max<int64_t>(1, arguments.tokens), longest));
  }
  if (prompt.size() > static_cast<size_t>(options.context)) {
    throw Error(fmt::format("the prompt has {} tokens, more than --ctx {} holds", prompt.size(),
                            options.context));
  }
  if (options.context > model.training_context()) {
    warn(fmt::format("a context of {} tokens is longer than the {} that the model was trained on",
                     options.context, model.training_context()));
  }
  Context context(model, plan, options);
  context.warm_up();
  fmt::print("{}", arguments.prompt);
  const Generation generation = generate(model, context, prompt, arguments.tokens, options.context,
                                         arguments.sampling, [](std::string_view text) {
                                           fmt::print("{}", text);
                                           return std::fflush(stdout) == 0;
                                         });
  fmt::print("\n");
  context.coverage();  // throws if a matrix multiplication bypassed the plan
  fmt::print(stderr, "napier: {} tokens, {:.1f} tokens/s, seed {}, plan {}\n",
             generation.ids.size(), generation.tokens_per_second, generation.seed, to_string(plan));
}

}  // namespace

void add_run(CLI::App& app) {
  CLI::App* command = app.add_subcommand("run", "Generate text under an arithmetic or a plan");
  auto arguments = std::make_shared<RunArguments>();
  arguments->arithmetic = "f32";
  SamplingOptions& sampling = arguments->sampling;
  add_model(*command, arguments->model);
  command->add_option("-p,--prompt", arguments->prompt, "what the text begins with")->required();
  command->add_option("-n,--predict", arguments->tokens, "tokens to generate at most")
      ->capture_default_str();
  CLI::Option* arith =
      command->add_option("--arith", arguments->arithmetic, "of every matrix multiplication")
          ->capture_default_str();
  command->add_option("--plan", arguments->plan, "a plan or a recipe file")
      ->type_name("PLAN|FILE")
      ->excludes(arith);
  command->add_option("--temp", sampling.temperature, "temperature; 0: always the likeliest token")
      ->check(CLI::Range(0.0, 1000.0))
      ->capture_default_str();
  command->add_option("--top-k", sampling.top_k, "keep the k likeliest tokens; 0: all")
      ->check(CLI::Range(0, 1 << 30))
      ->capture_default_str();
  command->add_option("--top-p", sampling.top_p, "keep the likeliest tokens of this probability")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  command->add_option("--min-p", sampling.min_p, "drop tokens below this part of the likeliest's")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  command
      ->add_option("--repeat-penalty", sampling.repeat_penalty,
                   "divides the logits of the last 64 tokens; 1: off")
      ->check(CLI::Range(0.01, 100.0))
      ->capture_default_str();
  command->add_option("-s,--seed", sampling.seed, "of sampling; -1: a new one each time")
      ->check(CLI::Range(int64_t{-1}, int64_t{0xFFFFFFFE}))
      ->capture_default_str();
  command
      ->add_option("-c,--ctx", arguments->context,
                   "tokens of context; 0: as many as needed, at most those of the training")
      ->capture_default_str();
  add_threads(*command, arguments->threads);
  add_cache(*command, arguments->cache);
  command->add_flag("--verbose", arguments->verbose, "llama.cpp's own messages on stderr");
  command->footer(
      "Example: napier run MODEL.gguf -p \"Once upon a time\" --plan recipes/lmul-attention.toml");
  command->callback([arguments] { run_model(*arguments); });
}

}  // namespace napier::cli
