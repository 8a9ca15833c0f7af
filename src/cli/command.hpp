// What the subcommands share.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "eval/evaluation.hpp"

namespace napier::cli {

// Each adds its subcommand to `app`; what it parses into lives as long as `app`. To run it is the
// subcommand's callback; it throws napier::Error.
void add_eval(CLI::App& app);
void add_where(CLI::App& app);
void add_tasks(CLI::App& app);
void add_sweep(CLI::App& app);
void add_report(CLI::App& app);
void add_run(CLI::App& app);
void add_explain(CLI::App& app);
void add_formats(CLI::App& app);
void add_bench(CLI::App& app);
void add_league(CLI::App& app);
void add_error(CLI::App& app);
void add_cost(CLI::App& app);
void add_hw(CLI::App& app);

// Exit codes of every subcommand.
enum ExitCode : int { ok = 0, failed = 1, wrong_input = 2 };

// The text of a file, without a newline at its end. Throws Error if it is not there or is empty.
std::string read_text(const std::string& path);

// What --arith and --plan name: arithmetics, each for every matrix multiplication, then plans.
// Throws Error if that is nothing.
std::vector<Subject> subjects_of(const std::string& arithmetics,
                                 const std::vector<std::string>& plans);

// Where a result goes: a file, replaced as a whole when the result is there, or stdout.
class Output {
 public:
  // Throws Error at once if a file at `path` could not be written, or is one of the files that are
  // read. An empty path is stdout.
  Output(std::string path, const std::vector<std::string>& read);
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

// One line on stderr that is written over; nothing where stderr is no terminal.
class ProgressLine {
 public:
  ProgressLine();
  ~ProgressLine();
  void show(std::string_view what, double done);
  void clear();

 private:
  bool terminal_;
  double started_;
  double shown_ = -1;
};

// "napier: warning: ..." on stderr.
void warn(const std::string& sentence);

}  // namespace napier::cli
