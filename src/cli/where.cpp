// napier where: which layers and roles of a model suffer under an arithmetic.
#include <fmt/format.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/command.hpp"
#include "eval/sensitivity.hpp"
#include "model/gguf_file.hpp"
#include "model/probe.hpp"
#include "napier/error.hpp"
#include "report/image.hpp"
#include "report/sensitivity_report.hpp"

namespace napier::cli {
namespace {

struct WhereArguments {
  std::string model;
  std::string text;
  std::string arithmetics;
  std::vector<std::string> parts = {"matmul", "role", "layer"};
  int chunks = 4;
  EvaluationOptions options;
  ResultArguments result;
  std::string svg;
};

Part part_called(const std::string& name) {
  return name == "matmul" ? Part::matmul : name == "role" ? Part::role : Part::layer;
}

void run_where(WhereArguments& arguments) {
  std::vector<NamedArithmetic> arithmetics;
  for (const std::string& name : split_list(arguments.arithmetics)) {
    arithmetics.push_back({name, parse_arithmetic(name)});
  }
  std::vector<Part> parts;
  for (const std::string& name : arguments.parts) parts.push_back(part_called(name));
  EvaluationOptions& options = arguments.options;
  options.max_outputs = options.context - options.context / 2;
  options.check();
  Files files;
  files.read({arguments.model, arguments.text});
  for (const NamedArithmetic& one : arithmetics) files.read(Plan{{{"*", one.arithmetic}}});
  Output output(arguments.result.output, files);
  std::optional<Output> svg;
  if (!arguments.svg.empty()) svg.emplace(arguments.svg, files);
  check_plot(arguments.svg);  // said before the work begins
  check_gguf_header(arguments.model);
  const std::string text = read_text(arguments.text);
  probe_model(arguments.model, options.context_options(), text);

  const Model model(arguments.model);
  const auto passages = chunk_passages(model, text, options.context, arguments.chunks);
  ProgressLine progress;
  options.on_progress = [&](std::string_view subject, double done) {
    progress.show(subject, done);
  };
  Sensitivity sensitivity = measure_sensitivity(model, passages, arithmetics, parts, options);
  progress.clear();
  sensitivity.evaluation.text = arguments.text;
  if (svg) svg->write(plot_for(arguments.svg, sensitivity_svg(sensitivity)));
  output.write(arguments.result.json  ? sensitivity_json(sensitivity)
               : arguments.result.csv ? sensitivity_csv(sensitivity)
                                      : sensitivity_table(sensitivity));
  require_finite(sensitivity.evaluation);
}

}  // namespace

void add_where(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("where", "Which layers and roles of a model suffer under an arithmetic");
  auto arguments = std::make_shared<WhereArguments>();
  add_model(*command, arguments->model);
  command->add_option("--text", arguments->text, "what is evaluated on")
      ->required()
      ->type_name("FILE");
  command->add_option("--arith", arguments->arithmetics, "arithmetics")
      ->required()
      ->type_name("LIST");
  command
      ->add_option("--parts", arguments->parts,
                   "what is switched alone: each matmul, each role, each layer")
      ->delimiter(',')
      ->check(CLI::IsMember({"matmul", "role", "layer"}))
      ->capture_default_str();
  add_context(*command, arguments->options.context);
  add_chunks(*command, arguments->chunks, "chunks of the text; 0: all of it");
  add_threads(*command, arguments->options.threads);
  add_result(*command, arguments->result);
  command->add_option("--svg", arguments->svg, "draw heat maps and histograms there")
      ->type_name("FILE.svg|FILE.png");
  command->footer(
      "Example:\n  napier where MODEL.gguf --text FILE --arith lmul-m4,fp8_e4m3 --svg where.svg");
  command->callback([arguments] { run_where(*arguments); });
}

}  // namespace napier::cli
