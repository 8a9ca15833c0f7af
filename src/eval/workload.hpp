// Arithmetic as text, for models of characters: samples to train on, questions to ask.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "eval/number_match.hpp"

namespace napier {

// A sample is prompt and answer, one after the other; the answer ends with its workload's stop.
struct Sample {
  std::string prompt;
  std::string answer;
  int length = 0;  // digits, terms: by which results are told apart

  bool operator==(const Sample&) const = default;
};

enum class Part : uint8_t { train, test };

// A line of a table in workloads/.
struct Workload {
  std::string name;
  std::string summary;  // with its source
  std::string stop;
  int max_tokens = 0;  // of an answer, in characters
  // `count` samples in an order of their own. Operands of the one part never come up in the other,
  // but for those of one digit where there are too few. A function of its arguments.
  std::function<std::vector<Sample>(Part part, int count, uint64_t seed)> make;
  Notation notation = Notation::integer;  // of the result
  // The result is what follows the last of these in an answer; "": the number at its beginning.
  std::string result_after = "\n";
  std::vector<int> groups = {};         // of lengths, by their last; empty: each length is one
  std::vector<double> tolerances = {};  // a decimal result this near is counted, too
  bool listed = true;                   // else named in another's summary
};
std::span<const Workload> workloads();

// Throws Error that says where those there are are listed.
const Workload& find_workload(std::string_view name);

// "arithmetic/WORKLOAD" or, with another seed than 0, "arithmetic/WORKLOAD=SEED": its questions.
inline constexpr std::string_view k_workload_prefix = "arithmetic/";
struct WorkloadRequest {
  const Workload* workload = nullptr;
  uint64_t seed = 0;
};
// Throws Error where it begins so and is none.
WorkloadRequest read_workload_request(const std::string& request);

}  // namespace napier
