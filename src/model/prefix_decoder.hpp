// Sequences that begin alike, one after the other.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <vector>

#include "model/context.hpp"

namespace napier {

// Decodes one sequence after the other; the beginning that two in a row share is not computed
// again. The context must outlive it and be decoded by nobody else.
class PrefixDecoder {
 public:
  explicit PrefixDecoder(Context& context) : context_(&context) {}

  // The last `outputs` of the tokens get logits.
  void decode(std::span<const Token> tokens, size_t outputs) {
    const auto [at, other] =
        std::mismatch(held_.begin(), held_.end(), tokens.begin(), tokens.end());
    const auto shared = static_cast<size_t>(at - held_.begin());
    const auto kept = static_cast<size_t>(
        context_->keep(static_cast<int>(std::min(shared, tokens.size() - outputs))));
    held_.assign(tokens.begin(), tokens.end());
    context_->decode(tokens.subspan(kept), static_cast<int>(outputs));
  }

  // Forgets the sequence.
  void clear() {
    held_.clear();
    context_->clear();
  }

 private:
  Context* context_;
  std::vector<Token> held_;
};

}  // namespace napier
