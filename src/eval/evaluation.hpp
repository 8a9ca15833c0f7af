// A model's perplexity under several arithmetics, and how far each is from a reference.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "eval/passages.hpp"
#include "eval/statistics.hpp"
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

// What all is compared with: a plan on the same model, or on another one of the same vocabulary.
struct Reference {
  Subject subject = {"f32", parse_plan("f32")};
  const Model* model = nullptr;  // nothing: the model that is evaluated
};

struct EvaluationOptions {
  int context = 512;    // tokens that a passage may have
  int max_outputs = 0;  // logits' rows of one passage; 0: one a token
  int threads = 2;
  CacheType cache = CacheType::f32;
  double sharpness = 0;  // the epsilon of sharpness(); 0: not measured
  // Told before each decode: which subject, and how much of all work is done.
  std::function<void(std::string_view subject, double done)> on_progress;
  // Given the logits of every passage: of the reference as number 0, of the subjects from 1; rows
  // of the vocabulary's size, a row for each scored token. A subject that equals the reference is
  // given none.
  std::function<void(size_t number, std::span<const Token> scored, std::span<const float> rows)>
      on_logits;

  // Throws Error if no evaluation could be like this, whatever the text.
  void check() const;
  // Of every context that evaluates.
  ContextOptions context_options() const;
};

// How values a token are spread.
struct Spread {
  double median = 0, p90 = 0, p95 = 0, p99 = 0, p999 = 0, largest = 0;
  double p01 = 0, p05 = 0, smallest = 0;
  double root_mean_square = 0;
};

struct Result {
  std::string arith;  // the subject's name
  std::string plan;   // its written form
  double perplexity = 0;
  double perplexity_error = 0;  // tokens taken as independent, as llama-perplexity does
  Estimate loss;                // negative log-likelihood, nats a token
  double bits_per_byte = 0;     // of the text that the scored tokens stand for
  Estimate loss_change;         // loss less the reference's on the same tokens
  Spread loss_changes;
  Estimate p_change;  // probability of the text's token less the reference's
  double p_change_rms = 0;
  Estimate kl;  // KL(reference || this), nats a token
  Spread kls;
  Estimate top1;       // the part of tokens for which both find the same one likeliest
  Estimate top5;       // the part of the reference's five likeliest that are among this one's five
  Estimate sharpness;  // percent, where it was asked for
  double tokens_per_second = 0;
  ModelCoverage coverage;
};

struct Evaluation {
  std::string model;
  std::string text;
  std::string reference_model;  // empty: the same
  bool documents = false;
  int context = 0;
  size_t units = 0;    // chunks or documents
  int64_t tokens = 0;  // decoded under each arithmetic
  int64_t scored = 0;  // of these, tokens whose likelihood counts
  int64_t bytes = 0;   // of text that these stand for
  CacheType cache = CacheType::f32;
  double sharpness = 0;  // its epsilon; 0: not measured
  Result reference;
  std::vector<Result> results;
};

// One figure of a result, for whoever lists them all: JSON, CSV, databases, pages.
struct Metric {
  const char* name;
  const char* meaning;
  double (*value)(const Result& result);
};
std::span<const Metric> metrics();

// Of every scored token under one subject, what all figures are made of. kl, top1 and top5
// are against the reference; of the reference itself 0, 1 and 1.
struct TokenFigures {
  std::vector<double> nll, kl, top1, top5;
  std::vector<double> sharpness = {};  // empty where it is not measured

  void resize(size_t size);
  void append(const TokenFigures& more);
};

// The figures of a subject over units. `unit_of` names the unit of each token and does not fall;
// `bytes` of text are what the tokens stand for. Leaves names, speed and coverage empty.
Result summarise(const TokenFigures& figures, const TokenFigures& reference,
                 std::span<const size_t> unit_of, int64_t bytes);

// A model and its subjects at work, passage by passage. Subjects that leave the same
// multiplications to the engine share one llama_context and take turns; a subject equal to the
// reference is not computed twice. Memory: the models, their packed copies, a cache of keys and
// values for each such context, the logits of one passage twice. Not thread safe; what it is given
// must outlive it.
class PassageEvaluator {
 public:
  PassageEvaluator(const Model& model, std::span<const Subject> subjects,
                   const Reference& reference, const EvaluationOptions& options);
  ~PassageEvaluator();

  // Of the reference and then of each subject. Throws Error if the passage is longer than the
  // context. `done` is how much of all passages is done, for options.on_progress.
  std::vector<TokenFigures> evaluate(const Passage& passage, double done, double share);

  // Of the reference (0) and the subjects from 1, over all passages so far.
  double tokens_per_second(size_t number) const;
  // Decoding the last passage took.
  double last_seconds(size_t number) const;
  ModelCoverage coverage(size_t number) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Throws Error (environment), naming the arithmetic, if a perplexity is no finite number.
void require_finite(const Evaluation& evaluation);

// One pass over the passages. Figures other than tokens_per_second do not depend on the number of
// threads. Throws Error if a passage is longer than the context.
Evaluation evaluate(const Model& model, std::span<const Passage> passages,
                    std::span<const Subject> subjects, const Reference& reference,
                    const EvaluationOptions& options);

}  // namespace napier
