#include "eval/evaluation.hpp"

#include <algorithm>
#include <chrono>
#include <memory>
#include <numeric>
#include <utility>

#include "eval/divergence.hpp"
#include "napier/error.hpp"
#include "napier/thread_pool.hpp"

namespace napier {
namespace {

using Clock = std::chrono::steady_clock;

// One subject at work: its context and the figures of every scored position so far.
class Course {
 public:
  Course(const Model& model, const Subject& subject, const ContextOptions& options)
      : subject_(&subject), context_(model, subject.plan, options) {
    context_.warm_up();
  }

  const Subject& subject() const { return *subject_; }

  void decode(std::span<const Token> chunk, int outputs) {
    const auto start = Clock::now();
    context_.clear();
    context_.decode(chunk, outputs);
    seconds_ += std::chrono::duration<double>(Clock::now() - start).count();
    tokens_ += static_cast<double>(chunk.size());
  }

  // Scores the last decode: position i predicts targets[i]. `reference` holds the rows of logits
  // of the reference, or nothing if this is the reference itself.
  void score(std::span<const Token> targets, std::span<const float> reference, ThreadPool& pool) {
    const size_t begin = nll_.size();
    const size_t count = targets.size();
    nll_.resize(begin + count);
    kl_.resize(begin + count);
    agrees_.resize(begin + count);
    pool.parallel_for(static_cast<int64_t>(count), [&](int64_t i) {
      const std::span<const float> row = context_.logits(static_cast<int>(i));
      const size_t at = begin + static_cast<size_t>(i);
      nll_[at] = negative_log_likelihood(row, static_cast<size_t>(targets[static_cast<size_t>(i)]));
      agrees_[at] = 1;
      if (reference.empty()) return;
      const auto expected = reference.subspan(static_cast<size_t>(i) * row.size(), row.size());
      kl_[at] = kl_divergence(expected, row);
      agrees_[at] = argmax(expected) == argmax(row);
    });
  }

  void copy_logits(size_t rows, std::vector<float>& out) const {
    out.clear();
    for (size_t i = 0; i < rows; ++i) {
      const auto row = context_.logits(static_cast<int>(i));
      out.insert(out.end(), row.begin(), row.end());
    }
  }

  Result result() const {
    Result result;
    result.arith = subject_->name;
    result.plan = to_string(subject_->plan);
    const Perplexity figure = perplexity(nll_);
    result.perplexity = figure.value;
    result.perplexity_error = figure.error;
    const auto count = static_cast<double>(kl_.size());
    result.kl_mean = std::accumulate(kl_.begin(), kl_.end(), 0.0) / count;
    result.kl_p99 = percentile(kl_, 0.99);
    result.top1_agreement = std::accumulate(agrees_.begin(), agrees_.end(), 0.0) / count;
    result.tokens_per_second = tokens_ / seconds_;
    result.coverage = context_.coverage();
    return result;
  }

 private:
  const Subject* subject_;
  Context context_;
  std::vector<double> nll_;
  std::vector<double> kl_;
  std::vector<uint8_t> agrees_;
  double seconds_ = 0;
  double tokens_ = 0;
};

}  // namespace

void EvaluationOptions::check() const {
  // The first half of a chunk is context, and the last token predicts nothing that is in it.
  if (context < 4) {
    throw Error("a context of " + std::to_string(context) +
                " tokens leaves nothing to score: at least 4 are needed");
  }
  if (chunks < 0) {
    throw Error(std::to_string(chunks) + " chunks cannot be evaluated: 0 means all");
  }
  context_options().check();
}

ContextOptions EvaluationOptions::context_options() const {
  return {context, context - context / 2, threads, cache};
}

int count_chunks(size_t tokens, const EvaluationOptions& options) {
  options.check();
  const size_t chunk = static_cast<size_t>(options.context);
  const size_t available = tokens / chunk;
  if (available == 0) {
    throw Error("the text is too short: it has " + std::to_string(tokens) +
                " tokens, one chunk needs " + std::to_string(chunk) +
                "; give a longer text or a shorter context");
  }
  const size_t wanted = static_cast<size_t>(options.chunks);
  if (wanted > available) {
    throw Error("the text has " + std::to_string(tokens) + " tokens, " + std::to_string(available) +
                " chunks of " + std::to_string(chunk) + "; " + std::to_string(wanted) +
                " chunks need " + std::to_string(wanted * chunk));
  }
  return static_cast<int>(wanted == 0 ? available : wanted);
}

Evaluation evaluate(const Model& model, std::span<const Token> text,
                    std::span<const Subject> subjects, const EvaluationOptions& options) {
  const int chunks = count_chunks(text.size(), options);
  const int first = options.context / 2;
  const int outputs = options.context - first;
  const auto scored = static_cast<size_t>(outputs - 1);
  const ContextOptions context = options.context_options();

  // llama.cpp lays graphs out for the plan in force: the reference's context is made and warmed up
  // first, the others in turn.
  const Subject reference_subject = {"f32", parse_plan("f32")};
  Course reference(model, reference_subject, context);
  std::vector<std::unique_ptr<Course>> courses;  // nothing where the reference serves
  for (const Subject& subject : subjects) {
    const bool same = subject.plan == reference_subject.plan;
    courses.push_back(same ? nullptr : std::make_unique<Course>(model, subject, context));
  }

  const auto decodes = static_cast<double>(
      std::count_if(courses.begin(), courses.end(), [](const auto& c) { return c != nullptr; }) +
      1);
  double done = 0;
  const auto progress = [&](const Course& course) {
    if (options.on_progress) {
      options.on_progress(course.subject().name, done / (decodes * chunks));
    }
    ++done;
  };

  ThreadPool pool(options.threads);
  std::vector<float> logits;
  std::vector<Token> chunk;
  for (int i = 0; i < chunks; ++i) {
    const auto source = text.subspan(static_cast<size_t>(i) * static_cast<size_t>(options.context),
                                     static_cast<size_t>(options.context));
    const auto targets = source.subspan(static_cast<size_t>(first) + 1);
    chunk.assign(source.begin(), source.end());
    if (model.adds_bos()) chunk[0] = model.bos();

    progress(reference);
    reference.decode(chunk, outputs);
    reference.score(targets, {}, pool);
    reference.copy_logits(scored, logits);
    for (const auto& course : courses) {
      if (!course) continue;
      progress(*course);
      course->decode(chunk, outputs);
      course->score(targets, logits, pool);
    }
  }

  Evaluation evaluation;
  evaluation.model = model.path();
  evaluation.context = options.context;
  evaluation.chunks = chunks;
  evaluation.tokens = int64_t{chunks} * options.context;
  evaluation.scored = int64_t{chunks} * static_cast<int64_t>(scored);
  evaluation.cache = options.cache;
  evaluation.reference = reference.result();
  for (size_t i = 0; i < courses.size(); ++i) {
    Result result = courses[i] ? courses[i]->result() : evaluation.reference;
    result.arith = subjects[i].name;
    evaluation.results.push_back(std::move(result));
  }
  return evaluation;
}

}  // namespace napier
