// A llama.cpp model: weights and vocabulary.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

struct llama_model;
struct llama_vocab;

namespace napier {

using Token = int32_t;

// Loaded from a GGUF file (the first one, if it is split), mapped into memory. Throws Error if
// llama.cpp refuses the file; it aborts on some broken ones: see probe_model().
class Model {
 public:
  explicit Model(const std::string& path);

  llama_model* handle() const { return model_.get(); }
  const llama_vocab* vocabulary() const;
  const std::string& path() const { return path_; }
  // llama.cpp's own words, such as "llama 3B Q8_0".
  std::string description() const;

  int vocabulary_size() const;
  int training_context() const;
  bool adds_bos() const;
  Token bos() const;
  Token eos() const;  // LLAMA_TOKEN_NULL (-1) where there is none, as bos()
  bool ends_generation(Token token) const;

  // Text in this model's tokens. `add_special` puts BOS and EOS where the vocabulary wants them;
  // `parse_special` reads spelt-out control tokens in the text as such.
  std::vector<Token> tokenise(std::string_view text, bool add_special, bool parse_special) const;
  // The bytes of one token; they need not be whole UTF-8 characters.
  std::string piece(Token token) const;

 private:
  std::vector<Token> tokenise_whole(std::string_view text, bool add_special,
                                    bool parse_special) const;

  struct Deleter {
    void operator()(llama_model* model) const;
  };
  std::string path_;
  std::unique_ptr<llama_model, Deleter> model_;
};

// Throws Error unless every token of one stands for the same text in the other.
void check_same_vocabulary(const Model& a, const Model& b);

}  // namespace napier
