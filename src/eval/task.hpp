// Benchmark tasks: files of questions turned into the prompts of lm-evaluation-harness.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "eval/number_match.hpp"

namespace napier {

// A continuation whose likelihood after a context is asked for.
struct Choice {
  std::string context;
  std::string continuation;
  size_t characters = 0;  // of the answer's text, by which a likelihood may be normalised
};

// One question: of several choices, or of a prompt to be gone on with.
struct Question {
  std::vector<Choice> choices;
  size_t right = 0;  // which choice
  std::string prompt;
  std::string answer;
  int length = 0;  // of a workload's numbers
};

// How the answer is found in what a model wrote.
enum class Extraction : uint8_t {
  none,      // multiple choice
  number,    // strict: after "The answer is "; flexible: the last number; compared as text
  value,     // the same, compared as numbers: a file may say 8.0 where a model says 8
  sentence,  // what follows "the answer is " in its line, but for its last character
  whole      // all of it; and its result, as NumberGrading says
};

// How a workload's results are read and told apart; see workload.hpp.
struct NumberGrading {
  Notation notation = Notation::none;
  std::string result_after = "\n";
  std::vector<int> groups = {};
  std::vector<double> tolerances = {};

  std::string result_of(std::string_view answer) const;
};

struct Task {
  std::string name;
  std::string path;
  Extraction extraction = Extraction::none;
  std::vector<std::string> stops;        // what ends a generated answer
  int max_tokens = 0;                    // of a generated answer
  std::optional<NumberGrading> grading;  // of Extraction::whole
  std::vector<Question> questions;

  bool is_choice() const { return extraction == Extraction::none; }
  // Of the two figures that a task has: "acc", "acc_norm"; "strict", "flexible"; "exact", "result".
  std::span<const char* const> measures() const;
};

// A line of the registry in task.cpp.
struct TaskKind {
  std::string_view name;
  std::string_view file;     // what its file looks like
  std::string_view summary;  // of the template, and whether the harness has it
  Task (*read)(const std::string& path);
  // The file that is read besides, by the path of the first; null: none.
  std::string (*second_file)(const std::string& path) = nullptr;
};
std::span<const TaskKind> task_kinds();

// All files that read_task("NAME=FILE") reads. A NAME that is no task reads FILE.
std::vector<std::string> files_of_task(std::string_view name, const std::string& file);

// The questions that arithmetic/WORKLOAD asks where no limit is set.
inline constexpr int k_workload_questions = 500;

// Reads "NAME=FILE", or makes the questions of "arithmetic/WORKLOAD" (see workload.hpp) or, with
// another seed, of "arithmetic/WORKLOAD=SEED"; the first `limit` of them (0: all). Throws Error
// that names the file, and the line or the number of the entry that is wrong.
//   read_task("piqa=piqa.test.json", 0)
Task read_task(const std::string& request, size_t limit);

// Worked examples before a question, as chain-of-thought prompting wants them.
struct WorkedExample {
  std::string_view question;
  std::string_view answer;
};
// The eight of Wei et al., "Chain-of-Thought Prompting", arXiv 2201.11903, table 20, as the harness
// words them.
std::span<const WorkedExample> arithmetic_examples();

}  // namespace napier
