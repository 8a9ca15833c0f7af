// Models by arithmetics by texts and tasks, in units small enough to lose.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "eval/evaluation.hpp"
#include "eval/passages.hpp"
#include "eval/sweep_source.hpp"
#include "eval/task_run.hpp"

namespace napier {

struct SweepSpec {
  std::vector<std::string> models;  // paths
  std::vector<Subject> subjects;
  // Of subjects that a recipe has computed for each model, by subject: a plan for each model, and
  // the files that hold these.
  std::map<size_t, std::vector<Plan>> computed;
  std::vector<std::string> computed_files;
  std::vector<SweepSource> sources;
  int threads = 2;

  std::vector<Subject> subjects_on(size_t model) const;

  // What the results depend on, threads not: the same text for the same sweep.
  std::string identity() const;
  // file_hash() of all models, texts and files of tasks, by path. Throws Error.
  std::map<std::string, std::string> hashes() const;
};

// Questions of a task that make one unit.
inline constexpr size_t k_questions_a_unit = 8;

// One passage of a text, or some questions of a task, under all subjects on one model.
struct SweepUnit {
  size_t model = 0;
  size_t source = 0;
  size_t number = 0;

  auto operator<=>(const SweepUnit&) const = default;
};

// What a unit gives, for the reference (first) and every subject.
struct UnitResult {
  SweepUnit unit;
  // Of a text: the document or chunk, tokens decoded, bytes scored, figures.
  size_t statistics_unit = 0;
  int64_t tokens = 0;
  int64_t bytes = 0;
  std::vector<TokenFigures> figures;
  std::vector<double> seconds;  // of decoding, by subject: not the same in every run
  // Of a task, by subject and question.
  std::vector<std::vector<Answer>> answers;
};

// To and from bytes (CBOR), to be sent between ranks. The latter throws Error.
std::vector<uint8_t> to_bytes(const UnitResult& result);
UnitResult unit_result_from(const std::vector<uint8_t>& bytes);

// Does the work. Holds one model at a time, and its contexts for one source. Not thread safe.
class SweepWorker {
 public:
  // `spec` must outlive it.
  explicit SweepWorker(const SweepSpec& spec);
  ~SweepWorker();

  // All units, in order. Loads every model once, to cut texts into its tokens.
  std::vector<SweepUnit> units();
  UnitResult run(const SweepUnit& unit);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// "sha256:..." of a file's bytes, read once a process as long as its size and time of change stay.
// Throws Error. That of a text. Thread safe.
std::string file_hash(const std::string& path);
std::string text_hash(const std::string& text);

// The questions that a source names. Throws Error.
Task task_of(const SweepSource& source);

}  // namespace napier
