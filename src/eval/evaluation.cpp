#include "eval/evaluation.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <memory>
#include <utility>

#include "eval/divergence.hpp"
#include "napier/error.hpp"
#include "napier/thread_pool.hpp"

namespace napier {
namespace {

using Clock = std::chrono::steady_clock;

// The reference's logits of one passage, made ready to be compared with.
struct ReferenceRows {
  std::vector<float> logits;
  std::vector<double> norms;
  std::vector<TopTokens> tops;
  size_t width = 0;

  std::span<const float> row(size_t i) const { return std::span(logits).subspan(i * width, width); }
};

// One subject at work: its context and the figures of every scored token so far.
class Course {
 public:
  Course(const Subject& subject, Context context)
      : subject_(&subject), context_(std::move(context)) {
    context_.warm_up();
  }

  const Subject& subject() const { return *subject_; }
  const Context& context() const { return context_; }

  void decode(const Passage& passage) {
    const auto start = Clock::now();
    context_.clear();
    context_.decode(passage.tokens, static_cast<int>(passage.scored()) + 1);
    seconds_ += std::chrono::duration<double>(Clock::now() - start).count();
    tokens_ += static_cast<double>(passage.tokens.size());
  }

  // Of the last decode: this course as the reference.
  void score_as_reference(std::span<const Token> targets, ReferenceRows& rows, ThreadPool& pool) {
    rows.width = context_.logits(0).size();
    rows.logits.resize(targets.size() * rows.width);
    rows.norms.resize(targets.size());
    rows.tops.resize(targets.size());
    const size_t begin = make_room(targets.size());
    pool.parallel_for(static_cast<int64_t>(targets.size()), [&](int64_t index) {
      const auto i = static_cast<size_t>(index);
      const auto row = context_.logits(static_cast<int>(i));
      std::copy(row.begin(), row.end(),
                rows.logits.begin() + static_cast<ptrdiff_t>(i * rows.width));
      rows.norms[i] = log_sum_exp(row);
      rows.tops[i] = top_tokens(row);
      nll_[begin + i] = rows.norms[i] - row[static_cast<size_t>(targets[i])];
      top1_[begin + i] = 1;
      top5_[begin + i] = 1;
    });
  }

  // Of the last decode, against the reference's rows of the same passage.
  void score(std::span<const Token> targets, const ReferenceRows& rows, ThreadPool& pool) {
    const size_t begin = make_room(targets.size());
    pool.parallel_for(static_cast<int64_t>(targets.size()), [&](int64_t index) {
      const auto i = static_cast<size_t>(index);
      const auto row = context_.logits(static_cast<int>(i));
      const double norm = log_sum_exp(row);
      const TopTokens top = top_tokens(row);
      nll_[begin + i] = norm - row[static_cast<size_t>(targets[i])];
      kl_[begin + i] = kl_divergence(rows.row(i), rows.norms[i], row, norm);
      top1_[begin + i] = top.tokens[0] == rows.tops[i].tokens[0];
      top5_[begin + i] = static_cast<double>(rows.tops[i].shared_with(top)) /
                         static_cast<double>(rows.tops[i].count);
    });
  }

  void copy_logits(size_t count, std::vector<float>& out) const {
    out.clear();
    for (size_t i = 0; i < count; ++i) {
      const auto row = context_.logits(static_cast<int>(i));
      out.insert(out.end(), row.begin(), row.end());
    }
  }

  // `unit_of`: by scored token, not falling. `reference` may be this one.
  Result result(const Course& reference, std::span<const size_t> unit_of, int64_t bytes) const;

 private:
  size_t make_room(size_t count) {
    const size_t begin = nll_.size();
    for (auto* figures : {&nll_, &kl_, &top1_, &top5_}) figures->resize(begin + count);
    return begin;
  }

  const Subject* subject_;
  Context context_;
  std::vector<double> nll_, kl_, top1_, top5_;
  double seconds_ = 0;
  double tokens_ = 0;
};

Estimate estimate_of(std::span<const double> values, std::span<const size_t> unit_of) {
  std::vector<Unit> units;
  for (size_t i = 0; i < values.size(); ++i) {
    if (i == 0 || unit_of[i] != unit_of[i - 1]) units.emplace_back();
    units.back().sum += values[i];
    units.back().count += 1;
  }
  return estimate(units);
}

double root_mean_square(std::span<const double> values) {
  double squares = 0;
  for (const double value : values) squares += value * value;
  return std::sqrt(squares / static_cast<double>(values.size()));
}

Spread spread_of(std::span<const double> values) {
  constexpr std::array fractions = {0.0, 0.01, 0.05, 0.5, 0.9, 0.95, 0.99, 0.999, 1.0};
  const std::vector<double> at = percentiles({values.begin(), values.end()}, fractions);
  Spread spread;
  spread.smallest = at[0];
  spread.p01 = at[1];
  spread.p05 = at[2];
  spread.median = at[3];
  spread.p90 = at[4];
  spread.p95 = at[5];
  spread.p99 = at[6];
  spread.p999 = at[7];
  spread.largest = at[8];
  spread.root_mean_square = root_mean_square(values);
  return spread;
}

Result Course::result(const Course& reference, std::span<const size_t> unit_of,
                      int64_t bytes) const {
  std::vector<double> loss_change(nll_.size()), p_change(nll_.size());
  for (size_t i = 0; i < nll_.size(); ++i) {
    loss_change[i] = nll_[i] - reference.nll_[i];
    p_change[i] = std::exp(-nll_[i]) - std::exp(-reference.nll_[i]);
  }
  Result result;
  result.arith = subject_->name;
  result.plan = to_string(subject_->plan);
  const Perplexity figure = perplexity(nll_);
  result.perplexity = figure.value;
  result.perplexity_error = figure.error;
  result.loss = estimate_of(nll_, unit_of);
  result.bits_per_byte = result.loss.mean * static_cast<double>(nll_.size()) / std::log(2.0) /
                         static_cast<double>(bytes);
  result.loss_change = estimate_of(loss_change, unit_of);
  result.loss_changes = spread_of(loss_change);
  result.p_change = estimate_of(p_change, unit_of);
  result.p_change_rms = root_mean_square(p_change);
  result.kl = estimate_of(kl_, unit_of);
  result.kls = spread_of(kl_);
  result.top1 = estimate_of(top1_, unit_of);
  result.top5 = estimate_of(top5_, unit_of);
  result.tokens_per_second = tokens_ / seconds_;
  result.coverage = context_.coverage();
  return result;
}

// A context for a plan on a model: on the llama_context of an earlier course where that is laid out
// for the same multiplications.
Context context_for(const Model& model, const Plan& plan, const ContextOptions& options,
                    std::span<const std::unique_ptr<Course>> courses) {
  for (const auto& course : courses) {
    if (!course || &course->context().model() != &model) continue;
    if (std::optional<Context> sibling = course->context().sibling(plan)) {
      return std::move(*sibling);
    }
  }
  return Context(model, plan, options);
}

constexpr std::array k_metrics = {
    Metric{"perplexity", "exp of the mean loss", [](const Result& r) { return r.perplexity; }},
    Metric{"perplexity_error", "its standard error, every token taken as independent",
           [](const Result& r) { return r.perplexity_error; }},
    Metric{"loss", "negative log-likelihood, nats a token",
           [](const Result& r) { return r.loss.mean; }},
    Metric{"loss_error", "standard error over chunks or documents",
           [](const Result& r) { return r.loss.error; }},
    Metric{"loss_low", "95 % interval", [](const Result& r) { return r.loss.low; }},
    Metric{"loss_high", "95 % interval", [](const Result& r) { return r.loss.high; }},
    Metric{"bits_per_byte", "loss in bits for each byte of the scored text",
           [](const Result& r) { return r.bits_per_byte; }},
    Metric{"loss_change", "loss less the reference's: mean, nats a token",
           [](const Result& r) { return r.loss_change.mean; }},
    Metric{"loss_change_error", "standard error of the paired difference",
           [](const Result& r) { return r.loss_change.error; }},
    Metric{"loss_change_low", "95 % interval", [](const Result& r) { return r.loss_change.low; }},
    Metric{"loss_change_high", "95 % interval", [](const Result& r) { return r.loss_change.high; }},
    Metric{"loss_change_rms", "root mean square of the change, a token",
           [](const Result& r) { return r.loss_changes.root_mean_square; }},
    Metric{"loss_change_min", "smallest change",
           [](const Result& r) { return r.loss_changes.smallest; }},
    Metric{"loss_change_p01", "1st percentile", [](const Result& r) { return r.loss_changes.p01; }},
    Metric{"loss_change_p05", "5th percentile", [](const Result& r) { return r.loss_changes.p05; }},
    Metric{"loss_change_median", "median", [](const Result& r) { return r.loss_changes.median; }},
    Metric{"loss_change_p95", "95th percentile",
           [](const Result& r) { return r.loss_changes.p95; }},
    Metric{"loss_change_p99", "99th percentile",
           [](const Result& r) { return r.loss_changes.p99; }},
    Metric{"loss_change_max", "largest change",
           [](const Result& r) { return r.loss_changes.largest; }},
    Metric{"p_change", "probability of the text's token less the reference's: mean",
           [](const Result& r) { return r.p_change.mean; }},
    Metric{"p_change_rms", "root mean square of that",
           [](const Result& r) { return r.p_change_rms; }},
    Metric{"kl_mean", "KL(reference, this), nats a token: mean",
           [](const Result& r) { return r.kl.mean; }},
    Metric{"kl_error", "standard error over chunks or documents",
           [](const Result& r) { return r.kl.error; }},
    Metric{"kl_low", "95 % interval", [](const Result& r) { return r.kl.low; }},
    Metric{"kl_high", "95 % interval", [](const Result& r) { return r.kl.high; }},
    Metric{"kl_median", "median", [](const Result& r) { return r.kls.median; }},
    Metric{"kl_p90", "90th percentile", [](const Result& r) { return r.kls.p90; }},
    Metric{"kl_p95", "95th percentile", [](const Result& r) { return r.kls.p95; }},
    Metric{"kl_p99", "99th percentile", [](const Result& r) { return r.kls.p99; }},
    Metric{"kl_p999", "99.9th percentile", [](const Result& r) { return r.kls.p999; }},
    Metric{"kl_max", "largest", [](const Result& r) { return r.kls.largest; }},
    Metric{"top1_agreement", "part of tokens for which both find the same one likeliest",
           [](const Result& r) { return r.top1.mean; }},
    Metric{"top1_low", "95 % interval", [](const Result& r) { return r.top1.low; }},
    Metric{"top1_high", "95 % interval", [](const Result& r) { return r.top1.high; }},
    Metric{"top5_agreement", "part of the reference's five likeliest that are among this one's",
           [](const Result& r) { return r.top5.mean; }},
    Metric{"top5_low", "95 % interval", [](const Result& r) { return r.top5.low; }},
    Metric{"top5_high", "95 % interval", [](const Result& r) { return r.top5.high; }},
    Metric{"tokens_per_second", "decoding alone",
           [](const Result& r) { return r.tokens_per_second; }},
    Metric{"coverage", "part of the matrices' multiplications in the plan's arithmetics",
           [](const Result& r) { return r.coverage.share(); }},
};

}  // namespace

std::span<const Metric> metrics() { return k_metrics; }

void EvaluationOptions::check() const {
  // The first half of a chunk is context, and the last token predicts nothing that is in it.
  if (context < 4) {
    throw Error("a context of " + std::to_string(context) +
                " tokens leaves nothing to score: at least 4 are needed");
  }
  context_options().check();
}

ContextOptions EvaluationOptions::context_options() const {
  return {context, max_outputs, threads, cache};
}

Evaluation evaluate(const Model& model, std::span<const Passage> passages,
                    std::span<const Subject> subjects, const Reference& reference,
                    const EvaluationOptions& options) {
  options.check();
  for (const Passage& passage : passages) {
    if (passage.tokens.size() <= static_cast<size_t>(options.context)) continue;
    throw Error("a passage of " + std::to_string(passage.tokens.size()) +
                " tokens does not fit into a context of " + std::to_string(options.context));
  }
  const Model& reference_model = reference.model ? *reference.model : model;
  const ContextOptions context = options.context_options();

  // llama.cpp lays graphs out for the plan in force: each context is made and warmed up in turn.
  // The first course is the reference; then one a subject, or nothing where the reference serves.
  std::vector<std::unique_ptr<Course>> courses;
  courses.push_back(std::make_unique<Course>(
      reference.subject, Context(reference_model, reference.subject.plan, context)));
  for (const Subject& subject : subjects) {
    const bool same = &reference_model == &model && subject.plan == reference.subject.plan;
    courses.push_back(same ? nullptr
                           : std::make_unique<Course>(
                                 subject, context_for(model, subject.plan, context, courses)));
  }

  const auto decodes = static_cast<double>(
      std::count_if(courses.begin(), courses.end(), [](const auto& c) { return c != nullptr; }));
  double done = 0;
  const auto progress = [&](const Course& course) {
    if (options.on_progress) {
      options.on_progress(course.subject().name,
                          done / (decodes * static_cast<double>(passages.size())));
    }
    ++done;
  };

  ThreadPool pool(options.threads);
  ReferenceRows rows;
  std::vector<float> logits;
  std::vector<size_t> unit_of;
  Evaluation evaluation;
  for (const Passage& passage : passages) {
    const auto targets = std::span(passage.tokens).subspan(passage.given);
    for (size_t i = 0; i < courses.size(); ++i) {
      Course* course = courses[i].get();
      if (!course) continue;
      progress(*course);
      course->decode(passage);
      if (i == 0) {
        course->score_as_reference(targets, rows, pool);
      } else {
        course->score(targets, rows, pool);
      }
      if (!options.on_logits) continue;
      course->copy_logits(targets.size(), logits);
      options.on_logits(i, targets, logits);
    }
    unit_of.insert(unit_of.end(), targets.size(), passage.unit);
    evaluation.units += unit_of.size() == targets.size() ||
                        unit_of[unit_of.size() - targets.size() - 1] != passage.unit;
    evaluation.tokens += static_cast<int64_t>(passage.tokens.size());
    evaluation.scored += static_cast<int64_t>(targets.size());
    evaluation.bytes += static_cast<int64_t>(passage.bytes);
  }

  evaluation.model = model.path();
  if (reference.model) evaluation.reference_model = reference.model->path();
  evaluation.context = options.context;
  evaluation.cache = options.cache;
  const auto result_of = [&](const Course& course) {
    return course.result(*courses[0], unit_of, evaluation.bytes);
  };
  evaluation.reference = result_of(*courses[0]);
  for (size_t i = 1; i < courses.size(); ++i) {
    evaluation.results.push_back(courses[i] ? result_of(*courses[i]) : evaluation.reference);
    evaluation.results.back().arith = subjects[i - 1].name;
  }
  return evaluation;
}

}  // namespace napier
