// What the tests of training share.
#pragma once

#include <cstdint>
#include <vector>

#include "support/test_support.hpp"
#include "train/random.hpp"
#include "train/transformer.hpp"

namespace napier::test {

inline TransformerShape small_shape(int vocabulary = 20) {
  TransformerShape shape;
  shape.vocabulary = vocabulary;
  shape.context = 16;
  shape.layers = 2;
  shape.heads = 4;
  shape.key_heads = 2;
  shape.width = 32;
  shape.hidden = 40;
  return shape;
}

// The same for the same `salt`.
inline std::vector<int32_t> random_tokens(size_t count, int vocabulary, uint64_t salt = 0) {
  std::vector<int32_t> tokens;
  for (size_t i = 0; i < count; ++i) {
    tokens.push_back(
        static_cast<int32_t>(random_below(seed() + salt, i, static_cast<uint64_t>(vocabulary))));
  }
  return tokens;
}

}  // namespace napier::test
