#include "report/task_report.hpp"

#include <fmt/format.h>

#include <cmath>

#include "report/csv.hpp"
#include "report/json.hpp"
#include "report/text_table.hpp"

namespace napier {
namespace {

Json estimate_json(const Estimate& estimate) {
  return {{"mean", estimate.mean},
          {"error", estimate.error},
          {"low", estimate.low},
          {"high", estimate.high}};
}

Json answer_json(const TaskEvaluation& evaluation, const Answer& answer) {
  Json json = {{"right", answer.right}};
  if (evaluation.choice) {
    json["log_likelihoods"] = answer.log_likelihoods;
    json["chosen"] = answer.chosen[0] == k_no_choice ? Json(nullptr) : Json(answer.chosen);
  } else {
    json["text"] = answer.text;
    json["found"] = answer.found;
  }
  return json;
}

Json result_json(const TaskEvaluation& evaluation, const TaskResult& result) {
  Json measures = Json::object();
  for (size_t m = 0; m < 2; ++m) {
    const Flips flips = flips_between(evaluation.reference, result, m);
    Json measure = estimate_json(result.accuracy[m]);
    measure["changed"] = flips.changed;
    measure["lost"] = flips.lost;
    measure["gained"] = flips.gained;
    measure["mcnemar_p"] = flips.p;
    measures[evaluation.measures[m]] = std::move(measure);
  }
  Json answers = Json::array();
  for (const Answer& answer : result.answers) answers.push_back(answer_json(evaluation, answer));
  return {{"arith", result.arith},
          {"plan", result.plan},
          {"coverage", result.coverage},
          {"measures", std::move(measures)},
          {"answers", std::move(answers)}};
}

}  // namespace

std::string task_table(std::span<const TaskEvaluation> evaluations) {
  std::string text;
  for (const TaskEvaluation& evaluation : evaluations) {
    text += fmt::format("model {}, task {} ({}), {} questions\n\n", evaluation.model,
                        evaluation.task, evaluation.path, evaluation.reference.answers.size());
    TextTable table({"arithmetic", evaluation.measures[0], evaluation.measures[1], "changed",
                     "lost", "gained", "p"});
    const auto add = [&](const TaskResult& result, const std::string& name) {
      const Flips flips = flips_between(evaluation.reference, result, 0);
      const auto cell = [](const Estimate& e) {
        return fmt::format("{:.2f} +- {:.2f} %", 100 * e.mean, 100 * e.error);
      };
      table.add({name, cell(result.accuracy[0]), cell(result.accuracy[1]),
                 std::to_string(flips.changed), std::to_string(flips.lost.size()),
                 std::to_string(flips.gained.size()), fmt::format("{:.3f}", flips.p)});
    };
    add(evaluation.reference, "f32 (reference)");
    for (const TaskResult& result : evaluation.results) add(result, result.arith);
    text += table.text() + "\n";
  }
  text +=
      "Accuracy +- its standard error. acc: the likeliest choice; acc_norm: by log-likelihood a\n"
      "character. strict, flexible: after \"The answer is\", or the last number. exact, result: "
      "all\n"
      "of the answer, or its last line. Changed: answers other than the reference's by the first\n"
      "measure; lost, gained: only the reference, or only this one, is right; p: McNemar's exact\n"
      "test of lost against gained. Every answer: --json.\n";
  return text;
}

std::string task_json(std::span<const TaskEvaluation> evaluations) {
  Json tasks = Json::array();
  for (const TaskEvaluation& evaluation : evaluations) {
    Json results = Json::array();
    for (const TaskResult& result : evaluation.results) {
      results.push_back(result_json(evaluation, result));
    }
    tasks.push_back({{"model", evaluation.model},
                     {"task", evaluation.task},
                     {"path", evaluation.path},
                     {"ctx", evaluation.context},
                     {"questions", evaluation.reference.answers.size()},
                     {evaluation.choice ? "right" : "expected",
                      evaluation.choice ? Json(evaluation.right) : Json(evaluation.answers)},
                     {"reference", result_json(evaluation, evaluation.reference)},
                     {"results", std::move(results)}});
  }
  return json_text({{"tasks", std::move(tasks)}});
}

std::string task_csv(std::span<const TaskEvaluation> evaluations) {
  std::string text =
      "model,task,arith,measure,questions,mean,error,low,high,changed,lost,gained,mcnemar_p\n";
  for (const TaskEvaluation& evaluation : evaluations) {
    const auto add = [&](const TaskResult& result) {
      for (size_t m = 0; m < 2; ++m) {
        const Estimate& e = result.accuracy[m];
        const Flips flips = flips_between(evaluation.reference, result, m);
        text += csv_row(evaluation.model, evaluation.task, result.arith, evaluation.measures[m],
                        result.answers.size(), e.mean, e.error, e.low, e.high, flips.changed,
                        flips.lost.size(), flips.gained.size(), flips.p);
      }
    };
    add(evaluation.reference);
    for (const TaskResult& result : evaluation.results) add(result);
  }
  return text;
}

}  // namespace napier
