#include "train/vocabulary.hpp"

#include <gguf.h>
#include <llama.h>

#include <algorithm>
#include <cstdint>
#include <queue>
#include <set>

#include "napier/error.hpp"

namespace napier {
namespace {

constexpr std::string_view k_space = "\xE2\x96\x81";  // U+2581, SentencePiece's space

// Calls `take` with each character, and where it begins.
template <class Take>
void each_character(std::string_view text, Take take) {
  for (size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    size_t length = lead < 0x80 ? 1 : lead < 0xC0 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    bool sound = length > 0 && i + length <= text.size();
    for (size_t j = 1; sound && j < length; ++j) sound = (text[i + j] & 0xC0) == 0x80;
    if (!sound) length = 1;
    take(text.substr(i, length), i, sound);
    i += length;
  }
}

std::string place(const std::string& where, size_t offset) {
  return where + ", byte " + std::to_string(offset + 1);
}

}  // namespace

void Vocabulary::add(std::string piece, int type, float score) {
  if (type == LLAMA_TOKEN_TYPE_BYTE && first_byte_ < 0) first_byte_ = size();
  ids_.emplace(piece, size());
  pieces_.push_back(std::move(piece));
  types_.push_back(type);
  scores_.push_back(score);
}

Vocabulary Vocabulary::of_pieces(const SentencePieceModel& model) {
  Vocabulary result;
  for (const auto& piece : model.pieces) result.add(piece.text, piece.type, piece.score);
  result.unknown_ = model.unknown;
  result.begin_ = model.begin;
  result.end_ = model.end;
  result.merges_ = true;
  result.adds_space_ = model.adds_space;
  return result;
}

Vocabulary Vocabulary::of_bytes() {
  Vocabulary result;
  result.add("<unk>", LLAMA_TOKEN_TYPE_UNKNOWN);
  result.add("<s>", LLAMA_TOKEN_TYPE_CONTROL);
  result.add("</s>", LLAMA_TOKEN_TYPE_CONTROL);
  constexpr char digits[] = "0123456789ABCDEF";
  for (int byte = 0; byte < 256; ++byte) {
    result.add({'<', '0', 'x', digits[byte >> 4], digits[byte & 15], '>'}, LLAMA_TOKEN_TYPE_BYTE);
  }
  result.add(std::string(k_space), LLAMA_TOKEN_TYPE_NORMAL);
  return result;
}

Vocabulary Vocabulary::of_characters(std::string_view text, const std::string& where) {
  std::set<std::string_view> characters;
  each_character(text, [&](std::string_view character, size_t offset, bool sound) {
    if (!sound) throw Error(place(where, offset) + ": is no UTF-8; take tokenizer = \"bytes\"");
    if (character == k_space) {
      throw Error(place(where, offset) +
                  ": U+2581 stands for the space in the vocabulary; take tokenizer = \"bytes\"");
    }
    characters.insert(character == " " ? k_space : character);
  });
  Vocabulary result;
  result.add("<unk>", LLAMA_TOKEN_TYPE_UNKNOWN);
  result.add("<s>", LLAMA_TOKEN_TYPE_CONTROL);
  result.add("</s>", LLAMA_TOKEN_TYPE_CONTROL);
  for (const std::string_view c : characters) result.add(std::string(c), LLAMA_TOKEN_TYPE_NORMAL);
  return result;
}

// llama.cpp turns spaces first, then takes the length of a character from its first byte alone.
std::vector<int32_t> Vocabulary::tokenise(std::string_view text, const std::string& where) const {
  std::string turned;
  turned.reserve(text.size() + text.size() / 2);
  if (adds_space_ && !text.empty()) turned += k_space;
  for (const char c : text) {
    if (c == ' ') {
      turned += k_space;
    } else {
      turned += c;
    }
  }
  std::vector<int32_t> result;
  result.reserve(text.size());
  for (const std::string_view piece : merged(turned)) {
    const auto found = ids_.find(std::string(piece));
    if (found != ids_.end()) {
      result.push_back(found->second);
    } else if (first_byte_ >= 0) {
      for (const char c : piece) result.push_back(first_byte_ + static_cast<uint8_t>(c));
    } else {
      throw Error(where + ": the character '" + std::string(piece) + "' is not in the vocabulary");
    }
  }
  return result;
}

// Characters, then again and again the two neighbours that make the piece of the highest score, the
// leftmost of equals: byte-pair encoding as SentencePiece and llama.cpp do it.
std::vector<std::string_view> Vocabulary::merged(std::string_view text) const {
  std::vector<std::string_view> pieces;
  constexpr uint8_t lengths[] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 3, 4};
  for (size_t i = 0; i < text.size(); i += pieces.back().size()) {
    pieces.push_back(text.substr(i, lengths[static_cast<uint8_t>(text[i]) >> 4]));
  }
  if (!merges_) return pieces;

  struct Symbol {
    std::string_view text;  // empty: merged into the one before
    size_t before, after;
  };
  constexpr size_t k_none = SIZE_MAX;
  std::vector<Symbol> symbols;
  for (size_t i = 0; i < pieces.size(); ++i) {
    symbols.push_back({pieces[i], i == 0 ? k_none : i - 1, i + 1 < pieces.size() ? i + 1 : k_none});
  }
  struct Merge {
    float score;
    size_t left, right;
    size_t length;  // of both: else one of them has been merged since
    bool operator<(const Merge& other) const {
      return score != other.score ? score < other.score : left > other.left;
    }
  };
  std::priority_queue<Merge> merges;
  const auto propose = [&](size_t left, size_t right) {
    if (left == k_none || right == k_none) return;
    const size_t length = symbols[left].text.size() + symbols[right].text.size();
    const auto found = ids_.find(std::string(symbols[left].text.data(), length));
    if (found == ids_.end()) return;
    merges.push({scores_[static_cast<size_t>(found->second)], left, right, length});
  };
  for (size_t i = 1; i < symbols.size(); ++i) propose(i - 1, i);
  while (!merges.empty()) {
    const Merge merge = merges.top();
    merges.pop();
    Symbol& left = symbols[merge.left];
    Symbol& right = symbols[merge.right];
    if (left.text.empty() || right.text.empty() ||
        left.text.size() + right.text.size() != merge.length) {
      continue;
    }
    left.text = {left.text.data(), merge.length};
    right.text = {};
    left.after = right.after;
    if (right.after != k_none) symbols[right.after].before = merge.left;
    propose(left.before, merge.left);
    propose(merge.left, left.after);
  }
  pieces.clear();
  for (const Symbol& symbol : symbols) {
    if (!symbol.text.empty()) pieces.push_back(symbol.text);
  }
  return pieces;
}

void Vocabulary::write(gguf_context* file) const {
  std::vector<const char*> texts;
  for (const std::string& piece : pieces_) texts.push_back(piece.c_str());
  gguf_set_val_str(file, "tokenizer.ggml.model", "llama");
  gguf_set_arr_str(file, "tokenizer.ggml.tokens", texts.data(), texts.size());
  gguf_set_arr_data(file, "tokenizer.ggml.scores", GGUF_TYPE_FLOAT32, scores_.data(),
                    scores_.size());
  gguf_set_arr_data(file, "tokenizer.ggml.token_type", GGUF_TYPE_INT32, types_.data(),
                    types_.size());
  const auto id = [&](const char* key, int value) {
    if (value >= 0) gguf_set_val_u32(file, key, static_cast<uint32_t>(value));
  };
  id("tokenizer.ggml.unknown_token_id", unknown_);
  id("tokenizer.ggml.bos_token_id", begin_);
  id("tokenizer.ggml.eos_token_id", end_);
  gguf_set_val_bool(file, "tokenizer.ggml.add_bos_token", false);
  gguf_set_val_bool(file, "tokenizer.ggml.add_eos_token", false);
  gguf_set_val_bool(file, "tokenizer.ggml.add_space_prefix", adds_space_);
}

}  // namespace napier
