// Any bytes are documents of JSON lines, or an Error that names the file and the line; parts of a
// text between separators are parts of it.
#include <cstdlib>
#include <string>
#include <string_view>

#include "eval/documents.hpp"
#include "napier/error.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    for (const std::string& one : napier::read_jsonl_documents(text, "text", "file")) {
      if (one.empty()) std::abort();
    }
  } catch (const napier::Error& error) {
    if (!std::string_view(error.what()).starts_with("file: line ")) std::abort();
  }
  size_t sum = 0;
  for (const std::string& one : napier::split_documents(text, "\n\n")) {
    if (text.find(one) == text.npos) std::abort();
    sum += one.size();
  }
  if (sum > size) std::abort();
  return 0;
}
