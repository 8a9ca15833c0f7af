// napier: parses the command line, runs a subcommand, turns what it throws into an exit code.
#include <fmt/format.h>
#include <ggml.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <exception>
#include <new>
#include <string>
#include <vector>

#include "cli/command.hpp"
#include "napier/error.hpp"
#include "numerics/cursor.hpp"

namespace {

using napier::cli::ExitCode;

int fail(ExitCode code, const std::string& sentence) {
  std::fprintf(stderr, "napier: %s\n", sentence.c_str());  // no exception where stderr is closed
  return code;
}

// ggml would abort after this returns.
[[noreturn]] void on_ggml_abort(const char* message) {
  std::fprintf(stderr, "napier: llama.cpp gave up: %s\n", message);
  _exit(ExitCode::failed);
}

std::vector<CLI::App*> subcommands_of(CLI::App& app) {
  return app.get_subcommands([](const CLI::App*) { return true; });
}

// An empty value is a slip, such as an unset variable of a script: never the same as no option.
void refuse_empty_values(CLI::App& app) {
  for (CLI::Option* option : app.get_options()) {
    if (option->get_items_expected_max() == 0) continue;  // a flag
    option->check([](const std::string& text) { return text.empty() ? "the value is empty" : ""; });
  }
  for (CLI::App* command : subcommands_of(app)) refuse_empty_values(*command);
}

int run(int argc, char** argv) {
  CLI::App app(
      "Real language models under any arithmetic: what happens to a model when the machine "
      "computes\n"
      "with other numbers. Exit codes: 0 ok, 2 the request or an input is wrong, 1 anything else.",
      "napier");
  app.set_version_flag("--version", "napier " NAPIER_VERSION);
  app.set_help_flag("-h,--help", "Print this help");
  app.require_subcommand(0, 1);
  app.failure_message([](const CLI::App* top, const CLI::Error& error) {
    std::string command = "napier";
    for (auto chosen = top->get_subcommands(); !chosen.empty();
         chosen = chosen[0]->get_subcommands()) {
      command += " " + chosen[0]->get_name();
    }
    return fmt::format("napier: {} (see {} --help)\n", error.what(), command);
  });
  app.footer("Example: napier eval MODEL.gguf --text FILE --arith bf16,fp8_e4m3,lmul-m4");
  napier::cli::add_eval(app);
  napier::cli::add_where(app);
  napier::cli::add_quantize(app);
  napier::cli::add_law(app);
  napier::cli::add_tasks(app);
  napier::cli::add_sweep(app);
  napier::cli::add_report(app);
  napier::cli::add_run(app);
  napier::cli::add_sample(app);
  napier::cli::add_explain(app);
  napier::cli::add_formats(app);
  napier::cli::add_bench(app);
  napier::cli::add_league(app);
  napier::cli::add_error(app);
  napier::cli::add_cost(app);
  napier::cli::add_hw(app);
  napier::cli::add_train(app);
  refuse_empty_values(app);
  std::vector<std::string> names;
  for (const CLI::App* command : subcommands_of(app)) names.push_back(command->get_name());
  const std::string word = argc > 1 ? argv[1] : "-";
  if (!word.starts_with('-') && std::find(names.begin(), names.end(), word) == names.end()) {
    const std::string hint = napier::suggestion(word, names);
    return fail(ExitCode::wrong_input,
                fmt::format("'{}' is no subcommand{}", word,
                            hint.empty() ? "; there are " + napier::alternatives(names) : hint));
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? ExitCode::ok : ExitCode::wrong_input;
  }
  if (app.get_subcommands().empty()) {
    return fail(ExitCode::wrong_input,
                fmt::format("a subcommand is needed: one of {}", fmt::join(names, ", ")));
  }
  return ExitCode::ok;
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);  // a closed pipe is a write that fails
  std::signal(SIGXFSZ, SIG_IGN);  // so is a file that grows beyond a limit
  ggml_set_abort_callback(on_ggml_abort);
  try {
    const int code = run(argc, argv);
    if (std::fflush(stdout) != 0) return fail(ExitCode::failed, "stdout cannot be written to");
    return code;
  } catch (const napier::Error& error) {
    return fail(error.blame() == napier::Blame::input ? ExitCode::wrong_input : ExitCode::failed,
                error.what());
  } catch (const std::bad_alloc&) {
    return fail(ExitCode::failed, "memory ran out");
  } catch (const std::exception& error) {
    return fail(ExitCode::failed, error.what());
  }
}
