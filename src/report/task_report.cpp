#include "report/task_report.hpp"

#include <fmt/format.h>

#include <cmath>

#include "eval/length_groups.hpp"
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

Json group_json(const TaskEvaluation& evaluation, const LengthGroup& group) {
  Json json = {{"shortest", group.shortest},
               {"longest", group.longest},
               {"questions", group.questions},
               {"exact", estimate_json(group.exact)},
               {"result", estimate_json(group.result)}};
  if (evaluation.grading->notation != Notation::none) {
    json["digit_match"] = estimate_json(group.digit_match);
    json["dlength"] = estimate_json(group.dlength);
  }
  for (size_t i = 0; i < group.within.size(); ++i) {
    json["within"].push_back({{"tolerance", evaluation.grading->tolerances[i]},
                              {"share", estimate_json(group.within[i])}});
  }
  if (!group.places.empty()) json["places"] = group.places;
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
  Json json = {{"arith", result.arith},
               {"plan", result.plan},
               {"coverage", result.coverage},
               {"measures", std::move(measures)},
               {"answers", std::move(answers)}};
  if (evaluation.grading) {
    Json groups = Json::array();
    for (const LengthGroup& group : by_length(evaluation, result)) {
      groups.push_back(group_json(evaluation, group));
    }
    json["by_length"] = std::move(groups);  // all answers first
  }
  return json;
}

bool has_digits(const TaskEvaluation& evaluation) {
  return evaluation.grading && evaluation.grading->notation != Notation::none;
}

std::string length_text(const LengthGroup& group) {
  return group.shortest == group.longest ? std::to_string(group.shortest)
                                         : fmt::format("{}-{}", group.shortest, group.longest);
}

std::string share_cell(const Estimate& e) {
  return fmt::format("{:.2f} +- {:.2f} %", 100 * e.mean, 100 * e.error);
}

// Of each arithmetic, by length.
std::string length_table(const TaskEvaluation& evaluation) {
  const bool digits = has_digits(evaluation);
  std::vector<std::string> columns = {"arithmetic", "length", "questions", evaluation.measures[0],
                                      evaluation.measures[1]};
  if (digits) columns.insert(columns.end(), {"digit match", "dlength"});
  for (const double tolerance : evaluation.grading->tolerances) {
    columns.push_back(fmt::format("within {}", tolerance));
  }
  TextTable table(columns);
  const auto add = [&](const TaskResult& result, const std::string& name) {
    for (const LengthGroup& group : by_length(evaluation, result)) {
      std::vector<std::string> cells = {name, length_text(group), std::to_string(group.questions),
                                        share_cell(group.exact), share_cell(group.result)};
      if (digits) {
        cells.push_back(share_cell(group.digit_match));
        cells.push_back(fmt::format("{:.2f} +- {:.2f}", group.dlength.mean, group.dlength.error));
      }
      for (const Estimate& share : group.within) cells.push_back(share_cell(share));
      table.add(cells);
    }
  };
  add(evaluation.reference, "f32 (reference)");
  for (const TaskResult& result : evaluation.results) add(result, result.arith);
  return table.text() + "\n";
}

}  // namespace

std::string sample_line(std::string_view task, const Sample& sample) {
  const Json json = {{"task", task},
                     {"prompt", sample.prompt},
                     {"answer", sample.answer},
                     {"length", sample.length}};
  return json.dump() + "\n";
}

std::string task_table(std::span<const TaskEvaluation> evaluations) {
  std::string text;
  for (const TaskEvaluation& evaluation : evaluations) {
    text += fmt::format("model {}, task {} ({}), {} questions\n\n", evaluation.model,
                        evaluation.task, evaluation.path, evaluation.reference.answers.size());
    TextTable table({"arithmetic", evaluation.measures[0], evaluation.measures[1], "changed",
                     "lost", "gained", "p"});
    const auto add = [&](const TaskResult& result, const std::string& name) {
      const Flips flips = flips_between(evaluation.reference, result, 0);
      table.add({name, share_cell(result.accuracy[0]), share_cell(result.accuracy[1]),
                 std::to_string(flips.changed), std::to_string(flips.lost.size()),
                 std::to_string(flips.gained.size()), fmt::format("{:.3f}", flips.p)});
    };
    add(evaluation.reference, "f32 (reference)");
    for (const TaskResult& result : evaluation.results) add(result, result.arith);
    text += table.text() + "\n";
    if (evaluation.grading) text += length_table(evaluation);
  }
  text +=
      "Accuracy +- its standard error. acc: the likeliest choice; acc_norm: by log-likelihood a\n"
      "character. strict, flexible: after \"The answer is\", or the last number. exact, result: "
      "all\n"
      "of the answer, or its last part. Digit match: the share of the result's digits at their\n"
      "place; dlength: digits too many or too few. Changed: answers other than the reference's by\n"
      "the first measure; lost, gained: only the reference, or only this one, is right; p: "
      "McNemar's exact\n"
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
      "model,task,arith,measure,questions,mean,error,low,high,changed,lost,gained,mcnemar_p,"
      "length\n";
  for (const TaskEvaluation& evaluation : evaluations) {
    const auto add = [&](const TaskResult& result) {
      for (size_t m = 0; m < 2; ++m) {
        const Estimate& e = result.accuracy[m];
        const Flips flips = flips_between(evaluation.reference, result, m);
        text += csv_row(evaluation.model, evaluation.task, result.arith, evaluation.measures[m],
                        result.answers.size(), e.mean, e.error, e.low, e.high, flips.changed,
                        flips.lost.size(), flips.gained.size(), flips.p, "");
      }
      // Of workloads, by length too; all lengths together come first.
      for (const LengthGroup& group : by_length(evaluation, result)) {
        const auto row = [&](const char* measure, const Estimate& e) {
          text += csv_row(evaluation.model, evaluation.task, result.arith, measure, group.questions,
                          e.mean, e.error, e.low, e.high, "", "", "", "", length_text(group));
        };
        row("exact", group.exact);
        row("result", group.result);
        if (!has_digits(evaluation)) continue;
        row("digit_match", group.digit_match);
        row("dlength", group.dlength);
      }
    };
    add(evaluation.reference);
    for (const TaskResult& result : evaluation.results) add(result);
  }
  return text;
}

}  // namespace napier
