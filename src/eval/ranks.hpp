// Several processes at one sweep, through MPI where it is built in.
#pragma once

#include <functional>
#include <map>
#include <span>
#include <string>

#include "eval/sweep.hpp"

namespace napier {

// The processes that mpirun or srun started together; one alone where nothing did, or where Napier
// was built without MPI. One object a process, made before other threads are started. A process
// that ends without leaving its destructor takes the others with it.
class Ranks {
 public:
  Ranks();
  ~Ranks();
  Ranks(const Ranks&) = delete;
  Ranks& operator=(const Ranks&) = delete;

  // Which process this would be, from the environment, before any object is made.
  static int rank_in_environment();

  // Throws Error if processes were started together that could not learn of each other: by srun
  // without an MPI plugin of Slurm's, or of a Napier that was built without MPI.
  static void check_start();

  int rank() const { return rank_; }
  int count() const { return count_; }

  // Runs `own` on every rank. Where it throws, that rank throws on; the others wait for it to end
  // them all, and say nothing.
  void prepare(const std::function<void()>& own) const;

  // Throws Error on ranks whose sweep, files (`hashes` are spec.hashes()) or Napier are not the
  // first rank's: results of different ones would be mixed without a sign of it.
  void check_same(const SweepSpec& spec, const std::map<std::string, std::string>& hashes,
                  const std::string& version) const;

  // Ends all processes with this exit code.
  [[noreturn]] void abort(int code) const;

  // Hands units out as ranks get free, the first rank taking its share. `compute` runs on every
  // rank, in one thread of each at a time; `store` on the first one alone, in the calling thread.
  // Returns when all are stored; on other ranks than the first when there is no more to do.
  void share_out(std::span<const SweepUnit> units,
                 const std::function<UnitResult(const SweepUnit& unit)>& compute,
                 const std::function<void(const UnitResult& result)>& store);

 private:
  int rank_ = 0;
  int count_ = 1;
};

}  // namespace napier
