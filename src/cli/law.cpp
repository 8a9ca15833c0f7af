// napier law: the scaling law of floating-point training.
#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "cli/command.hpp"
#include "napier/arithmetic.hpp"
#include "napier/error.hpp"
#include "report/law_report.hpp"

namespace napier::cli {
namespace {

struct LawArguments {
  std::string parameters = "1e9";
  std::string tokens = "1e11";
  double block = 128;
  std::vector<std::string> layouts = {"e8m7", "e4m3", "e3m2", "e2m1", "e1m1"};
  bool json = false;
};

// "679M", "1.2B", "100e9".
double count_of(const std::string& text, const std::string& option) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const std::string unit(end, text.data() + text.size());
  const double factor = unit == "K"    ? 1e3
                        : unit == "M"  ? 1e6
                        : unit == "B"  ? 1e9
                        : unit == "T"  ? 1e12
                        : unit.empty() ? 1
                                       : 0;
  if (error != std::errc{} || factor == 0 || !(value > 0) || !std::isfinite(value * factor)) {
    throw Error(option + ": '" + text + "' is no number such as 1e9, 679M, 1.2B or 4T");
  }
  return value * factor;
}

FloatLayout layout_of(const std::string& text) {
  const Format format = parse_arithmetic("x=" + text).x.cast.format;
  if (!format.is_float() || format.exponent_bits == 0 || format.mantissa_bits == 0) {
    throw Error("--layouts: '" + text + "' has no exponent and mantissa: say e4m3");
  }
  return {format.exponent_bits, format.mantissa_bits};
}

void run_law(const LawArguments& arguments) {
  TrainingSetting setting;
  setting.parameters = count_of(arguments.parameters, "--parameters");
  setting.tokens = count_of(arguments.tokens, "--tokens");
  setting.block = arguments.block;
  if (!(setting.block >= 2 && std::isfinite(setting.block))) {
    throw Error("--block: at least 2 elements share a scale");
  }
  std::vector<FloatLayout> layouts;
  for (const std::string& text : arguments.layouts) layouts.push_back(layout_of(text));
  fmt::print("{}", arguments.json ? law_json(setting, layouts) : law_table(setting, layouts));
}

}  // namespace

void add_law(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "law", "What training in a floating-point format loses, by a published scaling law");
  auto arguments = std::make_shared<LawArguments>();
  command->add_option("-n,--parameters", arguments->parameters, "of the model, as 679M")
      ->capture_default_str();
  command->add_option("-d,--tokens", arguments->tokens, "that it is trained on, as 100B")
      ->capture_default_str();
  command->add_option("--block", arguments->block, "elements that share a scale")
      ->capture_default_str();
  command->add_option("--layouts", arguments->layouts, "formats")
      ->delimiter(',')
      ->capture_default_str();
  command->add_flag("--json", arguments->json, "print JSON, figures in full");
  command->footer("Example:\n  napier law --parameters 1B --tokens 2T --layouts e8m7,e4m3,e2m1");
  command->callback([arguments] { run_law(*arguments); });
}

}  // namespace napier::cli
