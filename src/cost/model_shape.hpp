// The matrix multiplications of a model, without its weights.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace napier {

// Work of one matrix multiplication for one token at a given context. `w` are a weight's elements
// (shared by all sequences of a batch) or those of one sequence's cache of keys or values.
struct MatmulWork {
  std::string name;  // as plans know it: "blk.0.attn_q.weight", "kq-0"
  bool is_cache = false;
  double multiplications = 0;
  double x_elements = 0;  // activations
  double w_elements = 0;  // read, each once
  double w_fresh = 0;     // of these, written for this token: the cache's new entry
  double w_stored = 0;    // elements that exist, experts that are not used included
  double used_part = 1;   // of what is stored, by one token: less where experts are chosen
  double outputs = 0;
  double columns = 0;     // outputs that share one row of activations
  double sum_length = 0;  // products of one sum
};

struct ModelShape {
  std::string name;
  std::string source;
  std::vector<MatmulWork> matmuls;
  double elementwise = 0;  // multiplications of norms, rotary embedding, gating, soft-max
  std::string windows;     // "13 of 26 layers attend to the last 4096 tokens"; "" where none does

  double multiplications() const;
};

// A model of llama's kind: grouped-query attention, RMS norms, a gated feed-forward network.
struct NamedShape {
  std::string_view name;
  int layers, embedding, heads, kv_heads, head_size, feed_forward, vocabulary;
  int window;  // tokens that every layer looks back on, itself included; 0: all
  std::string_view source;
};

// The table of shapes without a file: one line each in model_shape.cpp.
std::span<const NamedShape> named_shapes();

// Decoding one token that looks back on `context` tokens (itself included), in layers with a
// sliding window on no more than the window has.
// Example: shape_of(named_shapes()[0], 4096).
ModelShape shape_of(const NamedShape& shape, int64_t context);

// From a GGUF file's description; its weights are not read. Throws Error for files that are none,
// and for models that multiply otherwise (state-space models, compressed attention).
ModelShape shape_of_file(const std::string& path, int64_t context);

// By a name of the table, or a GGUF file's path. Throws Error for what is neither.
ModelShape shape_of_model(const std::string& name_or_path, int64_t context);

}  // namespace napier
