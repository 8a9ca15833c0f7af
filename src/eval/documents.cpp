#include "eval/documents.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "eval/trimmed.hpp"
#include "napier/error.hpp"

namespace napier {

std::vector<std::string> split_documents(std::string_view text, std::string_view separator) {
  if (separator.empty()) throw Error("an empty separator separates nothing");
  std::vector<std::string> documents;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(separator, begin), text.size());
    const std::string_view document = trimmed(text.substr(begin, end - begin));
    if (!document.empty()) documents.emplace_back(document);
    begin = end + separator.size();
  }
  return documents;
}

std::vector<std::string> read_jsonl_documents(std::string_view text, std::string_view field,
                                              const std::string& path) {
  std::vector<std::string> documents;
  size_t number = 0;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view line = trimmed(text.substr(begin, end - begin));
    begin = end + 1;
    ++number;
    if (line.empty()) continue;
    const auto wrong = [&](const std::string& what) {
      return Error(path + ": line " + std::to_string(number) + ": " + what);
    };
    const auto object = nlohmann::json::parse(line, nullptr, false);
    if (object.is_discarded()) throw wrong("is not JSON; each line must be one whole object");
    if (!object.is_object()) throw wrong("is not a JSON object");
    const auto found = object.find(field);
    if (found == object.end() || !found->is_string()) {
      throw wrong("has no text member '" + std::string(field) + "'");
    }
    std::string document = found->get<std::string>();
    if (!document.empty()) documents.push_back(std::move(document));
  }
  return documents;
}

}  // namespace napier
