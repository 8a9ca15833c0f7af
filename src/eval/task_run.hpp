// Answering a task's questions under arithmetics.
#pragma once

#include <array>
#include <functional>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "eval/evaluation.hpp"
#include "eval/statistics.hpp"
#include "eval/task.hpp"

namespace napier {

// In place of a choice where the logits were not numbers: there is no answer, and it is not right.
constexpr size_t k_no_choice = std::numeric_limits<size_t>::max();

struct Answer {
  // Of multiple choice: log-likelihood of each continuation, nats; the likeliest, and the likeliest
  // by log-likelihood a character. k_no_choice also of what could not be generated.
  std::vector<double> log_likelihoods;
  std::array<size_t, 2> chosen = {};
  // Of what is generated: all of it, and what was found in it, strictly and flexibly.
  std::string text;
  std::array<std::string, 2> found;
  std::array<bool, 2> right = {};  // by the task's two measures
};

struct TaskResult {
  std::string arith;
  std::string plan;
  std::vector<Answer> answers;            // by question
  std::array<Estimate, 2> accuracy = {};  // by the task's two measures
  double coverage = 0;

  // Questions without an answer, for logits that are not numbers.
  size_t unanswered() const;
};

// How one result's answers differ from another's, by one of the two measures.
struct Flips {
  std::vector<size_t> lost;    // questions that only the reference answers right
  std::vector<size_t> gained;  // and only this one
  size_t changed = 0;          // answers that are not the same, right or wrong
  double p = 1;                // McNemar's
};
Flips flips_between(const TaskResult& reference, const TaskResult& result, size_t measure);

struct TaskEvaluation {
  std::string model;
  std::string task;
  std::string path;
  bool choice = true;
  std::array<std::string, 2> measures;
  std::vector<size_t> right;         // by question, of multiple choice
  std::vector<std::string> answers;  // by question, of what is generated
  std::vector<int> lengths;          // by question, of workloads
  std::optional<NumberGrading> grading;
  int context = 0;
  TaskResult reference;
  std::vector<TaskResult> results;
};

struct TaskOptions {
  int context = 0;     // 0: as the model was trained
  int max_tokens = 0;  // of a generated answer; 0: as the task says
  int threads = 2;
  std::function<void(std::string_view subject, double done)> on_progress;
};

// Prompts are cut into tokens as lm-evaluation-harness does it: context and continuation together,
// after BOS where the vocabulary adds it, from the left to what fits. What two prompts that follow
// each other have in common at their beginning is computed once. Answers are generated greedily. A
// subject equal to f32, the reference, is not computed twice. Throws Error where a prompt leaves no
// room for an answer.
TaskEvaluation evaluate_task(const Model& model, const Task& task,
                             std::span<const Subject> subjects, const TaskOptions& options);

// Throws Error (environment), naming the arithmetic, if a question has no answer.
void require_answers(const TaskEvaluation& evaluation);

}  // namespace napier
