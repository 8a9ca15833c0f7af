// napier report: a sweep's database as a page, tables, plots.
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "cli/command.hpp"
#include "eval/sweep_results.hpp"
#include "napier/error.hpp"
#include "report/image.hpp"
#include "report/page.hpp"
#include "report/sweep_report.hpp"

namespace napier::cli {
namespace {

struct ReportArguments {
  std::string database;
  std::string format = "html";
  std::vector<std::string> embedded;
  std::string plots;
  bool png = false;
  std::string output;
};

std::string in_format(const SweepResults& results, const ReportArguments& arguments,
                      const std::vector<std::pair<std::string, std::string>>& figures) {
  if (arguments.format == "markdown") return sweep_tables(results, TableStyle::markdown);
  if (arguments.format == "latex") return sweep_tables(results, TableStyle::latex);
  if (arguments.format == "csv") return sweep_csv(results);
  if (arguments.format == "json") return sweep_json(results);
  return sweep_page(results, figures);
}

void run_report(const ReportArguments& arguments) {
  Files files;
  files.read(arguments.embedded);
  files.read(arguments.database);
  Output output(arguments.output, files);
  if (arguments.png && arguments.plots.empty()) throw Error("--png: give --plots FOLDER too");
  if (arguments.png) need_images("--png");
  const SweepResults results = read_sweep_results(arguments.database);
  std::vector<std::pair<std::string, std::string>> figures;
  for (const std::string& path : arguments.embedded) {
    std::string svg = read_text(path);
    if (!svg.starts_with("<svg")) throw Error(path + ": is no SVG of napier");
    figures.emplace_back(std::filesystem::path(path).filename().string(), std::move(svg));
  }
  if (!arguments.plots.empty()) {
    std::error_code ignored;  // writing the files says what is wrong
    std::filesystem::create_directories(arguments.plots, ignored);
    for (const auto& [name, svg] : sweep_plots(results)) {
      Output(arguments.plots + "/" + name + ".svg", files).write(svg);
      if (arguments.png) {
        Output(arguments.plots + "/" + name + ".png", files).write(image_of(svg));
      }
    }
  }
  output.write(in_format(results, arguments, figures));
}

}  // namespace

void add_report(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("report", "A sweep's results as a web page, tables and plots");
  auto arguments = std::make_shared<ReportArguments>();
  command->add_option("database", arguments->database, "what napier sweep wrote")
      ->required()
      ->type_name("FILE.db");
  command->add_option("--format", arguments->format, "html, markdown, latex, csv or json")
      ->check(CLI::IsMember({"html", "markdown", "latex", "csv", "json"}))
      ->capture_default_str();
  command
      ->add_option(
          "--embed", arguments->embedded,
          "an SVG to show on the page, such as napier where's; may be given more than once")
      ->type_name("FILE.svg")
      ->take_all()
      ->allow_extra_args(false);
  command->add_option("--plots", arguments->plots, "write the plots there too, as SVG files")
      ->type_name("FOLDER");
  command->add_flag("--png", arguments->png, "the plots as PNG beside the SVG files");
  command->add_option("--output", arguments->output, "write there, as a whole, instead of stdout")
      ->type_name("FILE");
  command->footer(
      "Examples:\n"
      "  napier report results.db --embed where.svg --output report.html\n"
      "  napier report results.db --format latex --plots plots --png");
  command->callback([arguments] { run_report(*arguments); });
}

}  // namespace napier::cli
