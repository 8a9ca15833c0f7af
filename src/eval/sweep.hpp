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
  std::vector<SweepSource> sources;
  int threads = 2;

  // What the results depend on, threads not: the same text for the same sweep.
  std::string identity() const;
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

// "sha256:..." of a file's bytes, of a text's. The former throws Error.
std::string file_hash(const std::string& path);
std::string text_hash(const std::string& text);

}  // namespace napier
