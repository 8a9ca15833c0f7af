// napier error: how wrong products and sums are, and why.
#include <charconv>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "analysis/error_study.hpp"
#include "cli/command.hpp"
#include "model/engine.hpp"
#include "model/gguf_file.hpp"
#include "model/probe.hpp"
#include "napier/error.hpp"
#include "report/error_report.hpp"

namespace napier::cli {
namespace {

// What is shown of codes unless something is named.
constexpr const char* k_narrow_arithmetics = "lmul-e4m3,lmul-e5m2,x=e4m3/w=e4m3/mul=mitchell";
constexpr const char* k_code_laws = "codes,uniform,loguniform,gaussian,student(4)";

struct ErrorArguments {
  std::string model;
  std::string text;
  std::string arithmetics =
      "lmul-m4,lmul-m4-rne,lmul-m3,lmul-m3-rne,lmul-formula-m4,mitchell,fp8_e4m3,fp8_e4m3-rtz,"
      "fp8_e5m2,fp8_e5m2-rtz";
  std::string laws = "mantissa,uniform,loguniform,gaussian,student(4)";
  std::string show = "products";
  std::string by = "role";
  std::string reading = "adder";
  std::string rounding = "rtz";
  std::vector<int64_t> lengths;
  ErrorStudyOptions options;
  CaptureOptions capture;
  ResultArguments result;
  std::string svg;
};

std::vector<OperandSource> sources_for(const ErrorArguments& arguments, ProgressLine& progress) {
  std::vector<OperandSource> sources;
  if (arguments.model.empty()) {
    if (!arguments.text.empty()) {
      throw Error("--text: only a model reads a text; give MODEL.gguf too, or leave --text out");
    }
    for (const std::string& text : split_list(arguments.laws, "a law of operands")) {
      const OperandLaw law = parse_operand_law(text);
      sources.push_back({to_string(law), law, {}});
    }
    return sources;
  }
  if (arguments.text.empty()) {
    throw Error("a model's operands are captured while it reads a text: give --text FILE");
  }
  check_gguf_header(arguments.model);
  const std::string text = read_text(arguments.text);
  probe_model(arguments.model, arguments.capture.context, text);
  const Model model(arguments.model);
  progress.show("capturing operands", 0);
  return sources_of(capture_operands(model, model.tokenise(text, true, false), arguments.capture),
                    arguments.by == "role");
}

void run_error(ErrorArguments& arguments) {
  ErrorStudyOptions& options = arguments.options;
  if (!arguments.lengths.empty()) options.lengths = arguments.lengths;
  options.variant.formula = arguments.reading == "formula";
  options.variant.rounding =
      arguments.rounding == "rne" ? Rounding::nearest_even : Rounding::toward_zero;
  options.check();
  std::vector<NamedArithmetic> arithmetics;
  for (const std::string& name : split_list(arguments.arithmetics)) {
    arithmetics.push_back({name, parse_arithmetic(name)});
  }
  if (!arguments.svg.empty() && (arguments.show == "products" || arguments.show == "codes")) {
    throw Error("--svg: products have a table only; ask for --show dots or --show offsets");
  }
  arguments.capture.context.threads = options.threads;
  arguments.capture.context.check();
  Files files;
  files.read({arguments.model, arguments.text});
  for (const NamedArithmetic& one : arithmetics) files.read(Plan{{{"*", one.arithmetic}}});
  Output output(arguments.result.output, files);
  std::optional<Output> plot;  // tried before the work begins
  if (!arguments.svg.empty()) plot.emplace(arguments.svg, files);

  ProgressLine progress;
  options.on_progress = [&](std::string_view what, double done) { progress.show(what, done); };
  const std::vector<OperandSource> sources = sources_for(arguments, progress);

  std::string text;
  LineChart chart;
  if (arguments.show == "products") {
    const auto rows = study_products(arithmetics, sources, options);
    text = arguments.result.json  ? products_json(rows, options)
           : arguments.result.csv ? products_csv(rows)
                                  : products_table(rows, options);
  } else if (arguments.show == "codes") {
    const auto rows = study_codes(arithmetics, sources, options);
    text = arguments.result.json  ? products_json(rows, options)
           : arguments.result.csv ? products_csv(rows)
                                  : codes_table(rows);
  } else if (arguments.show == "dots") {
    const auto rows = study_dots(arithmetics, sources, options);
    text = arguments.result.json  ? dots_json(rows)
           : arguments.result.csv ? dots_csv(rows)
                                  : dots_table(rows);
    chart = dots_chart(rows);
  } else {
    const auto rows = study_offsets(sources, options);
    text = arguments.result.json  ? offsets_json(rows, options)
           : arguments.result.csv ? offsets_csv(rows)
                                  : offsets_table(rows, options);
    if (plot) {
      chart = offsets_chart(rows, study_products(arithmetics, sources, options));
    }
  }
  progress.clear();
  output.write(text);
  if (plot) plot->write(chart.svg());
}

}  // namespace

void add_error(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "error", "How wrong products and sums are, by formula, enumeration, sampling or on a model");
  auto arguments = std::make_shared<ErrorArguments>();
  CLI::Option* model =
      command->add_option("model", arguments->model, "a GGUF file whose own operands are taken")
          ->type_name("MODEL.gguf");
  command->add_option("--text", arguments->text, "what the model reads meanwhile")
      ->type_name("FILE");
  add_arithmetics(*command, arguments->arithmetics, "arithmetics");
  command->add_option("--operands", arguments->laws, "laws to draw operands from, without a model")
      ->type_name("LIST")
      ->excludes(model)
      ->capture_default_str();
  command
      ->add_option(
          "--show", arguments->show,
          "products; codes (the multiplier's own error, all pairs of at most 8 bits each); "
          "dots (sums of products); or offsets (which constant L-Mul should add)")
      ->check(CLI::IsMember({"products", "codes", "dots", "offsets"}))
      ->capture_default_str();
  command->add_option("--by", arguments->by, "a model's operands by role or by matmul")
      ->check(CLI::IsMember({"role", "matmul"}))
      ->capture_default_str();
  command->add_option("--lengths", arguments->lengths, "of drawn dot products")
      ->delimiter(',')
      ->type_name("N,...");
  command->add_option("--keep", arguments->options.kept_bits, "mantissa bits, for offsets")
      ->delimiter(',')
      ->type_name("K,...")
      ->capture_default_str();
  command->add_option("--reading", arguments->reading, "of L-Mul, for offsets")
      ->check(CLI::IsMember({"adder", "formula"}))
      ->capture_default_str();
  command->add_option("--rounding", arguments->rounding, "of L-Mul's operands, for offsets")
      ->check(CLI::IsMember({"rtz", "rne"}))
      ->capture_default_str();
  command->add_option("--pairs", arguments->options.pairs, "drawn from a law")
      ->capture_default_str();
  command
      ->add_option("--source-bits", arguments->options.source_bits,
                   "mantissa bits of the operands that are enumerated")
      ->capture_default_str();
  command->add_option("--seed", arguments->options.seed, "of what is drawn")
      ->check([](const std::string& text) {
        uint64_t seed = 0;
        const char* const end = text.data() + text.size();
        const auto [at, error] = std::from_chars(text.data(), end, seed);
        const bool is_whole = error == std::errc{} && at == end;
        return is_whole ? "" : text + " is no whole number from 0 to 18446744073709551615";
      })
      ->capture_default_str();
  command->add_option("-c,--ctx", arguments->capture.context.context, "tokens a chunk")
      ->capture_default_str();
  command->add_option("--chunks", arguments->capture.chunks, "chunks of the text")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  command
      ->add_option("--blocks", arguments->capture.blocks,
                   "samples of each matrix multiplication, of 4 rows by 16")
      ->check(CLI::Range(2, 4096))
      ->capture_default_str();
  add_threads(*command, arguments->options.threads);
  add_result(*command, arguments->result);
  command->add_option("--svg", arguments->svg, "also draw dots or offsets")->type_name("FILE");
  command->footer(
      "Examples:\n"
      "  napier error --arith lmul-m4,lmul-m4-rne,fp8_e4m3 --operands mantissa,gaussian\n"
      "  napier error --show codes --arith 'x=int8/w=int8/mul=table(file=products.txt)'\n"
      "  napier error --show dots --arith lmul-m4,lmul-m4/acc=bf16 --operands gaussian\n"
      "  napier error MODEL.gguf --text FILE --show offsets --svg offsets.svg");
  command->callback([arguments, command] {
    if (arguments->show == "codes") {
      if (command->count("--arith") == 0) arguments->arithmetics = k_narrow_arithmetics;
      if (command->count("--operands") == 0) arguments->laws = k_code_laws;
    }
    run_error(*arguments);
  });
}

}  // namespace napier::cli
