#include "eval/workload.hpp"

#include <algorithm>
#include <iterator>

#include "eval/workloads/drawing.hpp"
#include "napier/error.hpp"
#include "numerics/cursor.hpp"

namespace napier {

std::span<const Workload> workloads() {
  static const std::vector<Workload> all = [] {
    std::vector<Workload> result;
    for (const auto& family :
         {teaching_arithmetic, teaching_functions, small_arithmetic, dissecting_multiplication,
          chain_of_thought, linear_equations, positional_description, number_cookbook}) {
      std::ranges::move(family(), std::back_inserter(result));
    }
    return result;
  }();
  return all;
}

const Workload& find_workload(std::string_view name) {
  const auto all = workloads();
  const auto found =
      std::find_if(all.begin(), all.end(), [&](const Workload& w) { return w.name == name; });
  if (found != all.end()) return *found;
  std::vector<std::string> known;
  for (const Workload& w : all) {
    if (w.listed) known.push_back(w.name);
  }
  const std::string hint = suggestion(name, known);
  throw Error("there is no workload '" + std::string(name) + "'" +
              (hint.empty() ? "; napier tasks --list names them" : hint));
}

WorkloadRequest read_workload_request(const std::string& request) {
  const size_t equals = std::min(request.find('='), request.size());
  const std::string seed = equals == request.size() ? "0" : request.substr(equals + 1);
  if (seed.empty() || seed.size() > 18 || seed.find_first_not_of("0123456789") != seed.npos) {
    throw Error("'" + request + "': the seed after '=' must be a number from 0 on");
  }
  const size_t begin = k_workload_prefix.size();
  return {&find_workload(request.substr(begin, equals - begin)), std::stoull(seed)};
}

}  // namespace napier
