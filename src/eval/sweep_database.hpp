// Where a sweep's results are kept, and read from. docs/sweep.md has the schema.
#pragma once

#include <set>
#include <span>
#include <string>
#include <vector>

#include "eval/sqlite.hpp"
#include "eval/sweep.hpp"

namespace napier {

// Written by one process at a time; readers may come at any moment. All of a unit is there, or
// nothing of it. Throws Error (environment) where writing fails.
class SweepDatabase {
 public:
  // Makes the file, or goes on with it. Throws Error if it holds another sweep, or the same one of
  // files that have changed since; (environment) if another process sweeps into it.
  SweepDatabase(const std::string& path, const SweepSpec& spec, const std::string& version);
  ~SweepDatabase();

  std::set<SweepUnit> done();
  void store(const UnitResult& result);
  // Computes the results of every model and source of which all units are done, if they are not
  // there yet.
  void finish(std::span<const SweepUnit> all);

 private:
  void create(const SweepSpec& spec, const std::string& identity, const std::string& version);

  int lock_ = -1;
  SqliteDatabase database_;
  const SweepSpec* spec_;
};

// All that a database says for reports.
struct SweepResults {
  struct Named {
    std::string name;  // of a model: its path
    std::string path;
    std::string detail;  // of a subject: its plan; of a source: its task, or nothing
    std::string hash;
  };
  struct Value {
    size_t model, source, subject;
    std::string metric;
    double value;
  };
  struct Flip {
    size_t model, source, subject;
    int64_t question;
    bool lost;  // else gained
    std::string before, after;
  };
  std::string version;
  size_t units_done = 0;
  std::vector<Named> models, sources, subjects;  // the first subject is the reference
  std::vector<SweepSource> source_settings;      // by source
  std::vector<Value> values;
  std::vector<Flip> flips;

  // NaN if there is none.
  double value(size_t model, size_t source, size_t subject, std::string_view metric) const;
};
SweepResults read_sweep_results(const std::string& path);

// Throws Error (environment), naming the place, if a perplexity is no finite number, or a question
// has no answer for logits that are none.
void require_finite(const SweepResults& results);

}  // namespace napier
