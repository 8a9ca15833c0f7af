// napier explain: an arithmetic in words and on two numbers.
#include <fmt/format.h>

#include <memory>
#include <string>

#include "cli/command.hpp"
#include "napier/arithmetic.hpp"
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
  command->add_option("arith", arguments->arithmetic, "a preset or a written form")
      ->required()
      ->type_name("ARITH");
  command->add_option("--x", arguments->x, "the activation")->capture_default_str();
  command->add_option("--w", arguments->w, "the weight")->capture_default_str();
  command->add_flag("--json", arguments->json, "print JSON");
  command->footer("Example: napier explain lmul-m4 --x 1.7 --w -0.3");
  command->callback([arguments] {
    const auto text = arguments->json ? explanation_json : explanation;
    fmt::print("{}", text(parse_arithmetic(arguments->arithmetic), arguments->x, arguments->w));
  });
}

}  // namespace napier::cli
