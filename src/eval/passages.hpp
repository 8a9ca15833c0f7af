// What a model is evaluated on: a text cut into runs of tokens, each decoded on its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "model/model.hpp"

namespace napier {

// The text of a file, without a newline at its end. Throws Error if it is not there, is
// empty, or holds a byte 0, as no text does.
std::string read_text(const std::string& path);

// The tokens after the first `given` are scored, each predicted by all before it.
struct Passage {
  std::vector<Token> tokens;
  size_t given = 1;
  size_t unit = 0;   // the chunk or document that it belongs to: what statistics count as one
  size_t bytes = 0;  // of text that the scored tokens stand for

  size_t scored() const { return tokens.size() - given; }
};

// How many chunks of `context` tokens are meant by `chunks` (0: all). Throws Error unless the text
// has them.
int count_chunks(size_t tokens, int context, int chunks);

// As llama-perplexity cuts a text: chunks of `context` tokens, BOS in place of the first where the
// vocabulary adds it, the second half scored. Throws Error as count_chunks().
std::vector<Passage> chunk_passages(const Model& model, std::string_view text, int context,
                                    int chunks);

// Every document begins with BOS where the vocabulary adds it, and is scored from its first token
// (else from its second). What is longer than `context` goes on in a further passage of the same
// unit, which begins in the same way. The first `limit` documents; 0: all. Throws Error if there
// are fewer, or none with a token to score.
std::vector<Passage> document_passages(const Model& model, std::span<const std::string> documents,
                                       int context, int limit);

}  // namespace napier
