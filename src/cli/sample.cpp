// napier sample: the texts that a model writes under arithmetics, over temperatures.
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "cli/command.hpp"
#include "eval/documents.hpp"
#include "eval/passages.hpp"
#include "eval/sampling_study.hpp"
#include "model/gguf_file.hpp"
#include "model/probe.hpp"
#include "napier/error.hpp"
#include "report/sampling_report.hpp"

namespace napier::cli {
namespace {

struct SampleArguments {
  std::string model;
  std::string prompts;
  std::string arithmetics;
  std::vector<std::string> plans;
  SamplingStudyOptions options;
  ResultArguments result;
};

void run_sample(SampleArguments& arguments) {
  SamplingStudyOptions& options = arguments.options;
  const std::vector<Recipe> recipes = recipes_of(arguments.arithmetics, arguments.plans);
  options.check();
  Files files;
  files.read(arguments.plans);
  files.read({arguments.model, arguments.prompts});
  files.read(recipes);
  Output output(arguments.result.output, files);
  check_gguf_header(arguments.model);
  const std::vector<std::string> prompts = split_documents(read_text(arguments.prompts), "\n");
  if (prompts.empty()) throw Error(arguments.prompts + ": holds no prompt; give one a line");
  const std::vector<Subject> subjects = subjects_of(recipes, arguments.model);
  ContextOptions probed;
  probed.threads = options.threads;
  probe_model(arguments.model, probed, prompts[0]);

  const Model model(arguments.model);
  ProgressLine progress;
  options.on_progress = [&](std::string_view subject, double done) {
    progress.show(subject, done);
  };
  const SamplingStudy study = study_sampling(model, prompts, subjects, options);
  progress.clear();
  output.write(arguments.result.json  ? sampling_json(study)
               : arguments.result.csv ? sampling_csv(study)
                                      : sampling_table(study));
}

}  // namespace

void add_sample(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "sample", "The texts that a model writes under arithmetics, over temperatures");
  auto arguments = std::make_shared<SampleArguments>();
  SamplingStudyOptions& options = arguments->options;
  add_model(*command, arguments->model);
  command->add_option("--prompts", arguments->prompts, "what texts begin with, one a line")
      ->required()
      ->type_name("FILE");
  add_arithmetics(*command, arguments->arithmetics);
  add_plans(*command, arguments->plans);
  command->add_option("--temp", options.temperatures, "temperatures; 0: always the likeliest token")
      ->delimiter(',')
      ->capture_default_str();
  command->add_option("--top-k", options.top_k, "keep the k likeliest tokens; 0: all")
      ->delimiter(',')
      ->capture_default_str();
  command->add_option("-n,--predict", options.max_tokens, "tokens of a text at most")
      ->delimiter(',')
      ->capture_default_str();
  command->add_option("-s,--seed", options.seed, "of every text")->capture_default_str();
  add_threads(*command, options.threads);
  add_result(*command, arguments->result, "print JSON, with every text");
  command->footer(
      "Example: napier sample MODEL.gguf --prompts FILE --arith bf16,int8,nf4,lmul-m4 --temp "
      "0,0.5,1 --top-k 0,40");
  command->callback([arguments] { run_sample(*arguments); });
}

}  // namespace napier::cli
