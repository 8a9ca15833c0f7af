#include "eval/passages.hpp"

#include <algorithm>
#include <utility>

#include "napier/error.hpp"
#include "numerics/input_file.hpp"

namespace napier {
namespace {

size_t bytes_of(const Model& model, std::span<const Token> tokens) {
  size_t bytes = 0;
  for (const Token token : tokens) bytes += model.piece(token).size();
  return bytes;
}

}  // namespace

std::string read_text(const std::string& path) {
  std::string text = read_input_file(path, "the text");
  if (text.ends_with('\n')) text.pop_back();  // as llama.cpp reads a prompt from a file
  if (text.empty()) throw Error(path + ": the text is empty");
  if (const size_t zero = text.find('\0'); zero != text.npos) {
    throw Error(path + ": is no text: byte " + std::to_string(zero + 1) + " is 0");
  }
  return text;
}

int count_chunks(size_t tokens, int context, int chunks) {
  const size_t chunk = static_cast<size_t>(context);
  const size_t available = tokens / chunk;
  if (available == 0) {
    throw Error("the text is too short: it has " + std::to_string(tokens) +
                " tokens, one chunk needs " + std::to_string(chunk) +
                "; give a longer text or a shorter context");
  }
  const size_t wanted = static_cast<size_t>(chunks);
  if (wanted > available) {
    throw Error("the text has " + std::to_string(tokens) + " tokens, " + std::to_string(available) +
                " chunks of " + std::to_string(chunk) + "; " + std::to_string(wanted) +
                " chunks need " + std::to_string(wanted * chunk));
  }
  return static_cast<int>(wanted == 0 ? available : wanted);
}

std::vector<Passage> chunk_passages(const Model& model, std::string_view text, int context,
                                    int chunks) {
  const std::vector<Token> tokens = model.tokenise(text, true, false);
  const auto length = static_cast<size_t>(context);
  const auto count = static_cast<size_t>(count_chunks(tokens.size(), context, chunks));
  std::vector<Passage> passages;
  for (size_t i = 0; i < count; ++i) {
    const auto begin = tokens.begin() + static_cast<ptrdiff_t>(i * length);
    Passage passage;
    passage.tokens.assign(begin, begin + context);
    if (model.adds_bos()) passage.tokens[0] = model.bos();
    passage.given = length / 2 + 1;
    passage.unit = i;
    passage.bytes = bytes_of(model, std::span(passage.tokens).subspan(passage.given));
    passages.push_back(std::move(passage));
  }
  return passages;
}

std::vector<Passage> document_passages(const Model& model, std::span<const std::string> documents,
                                       int context, int limit) {
  const auto length = static_cast<size_t>(context);
  const size_t wanted = limit == 0 ? documents.size() : static_cast<size_t>(limit);
  if (wanted > documents.size()) {
    throw Error("the text has " + std::to_string(documents.size()) + " documents, not " +
                std::to_string(wanted));
  }
  std::vector<Passage> passages;
  for (size_t unit = 0; unit < wanted; ++unit) {
    std::vector<Token> tokens = model.tokenise(documents[unit], false, false);
    const size_t first = passages.size();
    size_t bytes = documents[unit].size();
    if (model.adds_bos()) {
      tokens.insert(tokens.begin(), model.bos());
    } else if (!tokens.empty()) {
      bytes -= std::min(bytes, model.piece(tokens[0]).size());
    }
    // Every token but the first is scored once: windows share a token, or begin with BOS anew.
    for (size_t begin = 1; begin < tokens.size(); begin += length - 1) {
      Passage passage;
      passage.tokens.push_back(model.adds_bos() ? model.bos() : tokens[begin - 1]);
      const size_t end = std::min(tokens.size(), begin + length - 1);
      passage.tokens.insert(passage.tokens.end(), tokens.begin() + static_cast<ptrdiff_t>(begin),
                            tokens.begin() + static_cast<ptrdiff_t>(end));
      passage.unit = unit;
      passages.push_back(std::move(passage));
    }
    if (passages.size() > first) passages[first].bytes = bytes;
  }
  if (passages.empty()) throw Error("the text has no document with a token to score");
  return passages;
}

}  // namespace napier
