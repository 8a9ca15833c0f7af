// Arithmetic as text, for models of characters: samples to train on, questions to ask.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace napier {

// A sample is prompt and answer, one after the other; the answer ends with its workload's stop.
struct Sample {
  std::string prompt;
  std::string answer;

  bool operator==(const Sample&) const = default;
};

enum class Part : uint8_t { train, test };

// A line of the registry in workload.cpp.
struct Workload {
  std::string_view name;
  std::string_view summary;  // with its source
  std::string_view stop;
  int max_tokens = 0;  // of an answer, in characters
  // `count` samples in an order of their own. Operands of the one part never come up in the other,
  // but for those of one digit, of which there are too few. A function of its arguments.
  std::vector<Sample> (*make)(Part part, int count, uint64_t seed);
};
std::span<const Workload> workloads();

// Throws Error that lists those there are.
const Workload& find_workload(std::string_view name);

}  // namespace napier
