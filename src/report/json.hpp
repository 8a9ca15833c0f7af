// What the JSON of several commands shares.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "eval/evaluation.hpp"

namespace napier {

using Json = nlohmann::ordered_json;

// Indented, with a newline at the end. Paths need not be UTF-8: what is not is replaced.
inline std::string json_text(const Json& document) {
  return document.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

// "arith", "plan" and every metric.
Json result_json(const Result& result);

}  // namespace napier
