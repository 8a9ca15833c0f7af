// What arithmetics do to the text that a model writes, over the settings of sampling: the sweep of
// "Understanding the Impact of Post-Training Quantization on Large Language Models" (2309.05210).
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "eval/evaluation.hpp"
#include "eval/statistics.hpp"
#include "model/model.hpp"

namespace napier {

// Settings are every combination of the three lists.
struct SamplingStudyOptions {
  std::vector<double> temperatures = {0, 0.5, 1};  // 0: always the likeliest token
  std::vector<int> top_k = {0};                    // 0: all tokens
  std::vector<int> max_tokens = {64};
  uint32_t seed = 1;  // of every text: the same dice for all subjects
  int threads = 2;
  std::function<void(std::string_view subject, double done)> on_progress;

  // Throws Error for what no study could have.
  void check() const;
};

struct SampledText {
  size_t prompt = 0;
  std::string text;
  int tokens = 0;
  // Of the text's tokens after the prompt, by the model in f32, nats: how odd it finds the text.
  double loss = 0;
  // Different pairs of neighbouring tokens, of all pairs: little where a text repeats itself. NaN
  // for a text of fewer than two tokens.
  double distinct = 0;
  int common = 0;  // tokens from the start that the reference wrote too, with the same settings
};

// One subject at one setting.
struct SampledPoint {
  std::string arith;  // the subject's name
  double temperature = 0;
  int top_k = 0;
  int max_tokens = 0;
  std::vector<SampledText> texts;  // one a prompt
  Estimate loss;                   // nats a token; a prompt is a unit
  double distinct = 0;             // the mean of the texts'
  double common = 0;               // the part of the reference's tokens
  double tokens_per_second = 0;    // of writing alone
  size_t packed_bytes = 0;         // of the weights, as the subject multiplies by them
};

struct SamplingStudy {
  std::string model;
  std::vector<std::string> prompts;
  uint32_t seed = 0;
  std::vector<SampledPoint> points;  // first the reference's, f32
};

// Throws Error where a prompt and the longest text do not fit into the context that the model was
// trained for, or a prompt is empty.
SamplingStudy study_sampling(const Model& model, std::span<const std::string> prompts,
                             std::span<const Subject> subjects,
                             const SamplingStudyOptions& options);

}  // namespace napier
