#include "report/evaluation_report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "report/csv.hpp"
#include "report/json.hpp"
#include "report/text_table.hpp"

namespace napier {
namespace {

const char* cache_name(CacheType type) { return type == CacheType::f32 ? "f32" : "f16"; }

// "2,000,000 (12.34 %)" would hide a share of 0.001 %: percent with two significant digits at
// least.
std::string percent(double share) {
  if (share > 0 && share < 0.001) return fmt::format("{:.2g} %", 100 * share);
  return fmt::format("{:.2f} %", 100 * share);
}

// "attn_q, attn_k, ffn_up: lmul-m4" : roles of one arithmetic together, in the order of the roles.
std::string coverage_line(const Result& result) {
  std::vector<std::pair<std::string, std::string>> groups;  // arithmetic, roles
  for (const RoleCoverage& role : result.coverage.roles) {
    const std::string name = role.arithmetic.empty() ? "the engine's own" : role.arithmetic;
    const auto group =
        std::find_if(groups.begin(), groups.end(), [&](const auto& g) { return g.first == name; });
    if (group == groups.end()) {
      groups.emplace_back(name, role.role);
    } else {
      group->second += " " + role.role;
    }
  }
  const double all = static_cast<double>(result.coverage.napier + result.coverage.engine);
  std::string text;
  for (const auto& [arithmetic, roles] : groups) {
    uint64_t count = 0;
    for (const RoleCoverage& role : result.coverage.roles) {
      if ((role.arithmetic.empty() ? "the engine's own" : role.arithmetic) == arithmetic) {
        count += role.multiplications;
      }
    }
    text +=
        fmt::format("{}{} in {} ({})", text.empty() ? "" : "; ",
                    percent(all == 0 ? 0 : static_cast<double>(count) / all), arithmetic, roles);
  }
  if (result.coverage.treated.skipped > 0) {
    text += fmt::format("; {} of all by a zero, which need not be done",
                        percent(static_cast<double>(result.coverage.treated.skipped) / all));
  }
  if (result.coverage.treated.apart > 0) {
    text += fmt::format("; {} of all in columns of outliers",
                        percent(static_cast<double>(result.coverage.treated.apart) / all));
  }
  return text;
}

Json matmuls_json(const ModelCoverage& coverage) {
  Json roles = Json::object();
  for (const RoleCoverage& role : coverage.roles) {
    Json& entry = roles[role.role];
    if (entry.is_null()) entry = Json::array();
    entry.push_back({{"arith", role.arithmetic.empty() ? Json(nullptr) : Json(role.arithmetic)},
                     {"matmuls", role.matmuls},
                     {"multiplications", role.multiplications},
                     {"skipped", role.treated.skipped},
                     {"apart", role.treated.apart}});
  }
  return {{"napier", coverage.napier},
          {"skipped", coverage.treated.skipped},
          {"apart", coverage.treated.apart},
          {"engine", coverage.engine},
          {"elementwise", coverage.elementwise_total()},
          {"elementwise_share", coverage.elementwise_share()},
          {"elementwise_by_op", coverage.elementwise},
          {"roles", roles}};
}

Json whole_result_json(const Result& result) {
  Json json = result_json(result);
  json["matmuls"] = matmuls_json(result.coverage);
  return json;
}

// "+3.22 % [2.10, 4.41]": how much the perplexity grows, as a part of the reference's.
std::string change_cell(const Estimate& change) {
  const auto part = [](double loss) { return 100 * std::expm1(loss); };
  const std::string text = fmt::format("{:+.2f} %", part(change.mean));
  if (std::isnan(change.low)) return text;
  return text + fmt::format(" [{:+.2f}, {:+.2f}]", part(change.low), part(change.high));
}

}  // namespace

Json result_json(const Result& result) {
  Json json = {{"arith", result.arith}, {"plan", result.plan}};
  for (const Metric& metric : metrics()) json[metric.name] = metric.value(result);
  return json;
}

std::string evaluation_table(const Evaluation& evaluation) {
  const Result& reference = evaluation.reference;
  const bool sharpness = evaluation.sharpness > 0;
  std::vector<std::string> header = {"arithmetic", "perplexity", "change [95 %]", "KL mean",
                                     "KL p99",     "top-1",      "tokens/s"};
  if (sharpness) header.insert(header.end() - 1, "sharpness");
  TextTable table(header);
  const auto add = [&](const Result& result, const std::string& name, const std::string& change) {
    std::vector<std::string> cells = {
        name,
        fmt::format("{:.4f} +- {:.4f}", result.perplexity, result.perplexity_error),
        change,
        fmt::format("{:.6f}", result.kl.mean),
        fmt::format("{:.6f}", result.kls.p99),
        percent(result.top1.mean),
        fmt::format("{:.0f}", result.tokens_per_second)};
    if (sharpness) {
      cells.insert(cells.end() - 1, fmt::format("{:.4f} +- {:.4f} %", result.sharpness.mean,
                                                result.sharpness.error));
    }
    table.add(std::move(cells));
  };
  add(reference, reference.arith + " (reference)", "");
  for (const Result& result : evaluation.results) {
    add(result, result.arith, change_cell(result.loss_change));
  }

  std::string text = fmt::format("model {}, text {}\n\n", evaluation.model, evaluation.text);
  text += table.text();
  text += "\nMatrices' multiplications:\n";
  for (const Result& result : evaluation.results) {
    text += fmt::format("  {}: {}\n", result.arith, coverage_line(result));
  }
  const ModelCoverage& coverage = reference.coverage;
  std::string ops;
  for (const auto& [op, count] : coverage.elementwise) {
    ops += fmt::format("{}{} {}", ops.empty() ? "" : ", ", op, count);
  }
  text +=
      fmt::format("  Left native under every arithmetic: {} element-wise ones ({} of all): {}\n",
                  coverage.elementwise_total(), percent(coverage.elementwise_share()), ops);
  const std::string unit = evaluation.documents ? "document" : "chunk";
  const std::string units =
      evaluation.units == 1 ? "one " + unit : fmt::format("{} {}s", evaluation.units, unit);
  text += fmt::format(
      "\nPerplexity +- its standard error over {} scored tokens of {}{}."
      "\nChange: of the perplexity against the reference's on the same tokens, with a 95 % "
      "bootstrap"
      "\ninterval over {}s{}. KL: divergence from the reference in nats a token, mean and 99th"
      "\npercentile. Top-1: both find the same token likeliest. Bits per byte of the reference: "
      "{:.4f}."
      "\nThe reference is {} with {};"
      "\nan arithmetic `a` alone is the plan `* -> a`: see `napier explain a` for its operands,"
      "\nproduct and order of accumulation. K and V are cached in {}. Same figures for any number "
      "of"
      "\nthreads, but for tokens/s. More figures: --json.\n",
      evaluation.scored, units,
      evaluation.documents ? ""
                           : fmt::format(" of {}, the second half of each", evaluation.context),
      unit, evaluation.units < k_fewest_units ? fmt::format(" (from {} on)", k_fewest_units) : "",
      reference.bits_per_byte,
      evaluation.reference_model.empty() ? "the same model" : evaluation.reference_model,
      reference.plan == to_string(parse_plan("f32")) ? "every matrix multiplication in Napier's f32"
                                                     : "the plan " + reference.plan,
      cache_name(evaluation.cache));
  if (sharpness) {
    text += fmt::format(
        "Sharpness: by how much of 1 + the loss it grows at most where each logit z moves by up to"
        "\n{} (|z| + 1), +- its standard error.\n",
        evaluation.sharpness);
  }
  return text;
}

std::string evaluation_csv(const Evaluation& evaluation) {
  std::string text = "arith,plan";
  for (const Metric& metric : metrics()) text += std::string(",") + metric.name;
  if (evaluation.sharpness > 0) text += ",sharpness,sharpness_error";
  text += "\n";
  const auto add = [&](const Result& result) {
    text += csv_field(result.arith) + "," + csv_field(result.plan);
    for (const Metric& metric : metrics()) text += "," + csv_field(metric.value(result));
    if (evaluation.sharpness > 0) {
      text += "," + csv_field(result.sharpness.mean) + "," + csv_field(result.sharpness.error);
    }
    text += "\n";
  };
  add(evaluation.reference);
  for (const Result& result : evaluation.results) add(result);
  return text;
}

std::string evaluation_json(const Evaluation& evaluation) {
  const auto whole = [&](const Result& result) {
    Json json = whole_result_json(result);
    if (evaluation.sharpness > 0) {
      json["sharpness"] = {{"mean", result.sharpness.mean},
                           {"error", result.sharpness.error},
                           {"low", result.sharpness.low},
                           {"high", result.sharpness.high}};
    }
    return json;
  };
  Json results = Json::array();
  for (const Result& result : evaluation.results) results.push_back(whole(result));
  Json document = {
      {"model", evaluation.model},
      {"text", evaluation.text},
      {"reference_model",
       evaluation.reference_model.empty() ? Json(nullptr) : Json(evaluation.reference_model)},
      {"unit", evaluation.documents ? "document" : "chunk"},
      {"ctx", evaluation.context},
      {"chunks", evaluation.units},
      {"tokens", evaluation.tokens},
      {"scored", evaluation.scored},
      {"bytes", evaluation.bytes},
      {"reference", whole(evaluation.reference)},
      {"results", results}};
  if (evaluation.sharpness > 0) document["sharpness_epsilon"] = evaluation.sharpness;
  return json_text(document);
}

}  // namespace napier
