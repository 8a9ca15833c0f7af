// Files of SentencePiece's library (NAME.model, its sentencepiece_model.proto).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace napier {

struct SentencePieceModel {
  struct Piece {
    std::string text;
    float score = 0;
    int type = 1;  // the library's; llama.cpp's llama_token_type has the same numbers
  };
  std::vector<Piece> pieces;
  int unknown = 0, begin = 1, end = 2;  // ids; negative: none
  bool adds_space = true;               // before a text
};

// Throws Error for a file that is none, and for a model whose texts llama.cpp would cut otherwise:
// it must be of byte pairs, with a piece for each byte, and leave texts as they are.
SentencePieceModel read_sentencepiece(const std::string& path);

}  // namespace napier
