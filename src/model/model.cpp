#include "model/model.hpp"

#include <llama.h>

#include <algorithm>
#include <array>
#include <exception>

#include "model/engine.hpp"
#include "model/gguf_file.hpp"
#include "napier/error.hpp"

namespace napier {
namespace {

// "llama_model_load: error loading model: unknown ..." without where in llama.cpp it was said.
std::string reason(std::string message) {
  constexpr std::string_view lead = "error loading model: ";
  const size_t at = message.rfind(lead);
  if (at != std::string::npos) message.erase(0, at + lead.size());
  return message.empty() ? "it gives no reason" : printable(message);
}

// Whether a text may be cut before any newline, and the parts tokenised alone: by SentencePiece's
// rule of merging neighbours, where no token has a newline beside other characters, nothing is
// added at the end, and no token is looked for in the text before the merging.
bool lines_are_apart(const llama_vocab* vocabulary) {
  if (llama_vocab_type(vocabulary) != LLAMA_VOCAB_TYPE_SPM || llama_vocab_get_add_eos(vocabulary)) {
    return false;
  }
  for (Token token = 0; token < llama_vocab_n_tokens(vocabulary); ++token) {
    const std::string_view text = llama_vocab_get_text(vocabulary, token);
    if (text.size() > 1 && text.find('\n') != text.npos) return false;
    if (llama_vocab_get_attr(vocabulary, token) & LLAMA_TOKEN_ATTR_USER_DEFINED) return false;
  }
  return true;
}

// The next newline from `begin` on that no character before it takes in, else the text's end: of
// what is no UTF-8, llama.cpp lets the leading byte decide how many bytes are one character.
size_t next_cut(std::string_view text, size_t begin) {
  for (;;) {
    const size_t cut = text.find('\n', begin);
    if (cut == text.npos) return text.size();
    bool taken = false;
    for (size_t back = 1; back < 4 && back <= cut; ++back) {
      const auto byte = static_cast<unsigned char>(text[cut - back]);
      const size_t length = byte < 0xC0 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
      taken |= length > back;
    }
    if (!taken) return cut;
    begin = cut + 1;
  }
}

}  // namespace

void Model::Deleter::operator()(llama_model* model) const { llama_model_free(model); }

Model::Model(const std::string& path) : path_(path) {
  start_engine();
  clear_engine_error();
  llama_model_params params = llama_model_default_params();
  params.n_gpu_layers = 0;
  params.use_extra_bufts = false;  // repacked weights would bypass Napier's kernels
  std::string thrown;
  try {
    model_.reset(llama_model_load_from_file(path.c_str(), params));
  } catch (const std::exception& error) {
    thrown = error.what();
  }
  if (!model_) {
    throw Error(path + ": llama.cpp cannot load it: " +
                reason(thrown.empty() ? first_engine_error() : thrown));
  }
}

const llama_vocab* Model::vocabulary() const { return llama_model_get_vocab(model_.get()); }

std::string Model::description() const {
  std::array<char, 256> text = {};
  llama_model_desc(model_.get(), text.data(), text.size());
  return printable(text.data());
}

int Model::vocabulary_size() const { return llama_vocab_n_tokens(vocabulary()); }
int Model::training_context() const { return llama_model_n_ctx_train(model_.get()); }
bool Model::adds_bos() const {
  return llama_vocab_get_add_bos(vocabulary()) && bos() != LLAMA_TOKEN_NULL;
}
Token Model::bos() const { return llama_vocab_bos(vocabulary()); }
Token Model::eos() const { return llama_vocab_eos(vocabulary()); }
bool Model::ends_generation(Token token) const { return llama_vocab_is_eog(vocabulary(), token); }

std::vector<Token> Model::tokenise_whole(std::string_view text, bool add_special,
                                         bool parse_special) const {
  const auto length = static_cast<int32_t>(text.size());
  // A byte may be a token. What does not fit is tokenised again, as a whole.
  std::vector<Token> tokens(std::min<size_t>(text.size(), 1 << 24) + 16);
  for (;;) {
    int32_t count = 0;
    try {
      count = llama_tokenize(vocabulary(), text.data(), length, tokens.data(),
                             static_cast<int32_t>(tokens.size()), add_special, parse_special);
    } catch (const std::exception& error) {
      throw Error(path_ + ": its vocabulary cannot be used on the text: " + error.what());
    }
    if (count >= 0) {
      tokens.resize(static_cast<size_t>(count));
      return tokens;
    }
    if (count == INT32_MIN) throw Error("the text gives more tokens than can be counted");
    tokens.resize(static_cast<size_t>(-static_cast<int64_t>(count)));
  }
}

std::vector<Token> Model::tokenise(std::string_view text, bool add_special,
                                   bool parse_special) const {
  if (text.size() > INT32_MAX / 2) {
    throw Error("the text has " + std::to_string(text.size()) +
                " bytes; at most 1 GiB can be read");
  }
  // SentencePiece's merges are drawn from one queue, which parts of a long text keep in the cache.
  constexpr size_t k_part = 1 << 13;
  if (text.size() < 2 * k_part || parse_special || !lines_are_apart(vocabulary())) {
    return tokenise_whole(text, add_special, parse_special);
  }
  // What llama.cpp puts before any text, as a space.
  const size_t prefix =
      2 * tokenise_whole("\n", false, false).size() - tokenise_whole("\n\n", false, false).size();
  std::vector<Token> tokens;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = next_cut(text, begin + k_part);
    const std::vector<Token> part =
        tokenise_whole(text.substr(begin, end - begin), add_special && begin == 0, false);
    tokens.insert(tokens.end(), part.begin() + static_cast<long>(begin == 0 ? 0 : prefix),
                  part.end());
    begin = end;
  }
  return tokens;
}

std::string Model::piece(Token token) const {
  std::string text(64, '\0');
  for (;;) {
    const int32_t size = llama_token_to_piece(vocabulary(), token, text.data(),
                                              static_cast<int32_t>(text.size()), 0, false);
    text.resize(static_cast<size_t>(size < 0 ? -size : size));
    if (size >= 0) return text;
  }
}

void check_same_vocabulary(const Model& a, const Model& b) {
  const std::string both = a.path() + " and " + b.path() + " have different vocabularies: ";
  if (a.vocabulary_size() != b.vocabulary_size()) {
    throw Error(both + std::to_string(a.vocabulary_size()) + " and " +
                std::to_string(b.vocabulary_size()) + " tokens");
  }
  for (Token token = 0; token < a.vocabulary_size(); ++token) {
    if (a.piece(token) == b.piece(token)) continue;
    throw Error(both + "token " + std::to_string(token) + " is '" + printable(a.piece(token)) +
                "' in one and '" + printable(b.piece(token)) + "' in the other");
  }
}

}  // namespace napier
