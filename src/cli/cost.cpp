// napier cost: operations, bytes and energy of a model's token.
#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "cli/command.hpp"
#include "cost/model_cost.hpp"
#include "napier/error.hpp"
#include "recipes/quantize.hpp"
#include "report/cost_report.hpp"

namespace napier::cli {
namespace {

struct CostArguments {
  std::string model;
  std::string arithmetics = "f32,bf16,fp8_e4m3,fp8_e5m2,lmul-m4,lmul-m3,lmul-e4m3";
  std::vector<std::string> plans;
  std::string prices{k_default_prices};
  bool names_prices = false;
  std::string free;
  std::string show = "energy";
  int64_t context = 4096;
  CostOptions options;
  ResultArguments result;
};

std::string energy_report(CostArguments& arguments) {
  if (arguments.context < 1 || arguments.context > 1 << 24) {
    throw Error("--ctx: " + std::to_string(arguments.context) +
                " tokens: give 1 to 16777216, the token itself included");
  }
  if (!arguments.free.empty()) {
    for (const std::string& name : split_list(arguments.free, "an operation")) {
      const auto operation = parse_operation(name);
      if (!operation || *operation == Operation::step) {
        throw Error(
            "--free: '" + name +
            "' is no operation: give multiply, add, convert, requantise, dram, sram or register");
      }
      arguments.options.free.insert(*operation);
    }
  }
  arguments.options.check();
  const Prices prices(arguments.prices);
  CostStudy study{shape_of_model(arguments.model, arguments.context),
                  arguments.context,
                  arguments.options,
                  {},
                  {}};
  for (const Recipe& recipe : recipes_of(arguments.arithmetics, arguments.plans)) {
    if (recipe.is_computed() && !std::filesystem::exists(arguments.model)) {
      throw Error("recipe '" + recipe.name + "' is computed for each model, and '" +
                  arguments.model + "' is a shape: give a GGUF file");
    }
    study.names.push_back(recipe.display_name());
    study.costs.push_back(
        cost_of(study.shape, plan_for(recipe, arguments.model), prices, arguments.options));
  }
  return arguments.result.json  ? cost_json(study)
         : arguments.result.csv ? cost_csv(study)
                                : cost_table(study, arguments.show == "roles");
}

void run_cost(CostArguments& arguments) {
  Files files;
  files.read(arguments.plans);
  files.read(arguments.model);
  for (const std::string& prices : split_list(arguments.prices, "a table of prices"))
    files.read(prices);
  Output output(arguments.result.output, files);
  if (arguments.result.csv && (arguments.show == "prices" || arguments.show == "gates")) {
    throw Error("--csv: is of energy and roles; give --json");
  }
  if (arguments.show == "prices") {
    const Prices named(arguments.prices);
    const auto tables = arguments.names_prices ? named.tables() : price_tables();
    output.write(arguments.result.json ? prices_json(tables) : prices_table(tables));
  } else if (arguments.show == "gates") {
    output.write(arguments.result.json ? gates_json() : gates_table());
  } else {
    output.write(energy_report(arguments));
  }
}

}  // namespace

void add_cost(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "cost", "What a token of a model costs under arithmetics: operations, bytes, energy");
  auto arguments = std::make_shared<CostArguments>();
  command
      ->add_option("model", arguments->model,
                   "a GGUF file, or a shape: llama-3.1-8b, llama-3.1-70b, mistral-7b")
      ->type_name("MODEL");
  add_arithmetics(*command, arguments->arithmetics, "arithmetics; ratios are to the first");
  add_plans(*command, arguments->plans);
  command
      ->add_option("--prices", arguments->prices,
                   "tables of prices, asked in order: names, TOML files, or A@B, which scales A's "
                   "to B's f32")
      ->type_name("LIST")
      ->capture_default_str();
  command
      ->add_option(
          "--free", arguments->free,
          "operations to leave out: multiply, add, convert, requantise, dram, sram, register")
      ->type_name("LIST");
  command
      ->add_option(
          "--show", arguments->show,
          "energy, roles (the same by role), prices (all tables, or those of --prices), or "
          "gates (those of L-Mul's paper)")
      ->check(CLI::IsMember({"energy", "roles", "prices", "gates"}))
      ->capture_default_str();
  command->add_option("-c,--ctx", arguments->context, "tokens that attention looks back on")
      ->capture_default_str();
  command->add_option("--batch", arguments->options.batch, "sequences that share the weights read")
      ->capture_default_str();
  command
      ->add_option("--tile", arguments->options.tile,
                   "rows and columns that the matrix unit works on at a time")
      ->capture_default_str();
  add_result(*command, arguments->result, "print JSON, figures in full", "print CSV, by role");
  command->footer(
      "Examples:\n"
      "  napier cost llama-3.1-8b --arith f32,lmul-m4 --ctx 8192 --batch 16\n"
      "  napier cost MODEL.gguf --plan recipes/lmul-attention.toml --show roles\n"
      "  napier cost --show gates");
  command->callback([arguments, command] {
    arguments->names_prices = command->count("--prices") > 0;
    run_cost(*arguments);
  });
}

}  // namespace napier::cli
