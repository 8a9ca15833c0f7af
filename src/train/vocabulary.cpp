#include "train/vocabulary.hpp"

#include <gguf.h>
#include <llama.h>

#include <algorithm>
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

void Vocabulary::add(std::string piece, int type) {
  ids_.emplace(piece, size());
  pieces_.push_back(std::move(piece));
  types_.push_back(type);
}

Vocabulary Vocabulary::of_bytes() {
  Vocabulary result;
  result.bytes_ = true;
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
  for (const char c : text) {
    if (c == ' ') {
      turned += k_space;
    } else {
      turned += c;
    }
  }
  std::vector<int32_t> result;
  result.reserve(text.size());
  constexpr int32_t k_first_byte = 3;
  constexpr uint8_t lengths[] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 3, 4};
  for (size_t i = 0; i < turned.size();) {
    const std::string character = turned.substr(i, lengths[static_cast<uint8_t>(turned[i]) >> 4]);
    i += character.size();
    const auto found = ids_.find(character);
    if (found != ids_.end()) {
      result.push_back(found->second);
    } else if (bytes_) {
      for (const char c : character) result.push_back(k_first_byte + static_cast<uint8_t>(c));
    } else {
      throw Error(where + ": the character '" + character + "' is not in the vocabulary");
    }
  }
  return result;
}

void Vocabulary::write(gguf_context* file) const {
  std::vector<const char*> texts;
  for (const std::string& piece : pieces_) texts.push_back(piece.c_str());
  const std::vector<float> scores(pieces_.size(), 0.0f);
  gguf_set_val_str(file, "tokenizer.ggml.model", "llama");
  gguf_set_arr_str(file, "tokenizer.ggml.tokens", texts.data(), texts.size());
  gguf_set_arr_data(file, "tokenizer.ggml.scores", GGUF_TYPE_FLOAT32, scores.data(), scores.size());
  gguf_set_arr_data(file, "tokenizer.ggml.token_type", GGUF_TYPE_INT32, types_.data(),
                    types_.size());
  gguf_set_val_u32(file, "tokenizer.ggml.unknown_token_id", 0);
  gguf_set_val_u32(file, "tokenizer.ggml.bos_token_id", 1);
  gguf_set_val_u32(file, "tokenizer.ggml.eos_token_id", 2);
  gguf_set_val_bool(file, "tokenizer.ggml.add_bos_token", false);
  gguf_set_val_bool(file, "tokenizer.ggml.add_eos_token", false);
  gguf_set_val_bool(file, "tokenizer.ggml.add_space_prefix", false);
}

}  // namespace napier
