#include "eval/sweep_source.hpp"

#include <nlohmann/json.hpp>

#include "napier/error.hpp"

namespace napier {

using nlohmann::json;

std::vector<SweepSource> sources_of_identity(const std::string& identity) {
  try {
    const json document = json::parse(identity);
    std::vector<SweepSource> sources;
    for (const json& s : document.at("sources")) {
      sources.push_back({s.at(0), s.at(1), s.at(2), s.at(3), s.at(4), s.at(5), s.at(6), s.at(7)});
    }
    return sources;
  } catch (const json::exception& error) {
    throw Error(std::string("the sweep's identity cannot be read: ") + error.what());
  }
}

}  // namespace napier
