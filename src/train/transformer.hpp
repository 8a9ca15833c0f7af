// The models that are trained: transformers that llama.cpp knows as "llama", "arcee" or "mpt".
#pragma once

#include <ggml.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "train/tape.hpp"

namespace napier {

enum class FeedForward : uint8_t {
  swiglu,        // llama
  squared_relu,  // arcee
  gelu,          // mpt: a GPT-2 without biases
};

enum class Positions : uint8_t {
  rope,     // rotary; of llama and arcee
  learned,  // an embedding; of mpt
  none,
};

struct TransformerShape {
  int vocabulary = 0;
  int context = 0;
  int layers = 0;
  int heads = 0;
  int key_heads = 0;  // of keys and values: grouped queries share one
  int width = 0;
  int hidden = 0;    // of the feed-forward part
  bool tied = true;  // the output layer is the embedding
  Positions positions = Positions::rope;
  float rope_base = 10000;
  float epsilon = 1e-5f;
  FeedForward feed_forward = FeedForward::swiglu;

  int head_width() const { return width / heads; }
  const char* architecture() const;
  // The norms are LayerNorm, and queries, keys and values one product.
  bool is_gpt() const { return feed_forward == FeedForward::gelu; }
  // Throws Error that names the value that is wrong, after `where`.
  void check(const std::string& where) const;
};

// A trained tensor: [columns, rows] as ggml has it, rows = 0 for a vector.
struct ParameterShape {
  std::string name;  // llama.cpp's
  int64_t columns = 0;
  int64_t rows = 0;
  // Standard deviation of its first values; 0: all ones, a norm's. GPT-2's: 0.02, and smaller by
  // sqrt(2 layers) where it adds to the residual stream.
  double deviation = 0;

  int64_t count() const { return columns * (rows == 0 ? 1 : rows); }
};
std::vector<ParameterShape> parameter_shapes(const TransformerShape& shape);

// Of one batch: `sequences` of `length` positions each.
struct TransformerInputs {
  ggml_tensor* tokens = nullptr;     // i32 [length * sequences]
  ggml_tensor* positions = nullptr;  // i32 [length]
  ggml_tensor* mask = nullptr;       // f32 [length, length]: 0, or -infinity for what lies ahead
};

// Builds logits [vocabulary, length * sequences] as llama.cpp's graph computes them, without a
// cache. Products have llama.cpp's names: the weights', "kq-N", "kqv-N". Dropout is GPT-2's: after
// the embedding, of attention's probabilities, of what is added to the residual stream.
ggml_tensor* build_transformer(Tape& tape, const TransformerShape& shape,
                               const std::map<std::string, ggml_tensor*>& parameters,
                               const TransformerInputs& inputs, float dropout);

}  // namespace napier
