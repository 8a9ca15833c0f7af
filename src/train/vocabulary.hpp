// Vocabularies made here, as llama.cpp's SentencePiece tokenizer reads them: of single characters
// or of bytes, so that no merging happens and a text has one way to be cut.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

struct gguf_context;

namespace napier {

class Vocabulary {
 public:
  // Every byte of UTF-8 has a token; a space, which llama.cpp turns into U+2581, one of its own.
  static Vocabulary of_bytes();
  // The characters that a text has. Throws Error for text that is not UTF-8 or holds U+2581.
  static Vocabulary of_characters(std::string_view text, const std::string& where);

  int size() const { return static_cast<int>(pieces_.size()); }
  // As llama.cpp would, without special tokens. Throws Error for a character that has no token.
  std::vector<int32_t> tokenise(std::string_view text, const std::string& where) const;
  // GGUF's keys tokenizer.ggml.*.
  void write(gguf_context* file) const;

 private:
  void add(std::string piece, int type);

  std::vector<std::string> pieces_;
  std::vector<int32_t> types_;  // llama.cpp's llama_token_type
  std::unordered_map<std::string, int32_t> ids_;
  bool bytes_ = false;
};

}  // namespace napier
