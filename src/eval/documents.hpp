// A text that holds several documents.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace napier {

// The parts of a text between separators, without white space at their ends; empty ones are left
// out.
std::vector<std::string> split_documents(std::string_view text, std::string_view separator);

// One JSON object a line, whose member `field` is the document. Empty lines and documents are left
// out. Throws Error that names `path` and the line.
std::vector<std::string> read_jsonl_documents(std::string_view text, std::string_view field,
                                              const std::string& path);

}  // namespace napier
