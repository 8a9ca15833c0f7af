// Where a sweep's results are kept. docs/sweep.md has the schema.
#pragma once

#include <map>
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
  // `hashes` are spec.hashes().
  SweepDatabase(const std::string& path, const SweepSpec& spec,
                const std::map<std::string, std::string>& hashes, const std::string& version);
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

}  // namespace napier
