// What the subcommands share.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "eval/evaluation.hpp"
#include "recipes/quantize.hpp"

namespace napier::cli {

// Each adds its subcommand to `app`; what it parses into lives as long as `app`. To run it is the
// subcommand's callback; it throws napier::Error.
void add_eval(CLI::App& app);
void add_where(CLI::App& app);
void add_quantize(CLI::App& app);
void add_law(CLI::App& app);
void add_tasks(CLI::App& app);
void add_sweep(CLI::App& app);
void add_report(CLI::App& app);
void add_run(CLI::App& app);
void add_sample(CLI::App& app);
void add_explain(CLI::App& app);
void add_formats(CLI::App& app);
void add_bench(CLI::App& app);
void add_league(CLI::App& app);
void add_error(CLI::App& app);
void add_cost(CLI::App& app);
void add_hw(CLI::App& app);
void add_train(CLI::App& app);

// Exit codes of every subcommand.
enum ExitCode : int { ok = 0, failed = 1, wrong_input = 2 };

// What --arith and --plan name: arithmetics, each for every matrix multiplication, then plans.
// Throws Error if that is nothing.
std::vector<Recipe> recipes_of(const std::string& arithmetics,
                               const std::vector<std::string>& plans);
// With what was computed for this model. Throws Error where it is not there.
std::vector<Subject> subjects_of(const std::vector<Recipe>& recipes, const std::string& model);

// The files that a command reads and writes, so that none is lost by writing another.
class Files {
 public:
  // Arguments that may be paths: what is the name of no file is none.
  void read(const std::string& path);
  void read(const std::vector<std::string>& paths);
  void read(const Plan& plan);
  void read(const std::vector<Subject>& subjects);
  void read(const std::vector<Recipe>& recipes);

  // Throws Error if the file at `path` is read, is written already, or is a model.
  void write(const std::string& path);

 private:
  std::vector<std::string> read_, written_;
};

// Throws Error unless what quantize() is asked for can begin: before threads are started.
void check_quantize(const std::string& model, const Recipe& recipe, const QuantizeOptions& options,
                    Files& files);

// Of these those that have to be computed for the model and are not yet, each once. Throws Error
// where there is no text to calibrate on, and where one could not begin, as check_quantize().
std::vector<const Recipe*> recipes_to_compute(const std::vector<Recipe>& recipes,
                                              const std::string& model,
                                              const QuantizeOptions& options, Files& files);

// Where a result goes: a file, replaced as a whole when the result is there, or stdout.
class Output {
 public:
  // Throws Error at once if a file at `path` could not be written, or as Files::write(). An empty
  // path is stdout.
  Output(std::string path, Files& files);
  ~Output();
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;

  void write(std::string_view text);

 private:
  void make_temporary();
  void drop_temporary();

  std::string path_;
  std::string temporary_;  // beside it; empty once it has become the file
  unsigned mode_ = 0;      // of the file, as it was or as new files are
  int file_ = -1;
};

// How a result is printed, and where.
struct ResultArguments {
  bool json = false;
  bool csv = false;
  std::string output;
};

// Options that several subcommands have, declared once.
void add_model(CLI::App& command, std::string& model);
void add_arithmetics(
    CLI::App& command, std::string& arithmetics,
    const std::string& summary = "arithmetics, each for every matrix multiplication");
void add_plans(CLI::App& command, std::vector<std::string>& plans);
void add_context(CLI::App& command, int& context);
void add_chunks(CLI::App& command, int& chunks, const std::string& summary);
// At most four a core; as many as cores unless `unless_given` says otherwise.
void add_threads(CLI::App& command, int& threads, std::optional<int> unless_given = {});
void add_cache(CLI::App& command, std::string& cache);
void add_result(CLI::App& command, ResultArguments& result,
                const std::string& json_summary = "print JSON, figures in full",
                const std::string& csv_summary = "print CSV");

// One line on stderr that is written over; nothing where stderr is no terminal.
class ProgressLine {
 public:
  ProgressLine();
  ~ProgressLine();
  // `estimates`: says how many seconds are left, too.
  void show(std::string_view what, double done, bool estimates = true);
  void clear();

 private:
  bool terminal_;
  double started_;
  double shown_ = -1;
};

// "napier: warning: ..." on stderr.
void warn(const std::string& sentence);

}  // namespace napier::cli
