// What models are swept over.
#pragma once

#include <string>
#include <vector>

#include "eval/workload.hpp"

namespace napier {

// A text or a task that every model is evaluated on.
struct SweepSource {
  std::string name;       // unique in the sweep
  std::string path;       // of tasks whose questions are made, the seed
  std::string task;       // the task's name; empty: a text
  int context = 512;      // tokens a passage; of tasks 0: as the model was trained
  int limit = 0;          // chunks, documents or questions; 0: all
  std::string jsonl;      // documents in this field of JSON lines
  std::string separator;  // or documents between separators
  int max_tokens = 0;     // of generated answers; 0: as the task says

  bool is_made() const { return task.starts_with(k_workload_prefix); }
  // A file, or where its questions are drawn.
  std::string place() const { return is_made() ? task + ", seed " + path : path; }
  bool documents() const { return !jsonl.empty() || !separator.empty(); }
};

// The sources that SweepSpec::identity() speaks of. Throws Error if it is none.
std::vector<SweepSource> sources_of_identity(const std::string& identity);

}  // namespace napier
