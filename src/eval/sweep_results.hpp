// What a sweep's database says. docs/sweep.md has its schema.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "eval/sweep_source.hpp"

namespace napier {

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

    auto place() const { return std::tuple(model, source, subject, std::string_view(metric)); }
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
  std::vector<Named> more_files;                 // what tasks read besides: path and hash
  std::vector<Value> values;                     // by their places
  std::vector<Flip> flips;

  // NaN if there is none.
  double value(size_t model, size_t source, size_t subject, std::string_view metric) const;
  // Of a task: the names of its two measures of accuracy.
  std::array<std::string, 2> measures(size_t model, size_t source) const;
};
SweepResults read_sweep_results(const std::string& path);

// Throws Error (environment), naming the place, if a perplexity is no finite number, or a question
// has no answer for logits that are none.
void require_finite(const SweepResults& results);

}  // namespace napier
