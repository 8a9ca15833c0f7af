#include "eval/sampling_study.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <utility>

#include "eval/divergence.hpp"
#include "ggml/backend.hpp"
#include "model/generate.hpp"
#include "napier/error.hpp"

namespace napier {
namespace {

using Tokens = std::vector<Token>;

double distinct_pairs(const Tokens& tokens) {
  if (tokens.size() < 2) return std::numeric_limits<double>::quiet_NaN();
  std::set<std::pair<Token, Token>> pairs;
  for (size_t i = 1; i < tokens.size(); ++i) pairs.emplace(tokens[i - 1], tokens[i]);
  return static_cast<double>(pairs.size()) / static_cast<double>(tokens.size() - 1);
}

double loss_of(Context& context, const Tokens& prompt, const Tokens& text) {
  if (text.empty()) return 0;
  Tokens all = prompt;
  all.insert(all.end(), text.begin(), text.end());
  context.clear();
  context.decode(all, static_cast<int>(text.size()) + 1);
  double loss = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto row = context.logits(static_cast<int>(i));
    loss += log_sum_exp(row) - row[static_cast<size_t>(text[i])];
  }
  return loss;
}

std::vector<Tokens> tokens_of(const Model& model, std::span<const std::string> prompts) {
  std::vector<Tokens> all;
  for (size_t i = 0; i < prompts.size(); ++i) {
    all.push_back(model.tokenise(prompts[i], true, false));
    if (prompts[i].empty() || all.back().empty()) {
      throw Error("prompt " + std::to_string(i + 1) + " is empty: give some text to begin with");
    }
  }
  return all;
}

class Study {
 public:
  Study(const Model& model, std::span<const std::string> prompts,
        const SamplingStudyOptions& options)
      : model_(model), options_(options), prompts_(tokens_of(model, prompts)) {
    size_t longest = 0;
    for (const Tokens& prompt : prompts_) longest = std::max(longest, prompt.size());
    const int most = *std::max_element(options.max_tokens.begin(), options.max_tokens.end());
    if (static_cast<int64_t>(longest) + most > model.training_context()) {
      throw Error("a prompt of " + std::to_string(longest) + " tokens and " + std::to_string(most) +
                  " more do not fit into the context of " +
                  std::to_string(model.training_context()) + " that the model was trained for");
    }
    context_options_.context = std::max(4, static_cast<int>(longest) + most);
    context_options_.max_outputs = most + 1;
    context_options_.threads = options.threads;
  }

  // All settings under one subject. The reference is the first, in f32.
  void run(const Subject& subject, double done, double share, std::vector<SampledPoint>& points) {
    const bool is_reference = references_.empty();
    const size_t before = packed_weights_in_use().bytes;
    Context context(model_, subject.plan, context_options_);
    context.warm_up();
    const size_t packed = packed_weights_in_use().bytes - before;
    size_t setting = 0;
    const double settings = static_cast<double>(options_.temperatures.size() *
                                                options_.top_k.size() * options_.max_tokens.size());
    for (const double temperature : options_.temperatures) {
      for (const int top_k : options_.top_k) {
        for (const int max_tokens : options_.max_tokens) {
          if (options_.on_progress) {
            options_.on_progress(subject.name,
                                 done + share * static_cast<double>(setting) / settings);
          }
          SampledPoint& point = points.emplace_back();
          point.arith = subject.name;
          point.temperature = temperature;
          point.top_k = top_k;
          point.max_tokens = max_tokens;
          point.packed_bytes = packed;
          if (is_reference) references_.emplace_back();
          write(context, references_[setting++], is_reference, point);
        }
      }
    }
    context.coverage();  // throws if a matrix multiplication bypassed the plan
  }

  // The losses of all texts, by the model in f32.
  void judge(std::vector<SampledPoint>& points) {
    Context context(model_, parse_plan("f32"), context_options_);
    context.warm_up();
    size_t at = 0;
    for (SampledPoint& point : points) {
      std::vector<Unit> units;
      for (SampledText& text : point.texts) {
        text.loss = loss_of(context, prompts_[text.prompt], written_[at++]);
        if (text.tokens > 0) units.push_back({text.loss, static_cast<double>(text.tokens)});
      }
      point.loss = estimate(units);
    }
  }

 private:
  void write(Context& context, std::vector<Tokens>& reference, bool is_reference,
             SampledPoint& point) {
    SamplingOptions sampling;
    sampling.temperature = static_cast<float>(point.temperature);
    sampling.top_k = point.top_k;
    sampling.top_p = 1;
    sampling.min_p = 0;
    sampling.seed = options_.seed;
    double seconds = 0, tokens = 0, distinct = 0, measured = 0, common = 0, all = 0;
    for (size_t i = 0; i < prompts_.size(); ++i) {
      context.clear();
      SampledText& text = point.texts.emplace_back();
      text.prompt = i;
      const Generation generation =
          generate(model_, context, prompts_[i], point.max_tokens, context_options_.context,
                   sampling, [&](std::string_view piece) {
                     text.text += piece;
                     return true;
                   });
      const Tokens& ids = generation.ids;
      text.tokens = static_cast<int>(ids.size());
      text.distinct = distinct_pairs(ids);
      if (is_reference) reference.push_back(ids);
      const Tokens& wanted = reference[i];
      text.common = static_cast<int>(
          std::mismatch(ids.begin(), ids.end(), wanted.begin(), wanted.end()).first - ids.begin());
      if (text.tokens > 0) seconds += text.tokens / generation.tokens_per_second;
      tokens += text.tokens;
      common += text.common;
      all += static_cast<double>(wanted.size());
      if (ids.size() >= 2) {
        distinct += text.distinct;
        measured += 1;
      }
      written_.push_back(ids);
    }
    point.tokens_per_second = tokens / seconds;
    point.distinct = distinct / measured;
    point.common = common / all;
  }

  const Model& model_;
  const SamplingStudyOptions& options_;
  std::vector<Tokens> prompts_;
  ContextOptions context_options_;
  std::vector<std::vector<Tokens>> references_;  // by setting and prompt
  std::vector<Tokens> written_;                  // of every text, in order
};

}  // namespace

void SamplingStudyOptions::check() const {
  if (temperatures.empty() || top_k.empty() || max_tokens.empty()) {
    throw Error("a study needs a temperature, a top-k and a number of tokens each at least");
  }
  for (const double temperature : temperatures) {
    if (!(temperature >= 0 && temperature <= 1000)) {
      throw Error("a temperature is a number from 0 to 1000");
    }
  }
  for (const int k : top_k) {
    if (k < 0) throw Error("top-k is a number from 0 (all tokens) on");
  }
  for (const int count : max_tokens) {
    if (count < 1) throw Error("a text has at least one token");
  }
  ContextOptions context;
  context.threads = threads;
  context.check();
}

SamplingStudy study_sampling(const Model& model, std::span<const std::string> prompts,
                             std::span<const Subject> subjects,
                             const SamplingStudyOptions& options) {
  options.check();
  if (prompts.empty()) throw Error("there is no prompt to go on from");
  SamplingStudy study;
  study.model = model.path();
  study.prompts.assign(prompts.begin(), prompts.end());
  study.seed = options.seed;
  Study work(model, prompts, options);
  const double share = 1 / static_cast<double>(subjects.size() + 1);
  work.run({"f32", parse_plan("f32")}, 0, share, study.points);
  for (size_t i = 0; i < subjects.size(); ++i) {
    work.run(subjects[i], static_cast<double>(i + 1) * share, share, study.points);
  }
  work.judge(study.points);
  return study;
}

}  // namespace napier
