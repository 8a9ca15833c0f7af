// Any bytes are a model of SentencePiece, whose numbers can be trusted, or an Error that names the
// file.
#include <cstdlib>
#include <string>
#include <string_view>

#include "napier/error.hpp"
#include "scratch.hpp"
#include "train/sentencepiece.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static Scratch scratch;
  const std::string path = scratch.write("x.model", data, size);
  try {
    const napier::SentencePieceModel model = napier::read_sentencepiece(path);
    const auto count = static_cast<int>(model.pieces.size());
    if (model.unknown >= count || model.begin >= count || model.end >= count) std::abort();
  } catch (const napier::Error& error) {
    if (std::string_view(error.what()).find(path) == std::string_view::npos) std::abort();
  }
  return 0;
}
