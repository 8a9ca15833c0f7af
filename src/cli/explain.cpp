// napier explain: an arithmetic in words and on two numbers.
#include <fmt/format.h>

#include <memory>
#include <string>

#include "cli/command.hpp"
#include "napier/error.hpp"
#include "napier/plan.hpp"
#include "report/explanation.hpp"

namespace napier::cli {
namespace {

struct ExplainArguments {
  std::string arithmetic;
  float x = 1.7f;
  float w = -0.3f;
  bool json = false;
};

}  // namespace

void add_explain(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("explain", "What an arithmetic does to two numbers, bit by bit");
  auto arguments = std::make_shared<ExplainArguments>();
  command
      ->add_option("arith", arguments->arithmetic,
                   "a preset or a written form, and perhaps 'with' treatments")
      ->required()
      ->type_name("ARITH");
  command->add_option("--x", arguments->x, "the activation")->capture_default_str();
  command->add_option("--w", arguments->w, "the weight")->capture_default_str();
  command->add_flag("--json", arguments->json, "print JSON");
  command->footer(
      "Examples:\n  napier explain lmul-m4 --x 1.7 --w -0.3\n"
      "  napier explain 'int8 with outliers(6,f16)'");
  command->callback([arguments] {
    const Plan plan = parse_plan(arguments->arithmetic);
    if (plan.rules.size() != 1 || plan.rules[0].pattern != "*") {
      throw Error("explain takes one arithmetic, and treatments with it, but no rules of a plan");
    }
    const Rule& rule = plan.rules[0];
    if (arguments->json && !rule.treatments.empty()) {
      throw Error("treatments are explained to people alone: leave out --json");
    }
    const auto text = arguments->json ? explanation_json : explanation;
    fmt::print("{}{}", text(rule.arithmetic, arguments->x, arguments->w),
               treatments_explanation(rule.treatments));
  });
}

}  // namespace napier::cli
