// napier hw: circuits of arithmetics: Verilog, proof by simulation, area, delay and energy.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "analysis/capture.hpp"
#include "analysis/hardware_study.hpp"
#include "cli/command.hpp"
#include "hw/equivalence.hpp"
#include "hw/unit.hpp"
#include "model/gguf_file.hpp"
#include "model/probe.hpp"
#include "napier/error.hpp"
#include "report/hardware_report.hpp"

namespace napier::cli {
namespace {

constexpr const char* k_osu018 = "/usr/share/qflow/tech/osu018/osu018_stdcells.lib";

struct HwArguments {
  std::string arithmetics;
  std::string kinds = "step";
  ResultArguments result;
  int64_t vectors = 1000000;
  bool icarus = false;
  bool pipelined = false;
  std::string law = "gaussian";
  std::string model;
  std::string text;
  std::string matmul = "*";
  std::string prices;
  std::string delays = "0,equal";
  HardwareOptions options;
};

Timing timing_of(const HwArguments& arguments) {
  return arguments.pipelined ? Timing::pipelined : Timing::combinational;
}

std::vector<UnitRequest> requests_of(const HwArguments& arguments) {
  std::vector<UnitRequest> requests;
  for (const std::string& kind : split_list(arguments.kinds, "a kind of unit")) {
    for (const std::string& arith : split_list(arguments.arithmetics)) {
      requests.push_back({arith, parse_unit_kind(kind), timing_of(arguments)});
    }
  }
  return requests;
}

void run_verilog(const HwArguments& arguments) {
  Files files;
  Output output(arguments.result.output, files);
  const UnitKind kind = parse_unit_kind(arguments.kinds);
  output.write(make_unit(arguments.arithmetics, kind, timing_of(arguments)).verilog());
}

void run_check(const HwArguments& arguments) {
  if (arguments.vectors < 1 || arguments.vectors > 100000000) {
    throw Error("--vectors: give 1 to 100000000");
  }
  bool failed = false;
  for (const UnitRequest& request : requests_of(arguments)) {
    const HardwareUnit unit = make_unit(request.arith, request.kind, request.timing);
    const WorkFolder folder;
    bool exhaustive = false;
    const Stimulus stimulus = make_vectors(unit, arguments.vectors, 1614, exhaustive);
    const Equivalence found =
        check_equivalence(unit, unit.verilog(), stimulus, folder, arguments.icarus);
    fmt::print("{}: {} vectors{}, {} differ{}{}\n", unit.name(), found.vectors,
               exhaustive ? ", every pair of operands" : "", found.mismatches,
               found.first.empty() ? "" : ": ", found.first);
    failed = failed || found.mismatches > 0;
  }
  if (failed) throw Error("a circuit computes otherwise than its arithmetic", Blame::environment);
}

// The operands that energy is measured on, and what to call them.
std::vector<OperandBlock> operands_for(const HwArguments& arguments,
                                       const std::vector<UnitRequest>& requests,
                                       std::string& name) {
  constexpr int64_t row = 64;  // products that a sum runs over
  int64_t lanes = 1;
  for (const UnitRequest& request : requests) {
    const HardwareUnit unit = make_unit(request.arith, request.kind);
    const bool is_of_sums = unit.kind() == UnitKind::requantise;
    lanes = std::max<int64_t>(lanes, is_of_sums ? row : unit.lanes());
  }
  const int64_t rows = arguments.options.vectors * lanes / row + 1;
  if (arguments.model.empty()) {
    if (!arguments.text.empty()) {
      throw Error("--text: only a model reads a text; give MODEL.gguf too, or leave --text out");
    }
    const OperandLaw law = parse_operand_law(arguments.law);
    name = to_string(law);
    return draw_blocks(law, rows, 1, 1, row, arguments.options.seed);
  }
  if (arguments.text.empty()) {
    throw Error("a model's operands are captured while it reads a text: give --text FILE");
  }
  check_gguf_header(arguments.model);
  const std::string text = read_text(arguments.text);
  CaptureOptions capture;
  probe_model(arguments.model, capture.context, text);
  const Model model(arguments.model);
  std::vector<OperandBlock> blocks;
  for (CapturedMatmul& matmul :
       capture_operands(model, model.tokenise(text, true, false), capture)) {
    if (!glob_matches(arguments.matmul, matmul.name)) continue;
    for (OperandBlock& block : matmul.blocks) blocks.push_back(std::move(block));
  }
  if (blocks.empty()) {
    throw Error("--matmul: '" + arguments.matmul + "' is none of the model's matrix products");
  }
  name =
      std::filesystem::path(arguments.model).filename().string() + "'s (" + arguments.matmul + ")";
  return draw_windows(blocks, rows, row, arguments.options.seed);
}

double delay_of(const std::string& text) {
  if (text == "equal") return k_equal_delay;
  double delay = 0;
  const char* const end = text.data() + text.size();
  const auto [at, error] = std::from_chars(text.data(), end, delay);
  if (error == std::errc{} && at == end && delay >= 0) return delay;
  throw Error("--delay: '" + text + "' is neither a number of ns from 0 on nor equal");
}

void run_report(HwArguments& arguments) {
  HardwareOptions& options = arguments.options;
  if (options.technologies.empty()) {
    if (!std::filesystem::exists(k_osu018)) {
      throw Error(
          "no technology: give a liberty file with --tech, or install Debian's "
          "qflow-tech-osu018");
    }
    options.technologies.emplace_back(k_osu018);
  }
  options.delays.clear();
  for (const std::string& text : split_list(arguments.delays, "a delay")) {
    options.delays.push_back(delay_of(text));
  }
  options.check();
  const std::vector<UnitRequest> requests = requests_of(arguments);
  Files files;
  for (const std::string& technology : options.technologies) {
    files.read(technology_files(technology));
  }
  files.read({arguments.model, arguments.text});
  Output output(arguments.result.output, files);
  std::optional<Output> prices;
  if (!arguments.prices.empty()) prices.emplace(arguments.prices, files);
  if (prices && options.technologies.size() > 1) {
    throw Error("--prices: a table is of one technology; give one --tech");
  }
  std::string operands;
  const std::vector<OperandBlock> blocks = operands_for(arguments, requests, operands);
  ProgressLine progress;
  options.on_progress = [&](std::string_view what, double done) { progress.show(what, done); };
  const std::vector<HardwareRow> rows = study_hardware(requests, blocks, options);
  progress.clear();
  output.write(arguments.result.json  ? hardware_json(rows, options, operands)
               : arguments.result.csv ? hardware_csv(rows)
                                      : hardware_table(rows, options, operands));
  if (prices) {
    prices->write(price_toml(rows, options, operands));
  }
}

void add_pipelined(CLI::App& command, HwArguments& arguments) {
  command.add_flag("--pipelined", arguments.pipelined,
                   "with registers before, between and after the stages");
}

void add_units(CLI::App& command, HwArguments& arguments, const char* arith_help) {
  command.add_option("--arith", arguments.arithmetics, arith_help)->required()->type_name("LIST");
  command
      .add_option(
          "--unit", arguments.kinds,
          "kinds of unit: raw, same, wide, step, dot, add, convert, round, requantise, terms")
      ->type_name("LIST")
      ->capture_default_str();
  add_pipelined(command, arguments);
}

}  // namespace

void add_hw(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("hw", "Circuits of arithmetics: Verilog, proof, area, delay, energy");
  command->require_subcommand(1);
  command->footer(
      "Examples:\n"
      "  napier hw verilog lmul-m4 --unit step\n"
      "  napier hw check --arith lmul-e4m3,fp8_e4m3,int8 --unit wide,step\n"
      "  napier hw report --arith f32,bf16,fp8_e4m3,lmul-m4,int8 --unit wide,step");

  auto verilog = std::make_shared<HwArguments>();
  CLI::App* part = command->add_subcommand("verilog", "A unit's Verilog, one file");
  part->add_option("arith", verilog->arithmetics, "an arithmetic, or int2 to int16")
      ->required()
      ->type_name("ARITH");
  part->add_option("--unit", verilog->kinds, "one kind of unit, as of napier hw check")
      ->capture_default_str();
  add_pipelined(*part, *verilog);
  part->add_option("--output", verilog->result.output, "write there instead of stdout")
      ->type_name("FILE");
  part->footer("Example: napier hw verilog lmul-m4 --unit step --output lmul.v");
  part->callback([verilog] { run_verilog(*verilog); });

  auto check = std::make_shared<HwArguments>();
  part = command->add_subcommand("check", "Simulate units against the C++ arithmetic");
  add_units(*part, *check, "arithmetics, or int2 to int16");
  part->add_option("--vectors", check->vectors, "where the pairs of operands are more than 2^16")
      ->capture_default_str();
  part->add_flag("--icarus", check->icarus, "simulate with Icarus Verilog instead of Verilator");
  part->footer("Example: napier hw check --arith lmul-e4m3,fp8_e4m3,int8 --unit wide,step");
  part->callback([check] { run_check(*check); });

  auto report = std::make_shared<HwArguments>();
  part = command->add_subcommand("report", "Synthesise units; area, delay, energy");
  add_units(*part, *report, "arithmetics, or int2 to int16; ratios are to the first");
  part->add_option(
          "--tech", report->options.technologies,
          "liberty files (.lib, .lib.gz), those of one technology joined by +; without it, "
          "Debian's osu018")
      ->delimiter(',')
      ->type_name("FILE,...");
  part->add_option("--delay", report->delays,
                   "what units are made for: 0, least area; ns to be met; equal: the ns that the "
                   "slowest of a kind needs")
      ->type_name("LIST")
      ->capture_default_str();
  part->add_option("--repeats", report->options.repeats,
                   "syntheses, with shuffled names and other scripts")
      ->capture_default_str();
  part->add_option("--vectors", report->options.vectors, "operations that energy is measured on")
      ->capture_default_str();
  CLI::Option* model =
      part->add_option("model", report->model, "a GGUF file whose own operands are taken")
          ->type_name("MODEL.gguf");
  part->add_option("--operands", report->law, "the law they are drawn from, without a model")
      ->excludes(model)
      ->capture_default_str();
  part->add_option("--text", report->text, "what the model reads meanwhile")->type_name("FILE");
  part->add_option("--matmul", report->matmul, "of which matrix products, a pattern as in plans")
      ->capture_default_str();
  part->add_option("--prices", report->prices,
                   "also write a table of prices for napier cost, of the first --delay")
      ->type_name("FILE");
  add_result(*part, report->result, "print JSON");
  part->footer("Example: napier hw report --arith f32,bf16,fp8_e4m3,lmul-m4,int8 --unit wide,step");
  part->callback([report] { run_report(*report); });
}

}  // namespace napier::cli
