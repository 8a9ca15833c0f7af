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

// One subject at work.
class Course {
 public:
  Course(const Subject& subject, Context context, double epsilon)
      : subject_(&subject), context_(std::move(context)), epsilon_(epsilon) {
    context_.warm_up();
  }

  const Subject& subject() const { return *subject_; }
  const Context& context() const { return context_; }
  double tokens_per_second() const { return tokens_ / seconds_; }
  double last_seconds() const { return last_seconds_; }

  void decode(const Passage& passage) {
    const auto start = Clock::now();
    context_.clear();
    context_.decode(passage.tokens, static_cast<int>(passage.scored()) + 1);
    last_seconds_ = std::chrono::duration<double>(Clock::now() - start).count();
    seconds_ += last_seconds_;
    tokens_ += static_cast<double>(passage.tokens.size());
  }

  // Of the last decode: this course as the reference.
  TokenFigures score_as_reference(std::span<const Token> targets, ReferenceRows& rows,
                                  ThreadPool& pool) {
    rows.width = context_.logits(0).size();
    rows.logits.resize(targets.size() * rows.width);
    rows.norms.resize(targets.size());
    rows.tops.resize(targets.size());
    TokenFigures figures;
    resize(figures, targets.size());
    pool.parallel_for(static_cast<int64_t>(targets.size()), [&](int64_t index) {
      const auto i = static_cast<size_t>(index);
      const auto row = context_.logits(static_cast<int>(i));
      std::copy(row.begin(), row.end(),
                rows.logits.begin() + static_cast<ptrdiff_t>(i * rows.width));
      rows.norms[i] = log_sum_exp(row);
      rows.tops[i] = top_tokens(row);
      measure_sharpness(row, targets[i], i, figures);
      figures.nll[i] = rows.norms[i] - row[static_cast<size_t>(targets[i])];
      figures.top1[i] = 1;
      figures.top5[i] = 1;
    });
    return figures;
  }

  // Of the last decode, against the reference's rows of the same passage.
  TokenFigures score(std::span<const Token> targets, const ReferenceRows& rows, ThreadPool& pool) {
    TokenFigures figures;
    resize(figures, targets.size());
    pool.parallel_for(static_cast<int64_t>(targets.size()), [&](int64_t index) {
      const auto i = static_cast<size_t>(index);
      const auto row = context_.logits(static_cast<int>(i));
      const double norm = log_sum_exp(row);
      const TopTokens top = top_tokens(row);
      measure_sharpness(row, targets[i], i, figures);
      figures.nll[i] = norm - row[static_cast<size_t>(targets[i])];
      figures.kl[i] = kl_divergence(rows.row(i), rows.norms[i], row, norm);
      figures.top1[i] = top.tokens[0] == rows.tops[i].tokens[0];
      figures.top5[i] = static_cast<double>(rows.tops[i].shared_with(top)) /
                        static_cast<double>(rows.tops[i].count);
    });
    return figures;
  }

  void copy_logits(size_t count, std::vector<float>& out) const {
    out.clear();
    for (size_t i = 0; i < count; ++i) {
      const auto row = context_.logits(static_cast<int>(i));
      out.insert(out.end(), row.begin(), row.end());
    }
  }

 private:
  void resize(TokenFigures& figures, size_t size) const {
    figures.resize(size);
    if (epsilon_ > 0) figures.sharpness.resize(size);
  }

  void measure_sharpness(std::span<const float> row, Token target, size_t i,
                         TokenFigures& figures) const {
    if (epsilon_ > 0) {
      figures.sharpness[i] = sharpness(row, static_cast<size_t>(target), epsilon_);
    }
  }

  const Subject* subject_;
  Context context_;
  double epsilon_;
  double seconds_ = 0, last_seconds_ = 0;
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
  if (!(sharpness >= 0 && sharpness < 1)) {
    throw Error("the epsilon of the sharpness is " + std::to_string(sharpness) +
                ": give a number from 0 (not measured) to below 1");
  }
  context_options().check();
}

ContextOptions EvaluationOptions::context_options() const {
  return {context, max_outputs, threads, cache};
}

void TokenFigures::resize(size_t size) {
  for (auto* values : {&nll, &kl, &top1, &top5}) values->resize(size);
}

void TokenFigures::append(const TokenFigures& more) {
  nll.insert(nll.end(), more.nll.begin(), more.nll.end());
  kl.insert(kl.end(), more.kl.begin(), more.kl.end());
  top1.insert(top1.end(), more.top1.begin(), more.top1.end());
  top5.insert(top5.end(), more.top5.begin(), more.top5.end());
  sharpness.insert(sharpness.end(), more.sharpness.begin(), more.sharpness.end());
}

Result summarise(const TokenFigures& figures, const TokenFigures& reference,
                 std::span<const size_t> unit_of, int64_t bytes) {
  const std::vector<double>& nll = figures.nll;
  std::vector<double> loss_change(nll.size()), p_change(nll.size());
  for (size_t i = 0; i < nll.size(); ++i) {
    loss_change[i] = nll[i] - reference.nll[i];
    p_change[i] = std::exp(-nll[i]) - std::exp(-reference.nll[i]);
  }
  Result result;
  const Perplexity figure = perplexity(nll);
  result.perplexity = figure.value;
  result.perplexity_error = figure.error;
  result.loss = estimate_of(nll, unit_of);
  result.bits_per_byte = result.loss.mean * static_cast<double>(nll.size()) / std::log(2.0) /
                         static_cast<double>(bytes);
  result.loss_change = estimate_of(loss_change, unit_of);
  result.loss_changes = spread_of(loss_change);
  result.p_change = estimate_of(p_change, unit_of);
  result.p_change_rms = root_mean_square(p_change);
  result.kl = estimate_of(figures.kl, unit_of);
  result.kls = spread_of(figures.kl);
  result.top1 = estimate_of(figures.top1, unit_of);
  result.top5 = estimate_of(figures.top5, unit_of);
  if (!figures.sharpness.empty()) result.sharpness = estimate_of(figures.sharpness, unit_of);
  return result;
}

struct PassageEvaluator::State {
  // The first is the reference's; then one a subject, or nothing where the reference serves.
  std::vector<std::unique_ptr<Course>> courses;
  EvaluationOptions options;
  ThreadPool pool;
  ReferenceRows rows;
  std::vector<float> logits;

  const Course& course(size_t number) const { return *courses[courses[number] ? number : 0]; }
};

PassageEvaluator::PassageEvaluator(const Model& model, std::span<const Subject> subjects,
                                   const Reference& reference, const EvaluationOptions& options)
    : state_(new State{{}, options, ThreadPool(options.threads), {}, {}}) {
  options.check();
  const Model& reference_model = reference.model ? *reference.model : model;
  const ContextOptions context = options.context_options();
  // llama.cpp lays graphs out for the plan in force: each context is made and warmed up in turn.
  auto& courses = state_->courses;
  courses.push_back(std::make_unique<Course>(
      reference.subject, Context(reference_model, reference.subject.plan, context),
      options.sharpness));
  for (const Subject& subject : subjects) {
    const bool same = &reference_model == &model && subject.plan == reference.subject.plan;
    courses.push_back(
        same ? nullptr
             : std::make_unique<Course>(subject, context_for(model, subject.plan, context, courses),
                                        options.sharpness));
  }
}

PassageEvaluator::~PassageEvaluator() = default;

std::vector<TokenFigures> PassageEvaluator::evaluate(const Passage& passage, double done,
                                                     double share) {
  State& state = *state_;
  if (passage.tokens.size() > static_cast<size_t>(state.options.context)) {
    throw Error("a passage of " + std::to_string(passage.tokens.size()) +
                " tokens does not fit into a context of " + std::to_string(state.options.context));
  }
  const auto targets = std::span(passage.tokens).subspan(passage.given);
  std::vector<TokenFigures> figures;
  for (size_t i = 0; i < state.courses.size(); ++i) {
    Course* course = state.courses[i].get();
    if (!course) {
      figures.push_back(figures[0]);
      continue;
    }
    if (state.options.on_progress) {
      const double part = static_cast<double>(i) / static_cast<double>(state.courses.size());
      state.options.on_progress(course->subject().name, done + share * part);
    }
    course->decode(passage);
    figures.push_back(i == 0 ? course->score_as_reference(targets, state.rows, state.pool)
                             : course->score(targets, state.rows, state.pool));
    if (!state.options.on_logits) continue;
    course->copy_logits(targets.size(), state.logits);
    state.options.on_logits(i, targets, state.logits);
  }
  return figures;
}

double PassageEvaluator::tokens_per_second(size_t number) const {
  return state_->course(number).tokens_per_second();
}

double PassageEvaluator::last_seconds(size_t number) const {
  return state_->course(number).last_seconds();
}

ModelCoverage PassageEvaluator::coverage(size_t number) const {
  return state_->course(number).context().coverage();
}

void require_finite(const Evaluation& evaluation) {
  const auto require = [](const Result& result) {
    if (std::isfinite(result.perplexity)) return;
    throw Error(result.arith +
                    ": the perplexity is not a finite number: the model's logits overflow "
                    "or are not numbers under it",
                Blame::environment);
  };
  require(evaluation.reference);
  for (const Result& result : evaluation.results) require(result);
}

Evaluation evaluate(const Model& model, std::span<const Passage> passages,
                    std::span<const Subject> subjects, const Reference& reference,
                    const EvaluationOptions& options) {
  PassageEvaluator evaluator(model, subjects, reference, options);
  std::vector<TokenFigures> figures(1 + subjects.size());
  std::vector<size_t> unit_of;
  Evaluation evaluation;
  const double share = 1 / static_cast<double>(passages.size());
  for (size_t p = 0; p < passages.size(); ++p) {
    const Passage& passage = passages[p];
    const auto added = evaluator.evaluate(passage, static_cast<double>(p) * share, share);
    for (size_t i = 0; i < added.size(); ++i) figures[i].append(added[i]);
    evaluation.units += unit_of.empty() || unit_of.back() != passage.unit;
    unit_of.insert(unit_of.end(), passage.scored(), passage.unit);
    evaluation.tokens += static_cast<int64_t>(passage.tokens.size());
    evaluation.scored += static_cast<int64_t>(passage.scored());
    evaluation.bytes += static_cast<int64_t>(passage.bytes);
  }
  evaluation.model = model.path();
  if (reference.model) evaluation.reference_model = reference.model->path();
  evaluation.context = options.context;
  evaluation.cache = options.cache;
  evaluation.sharpness = options.sharpness;
  for (size_t i = 0; i < figures.size(); ++i) {
    const Subject& subject = i == 0 ? reference.subject : subjects[i - 1];
    Result result = summarise(figures[i], figures[0], unit_of, evaluation.bytes);
    result.arith = subject.name;
    result.plan = to_string(subject.plan);
    result.tokens_per_second = evaluator.tokens_per_second(i);
    result.coverage = evaluator.coverage(i);
    (i == 0 ? evaluation.reference : evaluation.results.emplace_back()) = std::move(result);
  }
  return evaluation;
}

}  // namespace napier
