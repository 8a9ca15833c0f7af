// Text from a model, token by token.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "model/context.hpp"
#include "model/model.hpp"

namespace napier {

// llama.cpp's samplers, in its order and with its defaults: repetition, top-k, top-p, min-p,
// temperature.
struct SamplingOptions {
  float temperature = 0.8f;  // 0: always the likeliest token
  int top_k = 40;            // 0: all
  float top_p = 0.95f;
  float min_p = 0.05f;
  float repeat_penalty = 1.0f;  // over the last 64 tokens; 1: none
  int64_t seed = -1;            // -1: a new one
};

struct Generation {
  std::vector<Token> ids;        // generated
  double tokens_per_second = 0;  // of the generated ones
  uint32_t seed = 0;             // the one used
};

// Whole UTF-8 characters as they come; false stops the generation.
using TextSink = std::function<bool(std::string_view text)>;

// Decodes the prompt and then up to `count` tokens of its continuation, until the model ends it or
// `room` tokens are in the context.
Generation generate(const Model& model, Context& context, std::span<const Token> prompt, int count,
                    int room, const SamplingOptions& options, const TextSink& sink);

// How many bytes at the end of `text` begin a UTF-8 character that is not complete.
size_t incomplete_tail(std::string_view text);

}  // namespace napier
