#include "eval/task_run.hpp"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "eval/answers.hpp"
#include "eval/divergence.hpp"
#include "model/prefix_decoder.hpp"
#include "napier/error.hpp"

namespace napier {
namespace {

// The tokens of a continuation after its context.
struct Sequence {
  std::vector<Token> tokens;  // without the last, which predicts nothing
  std::vector<Token> scored;
};

std::vector<Token> prompt_tokens(const Model& model, std::string_view text) {
  std::vector<Token> tokens = model.tokenise(text, false, false);
  if (model.adds_bos()) tokens.insert(tokens.begin(), model.bos());
  return tokens;
}

// The last `length` of the tokens.
std::vector<Token> cut_left(std::vector<Token> tokens, size_t length) {
  if (tokens.size() > length) {
    tokens.erase(tokens.begin(), tokens.end() - static_cast<ptrdiff_t>(length));
  }
  return tokens;
}

Sequence sequence_of(const Model& model, const Choice& choice, size_t context) {
  // White space at the context's end belongs to the continuation's first token.
  const size_t last = choice.context.find_last_not_of(" \t\r\n");
  const size_t end = last == std::string::npos ? 0 : last + 1;
  const std::string before = choice.context.substr(0, end);
  const std::vector<Token> whole = prompt_tokens(model, choice.context + choice.continuation);
  const size_t given = prompt_tokens(model, before).size();
  if (given == 0 || given >= whole.size()) {
    throw Error("no token of the answer '" + choice.continuation + "' is left to score");
  }
  if (whole.size() - given > context) {
    throw Error("the answer '" + choice.continuation.substr(0, 60) + "' has " +
                std::to_string(whole.size() - given) + " tokens, more than a context of " +
                std::to_string(context));
  }
  Sequence sequence;
  sequence.scored.assign(whole.begin() + static_cast<ptrdiff_t>(given), whole.end());
  sequence.tokens = cut_left({whole.begin(), whole.end() - 1}, context);
  return sequence;
}

// A task's questions as tokens, the same under every arithmetic.
struct Prepared {
  std::vector<std::vector<Sequence>> choices;  // by question and choice
  std::vector<std::vector<Token>> prompts;     // by question
  size_t longest_answer = 1;                   // tokens scored at once
};

Prepared prepare(const Model& model, const Task& task, size_t context, size_t max_tokens) {
  Prepared prepared;
  for (size_t i = 0; i < task.questions.size(); ++i) {
    const Question& question = task.questions[i];
    if (!task.is_choice()) {
      prepared.prompts.push_back(
          cut_left(prompt_tokens(model, question.prompt), context - max_tokens));
      continue;
    }
    std::vector<Sequence>& sequences = prepared.choices.emplace_back();
    try {
      for (const Choice& choice : question.choices) {
        sequences.push_back(sequence_of(model, choice, context));
        prepared.longest_answer = std::max(prepared.longest_answer, sequences.back().scored.size());
      }
    } catch (const Error& error) {
      throw Error(task.path + ": question " + std::to_string(i + 1) + ": " + error.what());
    }
  }
  return prepared;
}

void choose(const Question& question, std::span<const Sequence> sequences, Context& context,
            PrefixDecoder& decoder, Answer& answer) {
  std::array<double, 2> best = {};
  bool broken = false;
  for (size_t c = 0; c < sequences.size(); ++c) {
    const Sequence& sequence = sequences[c];
    decoder.decode(sequence.tokens, sequence.scored.size());
    double sum = 0;
    for (size_t i = 0; i < sequence.scored.size(); ++i) {
      const auto row = context.logits(static_cast<int>(i));
      sum += row[static_cast<size_t>(sequence.scored[i])] - log_sum_exp(row);
    }
    answer.log_likelihoods.push_back(sum);
    if (std::isnan(sum)) broken = true;
    const std::array figures = {
        sum, sum / static_cast<double>(std::max<size_t>(1, question.choices[c].characters))};
    for (size_t measure = 0; measure < 2; ++measure) {
      if (c > 0 && !(figures[measure] > best[measure])) continue;  // of equals the first
      best[measure] = figures[measure];
      answer.chosen[measure] = c;
    }
  }
  if (broken) answer.chosen.fill(k_no_choice);
  for (size_t measure = 0; measure < 2; ++measure) {
    answer.right[measure] = answer.chosen[measure] == question.right;
  }
}

void write(const Model& model, const Task& task, const Question& question,
           std::vector<Token> tokens, size_t max_tokens, Context& context, PrefixDecoder& decoder,
           Answer& answer) {
  for (size_t i = 0; i < max_tokens; ++i) {
    decoder.decode(tokens, 1);
    if (std::isnan(log_sum_exp(context.logits(0)))) {
      answer.chosen.fill(k_no_choice);
      return;
    }
    const Token next = static_cast<Token>(top_tokens(context.logits(0)).tokens[0]);
    if (model.ends_generation(next)) break;
    tokens.push_back(next);
    answer.text += model.piece(next);
    const std::string_view before = until_stop(answer.text, task.stops);
    if (before.size() == answer.text.size()) continue;
    answer.text.resize(before.size());
    break;
  }
  Extracted found = task.grading ? extract_result(*task.grading, answer.text, question.answer)
                                 : extract(task.extraction, answer.text, question.answer);
  answer.found = {std::move(found.strict), std::move(found.flexible)};
  answer.right = {found.strict_right, found.flexible_right};
}

bool same_answer(const Answer& a, const Answer& b, size_t measure) {
  return a.chosen[measure] == b.chosen[measure] && a.found[measure] == b.found[measure];
}

}  // namespace

size_t TaskResult::unanswered() const {
  return static_cast<size_t>(std::count_if(
      answers.begin(), answers.end(), [](const Answer& a) { return a.chosen[0] == k_no_choice; }));
}

Flips flips_between(const TaskResult& reference, const TaskResult& result, size_t measure) {
  Flips flips;
  for (size_t i = 0; i < reference.answers.size(); ++i) {
    const Answer& before = reference.answers[i];
    const Answer& after = result.answers[i];
    flips.changed += !same_answer(before, after, measure);
    if (before.right[measure] && !after.right[measure]) flips.lost.push_back(i);
    if (!before.right[measure] && after.right[measure]) flips.gained.push_back(i);
  }
  flips.p = mcnemar(flips.lost.size(), flips.gained.size());
  return flips;
}

TaskEvaluation evaluate_task(const Model& model, const Task& task,
                             std::span<const Subject> subjects, const TaskOptions& options) {
  const int context_size = options.context == 0 ? model.training_context() : options.context;
  const int max_tokens = options.max_tokens == 0 ? task.max_tokens : options.max_tokens;
  if (!task.is_choice() && max_tokens + 1 >= context_size) {
    throw Error(task.name + ": answers of " + std::to_string(max_tokens) +
                " tokens leave no room for a prompt in a context of " +
                std::to_string(context_size));
  }
  const auto length = static_cast<size_t>(context_size);
  const Prepared prepared = prepare(model, task, length, static_cast<size_t>(max_tokens));
  const ContextOptions context_options = {context_size, static_cast<int>(prepared.longest_answer),
                                          options.threads, CacheType::f32};

  const Subject reference = Reference{}.subject;
  const auto is_reference = [&](const Subject& s) { return s.plan == reference.plan; };
  const auto courses = static_cast<double>(
      1 + subjects.size() -
      static_cast<size_t>(std::count_if(subjects.begin(), subjects.end(), is_reference)));
  double done = 0;
  const auto run = [&](const Subject& subject) {
    Context context(model, subject.plan, context_options);
    context.warm_up();
    PrefixDecoder decoder(context);
    TaskResult result;
    result.arith = subject.name;
    result.plan = to_string(subject.plan);
    std::array<std::vector<Unit>, 2> units;
    for (size_t i = 0; i < task.questions.size(); ++i) {
      const auto count = static_cast<double>(task.questions.size());
      if (options.on_progress) options.on_progress(subject.name, done++ / (courses * count));
      Answer& answer = result.answers.emplace_back();
      if (task.is_choice()) {
        choose(task.questions[i], prepared.choices[i], context, decoder, answer);
      } else {
        write(model, task, task.questions[i], prepared.prompts[i], static_cast<size_t>(max_tokens),
              context, decoder, answer);
      }
      for (size_t m = 0; m < 2; ++m) units[m].push_back({answer.right[m] ? 1.0 : 0.0, 1});
    }
    for (size_t m = 0; m < 2; ++m) result.accuracy[m] = estimate(units[m]);
    result.coverage = context.coverage().share();
    return result;
  };

  TaskEvaluation evaluation;
  evaluation.model = model.path();
  evaluation.task = task.name;
  evaluation.path = task.path;
  evaluation.choice = task.is_choice();
  evaluation.measures = {task.measures()[0], task.measures()[1]};
  evaluation.context = context_size;
  evaluation.grading = task.grading;
  for (const Question& question : task.questions) {
    evaluation.right.push_back(question.right);
    evaluation.answers.push_back(question.answer);
    evaluation.lengths.push_back(question.length);
  }
  evaluation.reference = run(reference);
  for (const Subject& subject : subjects) {
    evaluation.results.push_back(is_reference(subject) ? evaluation.reference : run(subject));
    evaluation.results.back().arith = subject.name;
  }
  return evaluation;
}

void require_answers(const TaskEvaluation& evaluation) {
  const auto require = [&](const TaskResult& result) {
    if (result.unanswered() == 0) return;
    throw Error(evaluation.task + " under " + result.arith + ": " +
                    std::to_string(result.unanswered()) +
                    " questions have no answer: the model's logits are not numbers",
                Blame::environment);
  };
  require(evaluation.reference);
  for (const TaskResult& result : evaluation.results) require(result);
}

}  // namespace napier
