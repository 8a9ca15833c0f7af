// A model's perplexity under several arithmetics, and how far each is from the same model in f32.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "model/context.hpp"
#include "model/coverage.hpp"
#include "model/model.hpp"
#include "napier/plan.hpp"

namespace napier {

// What is evaluated: a plan under the name that reports give it.
struct Subject {
  std::string name;
  Plan plan;
};

struct EvaluationOptions {
  int context = 512;  // tokens a chunk
  int chunks = 0;     // 0: as many as the text has
  int threads = 2;
  CacheType cache = CacheType::f32;
  // Told before each decode: which subject, and how much of all work is done.
  std::function<void(std::string_view subject, double done)> on_progress;

  // Throws Error if no evaluation could be like this, whatever the text.
  void check() const;
  // Of every context that evaluates.
  ContextOptions context_options() const;
};

struct Result {
  std::string arith;  // the subject's name
  std::string plan;   // its written form
  double perplexity = 0;
  double perplexity_error = 0;
  double kl_mean = 0;  // KL(reference || this), nats a token
  double kl_p99 = 0;
  double top1_agreement = 0;  // the part of positions where both find the same token likeliest
  double tokens_per_second = 0;
  ModelCoverage coverage;
};

struct Evaluation {
  std::string model;
  std::string text;
  int context = 0;
  int chunks = 0;
  int64_t tokens = 0;  // decoded under each arithmetic
  int64_t scored = 0;  // of these, tokens whose likelihood counts
  CacheType cache = CacheType::f32;
  Result reference;  // every matrix multiplication in f32
  std::vector<Result> results;
};

// Throws Error unless the text has the chunks that are asked for. Returns how many are meant.
int count_chunks(size_t tokens, const EvaluationOptions& options);

// One pass over the text, chunk by chunk, as llama-perplexity does it: chunks of `context` tokens
// with BOS in place of the first where the vocabulary adds it, the second half scored. Each subject
// has a context of its own; a subject equal to the reference is not computed twice. Figures other
// than tokens_per_second do not depend on the number of threads.
Evaluation evaluate(const Model& model, std::span<const Token> text,
                    std::span<const Subject> subjects, const EvaluationOptions& options);

}  // namespace napier
