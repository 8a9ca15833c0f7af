// napier tasks: benchmark questions answered under arithmetics.
#include <fmt/format.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "cli/command.hpp"
#include "eval/task_run.hpp"
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
  bool json = false;
  bool csv = false;
  std::string output;
};

std::string task_list() {
  std::string text;
  for (const TaskKind& kind : task_kinds()) {
    text += fmt::format("{:<20}{}\n{:<20}file: {}\n", kind.name, kind.summary, "", kind.file);
  }
  return text;
}

void run_tasks(TasksArguments& arguments) {
  std::vector<std::string> read = arguments.plans;
  read.push_back(arguments.model);
  for (const std::string& request : arguments.tasks) {
    read.push_back(request.substr(request.find('=') + 1));
  }
  Output output(arguments.output, read);
  if (arguments.list) {
    output.write(task_list());
    return;
  }
  if (arguments.model.empty() || arguments.tasks.empty()) {
    throw Error(
        "nothing to evaluate: give MODEL.gguf and --task NAME=FILE (--list names the tasks)");
  }
  const std::vector<Subject> subjects = subjects_of(arguments.arithmetics, arguments.plans);
  TaskOptions& options = arguments.options;
  if (arguments.limit < 0 || options.context < 0 || options.max_tokens < 0) {
    throw Error("--limit, --ctx and --max-tokens are numbers from 0 on");
  }
  std::vector<Task> tasks;
  for (const std::string& request : arguments.tasks) {
    tasks.push_back(read_task(request, static_cast<size_t>(arguments.limit)));
  }
  check_gguf_header(arguments.model);
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
  output.write(arguments.json  ? task_json(evaluations)
               : arguments.csv ? task_csv(evaluations)
                               : task_table(evaluations));
}

}  // namespace

void add_tasks(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("tasks", "Benchmark questions answered by a model under arithmetics");
  auto arguments = std::make_shared<TasksArguments>();
  arguments->options.threads = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  command->add_option("model", arguments->model, "a GGUF file")->type_name("MODEL.gguf");
  command->add_flag("--list", arguments->list, "list the tasks, their files and their prompts");
  command->add_option("--task", arguments->tasks, "a task; may be given more than once")
      ->type_name("NAME=FILE")
      ->take_all()
      ->allow_extra_args(false);
  command->add_option("--arith", arguments->arithmetics, "arithmetics")->type_name("LIST");
  command
      ->add_option("--plan", arguments->plans,
                   "a plan or a recipe file; may be given more than once")
      ->type_name("PLAN|FILE")
      ->take_all()
      ->allow_extra_args(false);
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
  command->add_option("-t,--threads", arguments->options.threads, "threads to compute with")
      ->capture_default_str();
  CLI::Option* json = command->add_flag("--json", arguments->json, "print JSON, with every answer");
  command->add_flag("--csv", arguments->csv, "print CSV")->excludes(json);
  command->add_option("--output", arguments->output, "write there, as a whole, instead of stdout")
      ->type_name("FILE");
  command->footer(
      "Example:\n"
      "  napier tasks MODEL.gguf --task arc_easy=ARC-Easy.test.json --task piqa=piqa.test.json \\\n"
      "      --arith fp8_e4m3,lmul-m4 --limit 200");
  command->callback([arguments] { run_tasks(*arguments); });
}

}  // namespace napier::cli
