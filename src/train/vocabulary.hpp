// Vocabularies as llama.cpp's SentencePiece tokenizer reads them: made here of single characters
// or of bytes, so that no merging happens and a text has one way to be cut; or of the pieces that
// SentencePiece's library found.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "train/sentencepiece.hpp"

struct gguf_context;

namespace napier {

class Vocabulary {
 public:
  // Every byte of UTF-8 has a token; a space, which llama.cpp turns into U+2581, one of its own.
  static Vocabulary of_bytes();
  // The characters that a text has. Throws Error for text that is not UTF-8 or holds U+2581.
  static Vocabulary of_characters(std::string_view text, const std::string& where);

  // Pieces that the library found, merged by their scores.
  static Vocabulary of_pieces(const SentencePieceModel& model);

  int size() const { return static_cast<int>(pieces_.size()); }
  // As llama.cpp would, without special tokens. Throws Error for a character that has no token.
  std::vector<int32_t> tokenise(std::string_view text, const std::string& where) const;
  // GGUF's keys tokenizer.ggml.*.
  void write(gguf_context* file) const;

 private:
  void add(std::string piece, int type, float score = 0);
  std::vector<std::string_view> merged(std::string_view text) const;

  std::vector<std::string> pieces_;
  std::vector<int32_t> types_;  // llama.cpp's llama_token_type
  std::vector<float> scores_;
  std::unordered_map<std::string, int32_t> ids_;
  int unknown_ = 0, begin_ = 1, end_ = 2;
  int32_t first_byte_ = -1;  // the token of byte 0, if bytes have some
  bool merges_ = false;
  bool adds_space_ = false;
};

}  // namespace napier
