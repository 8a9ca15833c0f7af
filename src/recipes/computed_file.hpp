// The file beside a model that holds what a recipe computed for it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "napier/plan.hpp"
#include "recipes/statistics.hpp"

namespace napier {

// What a file was made from; all of it must agree for the file to be used, or gone on with.
struct ComputedFrom {
  std::string model;   // file_hash() of its bytes
  std::string recipe;  // Recipe::identity()
  std::string text;    // file_hash(), chunks and context; empty where no text is read

  bool operator==(const ComputedFrom&) const = default;
};

// "model.gguf" and "mobilequant" -> "model.gguf.mobilequant.napier".
std::string computed_path(const std::string& model, const std::string& recipe);

// SQLite. While it is made it stands beside its place as "....partial", every state of it whole on
// disk, so that what was cut off goes on; finish() gives it its name. Not thread safe. Throws Error
// that names the file.
class ComputedFile {
 public:
  // Goes on with a partial file of the same origin, else begins anew.
  static ComputedFile make(const std::string& path, const ComputedFrom& from);
  // A finished one. Throws Error if it is absent, damaged, or another model's or recipe's; the text
  // is not asked for.
  static ComputedFile open(const std::string& path, const ComputedFrom& wanted);
  ~ComputedFile();
  ComputedFile(ComputedFile&&) noexcept;

  int chunks_done() const;
  Statistics statistics() const;
  void save(const Statistics& statistics, int chunks_done);

  int steps_done() const;
  // A rule for each matrix, with its numbers.
  std::vector<Rule> rules() const;
  void save(const std::vector<Rule>& rules, int steps_done);
  // One rule, within step `steps_done` (counted from 0): rules_done() tells how many.
  void save_rule(size_t index, const Rule& rule);
  int rules_done() const;

  void finish();
  // Takes the partial file away; nothing but destruction may follow.
  void discard();

 private:
  struct State;
  explicit ComputedFile(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace napier
