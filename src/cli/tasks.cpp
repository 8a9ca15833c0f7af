// napier tasks: benchmark questions answered under arithmetics.
#include <fmt/format.h>

#include <memory>
#include <string>
#include <vector>

#include "cli/command.hpp"
#include "eval/task_run.hpp"
#include "eval/workload.hpp"
#include "model/gguf_file.hpp"
#include "model/probe.hpp"
#include "napier/error.hpp"
#include "report/task_report.hpp"

namespace napier::cli {
namespace {

struct TasksArguments {
  std::string model;
  std::vector<std::string> tasks;
  std::string arithmetics;
  std::vector<std::string> plans;
  int limit = 0;
  TaskOptions options;
  bool list = false;
  std::string samples;  // of which part
  ResultArguments result;
};

std::string task_list() {
  std::string text;
  for (const TaskKind& kind : task_kinds()) {
    text += fmt::format("{:<20}{}\n{:<20}file: {}\n", kind.name, kind.summary, "", kind.file);
  }
  for (const Workload& workload : workloads()) {
    if (!workload.listed) continue;
    text += fmt::format("arithmetic/{}\n{:<20}{}\n", workload.name, "", workload.summary);
  }
  return text;
}

// Of workloads, a JSON object a line.
std::string sample_lines(const TasksArguments& arguments) {
  const Part part = arguments.samples == "train" ? Part::train : Part::test;
  std::string text;
  for (const std::string& request : arguments.tasks) {
    if (!request.starts_with(k_workload_prefix)) {
      throw Error("'" + request + "' has no samples to print; arithmetic/... tasks have");
    }
    const auto [workload, seed] = read_workload_request(request);
    const int count = arguments.limit == 0 ? k_workload_questions : arguments.limit;
    for (const Sample& sample : workload->make(part, count, seed)) {
      text += sample_line(workload->name, sample);
    }
  }
  return text;
}

void run_tasks(TasksArguments& arguments) {
  Files files;
  files.read(arguments.plans);
  files.read(arguments.model);
  if (arguments.list) {
    Output(arguments.result.output, files).write(task_list());
    return;
  }
  if (arguments.limit < 0 || arguments.options.context < 0 || arguments.options.max_tokens < 0) {
    throw Error("--limit, --ctx and --max-tokens are numbers from 0 on");
  }
  if (!arguments.samples.empty()) {
    if (arguments.tasks.empty()) throw Error("name the task whose samples are to be printed");
    Output(arguments.result.output, files).write(sample_lines(arguments));
    return;
  }
  if (arguments.model.empty() || arguments.tasks.empty()) {
    throw Error(
        "nothing to evaluate: give MODEL.gguf and --task NAME=FILE (--list names the tasks)");
  }
  for (const std::string& request : arguments.tasks) {
    const size_t equals = request.find('=');
    files.read(files_of_task(request.substr(0, equals), request.substr(equals + 1)));
  }
  const std::vector<Recipe> recipes = recipes_of(arguments.arithmetics, arguments.plans);
  files.read(recipes);
  Output output(arguments.result.output, files);
  TaskOptions& options = arguments.options;
  std::vector<Task> tasks;
  for (const std::string& request : arguments.tasks) {
    tasks.push_back(read_task(request, static_cast<size_t>(arguments.limit)));
  }
  check_gguf_header(arguments.model);
  const std::vector<Subject> subjects = subjects_of(recipes, arguments.model);
  const ContextOptions probed = {options.context == 0 ? 512 : options.context, 1, options.threads,
                                 CacheType::f32};
  probed.check();
  const Question& first = tasks[0].questions[0];
  probe_model(arguments.model, probed,
              tasks[0].is_choice() ? first.choices[0].context : first.prompt);

  const Model model(arguments.model);
  std::vector<TaskEvaluation> evaluations;
  ProgressLine progress;
  for (size_t i = 0; i < tasks.size(); ++i) {
    options.on_progress = [&](std::string_view subject, double done) {
      progress.show(fmt::format("{} {}", tasks[i].name, subject),
                    (static_cast<double>(i) + done) / static_cast<double>(tasks.size()));
    };
    evaluations.push_back(evaluate_task(model, tasks[i], subjects, options));
  }
  progress.clear();
  output.write(arguments.result.json  ? task_json(evaluations)
               : arguments.result.csv ? task_csv(evaluations)
                                      : task_table(evaluations));
  for (const TaskEvaluation& evaluation : evaluations) require_answers(evaluation);
}

}  // namespace

void add_tasks(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("tasks", "Benchmark questions answered by a model under arithmetics");
  auto arguments = std::make_shared<TasksArguments>();
  command->add_option("model", arguments->model, "a GGUF file")->type_name("MODEL.gguf");
  command->add_flag("--list", arguments->list, "list the tasks, their files and their prompts");
  command
      ->add_option("--samples", arguments->samples,
                   "print so many samples (--limit) of arithmetic/ tasks as JSON lines, those to "
                   "train on or those to ask, in place of asking a model")
      ->check(CLI::IsMember({"train", "test"}));
  command->add_option("--task", arguments->tasks, "a task; may be given more than once")
      ->type_name("NAME=FILE")
      ->take_all()
      ->allow_extra_args(false);
  add_arithmetics(*command, arguments->arithmetics);
  add_plans(*command, arguments->plans);
  command->add_option("--limit", arguments->limit, "questions of each task; 0: all")
      ->capture_default_str();
  command
      ->add_option("-c,--ctx", arguments->options.context,
                   "tokens of a prompt and its answer; 0: as the model was trained")
      ->capture_default_str();
  command
      ->add_option("--max-tokens", arguments->options.max_tokens,
                   "of a generated answer; 0: as the task says")
      ->capture_default_str();
  add_threads(*command, arguments->options.threads);
  add_result(*command, arguments->result, "print JSON, with every answer");
  command->footer(
      "Example:\n"
      "  napier tasks MODEL.gguf --task arc_easy=ARC-Easy.test.json --task piqa=piqa.test.json \\\n"
      "      --arith fp8_e4m3,lmul-m4 --limit 200");
  command->callback([arguments] { run_tasks(*arguments); });
}

}  // namespace napier::cli
