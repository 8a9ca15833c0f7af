#include "report/evaluation_report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <vector>

#include "report/text_table.hpp"

namespace napier {
namespace {

using Json = nlohmann::ordered_json;

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
  std::string text;
  for (const auto& [arithmetic, roles] : groups) {
    uint64_t count = 0;
    for (const RoleCoverage& role : result.coverage.roles) {
      if ((role.arithmetic.empty() ? "the engine's own" : role.arithmetic) == arithmetic) {
        count += role.multiplications;
      }
    }
    const double all = static_cast<double>(result.coverage.napier + result.coverage.engine);
    text +=
        fmt::format("{}{} in {} ({})", text.empty() ? "" : "; ",
                    percent(all == 0 ? 0 : static_cast<double>(count) / all), arithmetic, roles);
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
                     {"multiplications", role.multiplications}});
  }
  return {{"napier", coverage.napier},
          {"engine", coverage.engine},
          {"elementwise", coverage.elementwise_total()},
          {"elementwise_share", coverage.elementwise_share()},
          {"elementwise_by_op", coverage.elementwise},
          {"roles", roles}};
}

Json result_json(const Result& result) {
  return {{"arith", result.arith},
          {"plan", result.plan},
          {"perplexity", result.perplexity},
          {"perplexity_error", result.perplexity_error},
          {"kl_mean", result.kl_mean},
          {"kl_p99", result.kl_p99},
          {"top1_agreement", result.top1_agreement},
          {"tokens_per_second", result.tokens_per_second},
          {"coverage", result.coverage.share()},
          {"matmuls", matmuls_json(result.coverage)}};
}

std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? "\"\"" : std::string(1, c);
  return quoted + '"';
}

}  // namespace

std::string evaluation_table(const Evaluation& evaluation) {
  const Result& reference = evaluation.reference;
  TextTable table({"arithmetic", "perplexity", "KL mean", "KL p99", "top-1", "tokens/s", "ratio"});
  const auto add = [&](const Result& result, const std::string& name) {
    table.add({name, fmt::format("{:.4f} +- {:.4f}", result.perplexity, result.perplexity_error),
               fmt::format("{:.6f}", result.kl_mean), fmt::format("{:.6f}", result.kl_p99),
               percent(result.top1_agreement), fmt::format("{:.0f}", result.tokens_per_second),
               fmt::format("{:.2f}", result.tokens_per_second / reference.tokens_per_second)});
  };
  add(reference, "f32 (reference)");
  for (const Result& result : evaluation.results) add(result, result.arith);

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
  text += fmt::format(
      "\nPerplexity +- its standard error over {} scored tokens: {} of {}, the second half "
      "of"
      "\neach scored. KL: divergence from the reference in nats a token, mean and 99th percentile."
      "\nTop-1: both find the same token likeliest. Ratio: tokens/s to the reference's."
      "\nThe reference is the same model with every matrix multiplication in Napier's f32; an"
      "\narithmetic `a` alone is the plan `* -> a`: see `napier explain a` for its operands, "
      "product"
      "\nand order of accumulation. K and V are cached in {}. Same figures for any number of"
      "\nthreads, but for tokens/s.\n",
      evaluation.scored,
      evaluation.chunks == 1 ? "one chunk" : fmt::format("{} chunks", evaluation.chunks),
      evaluation.context, cache_name(evaluation.cache));
  return text;
}

std::string evaluation_csv(const Evaluation& evaluation) {
  std::string text =
      "arith,plan,perplexity,perplexity_error,kl_mean,kl_p99,top1_agreement,tokens_per_second,"
      "coverage\n";
  const auto add = [&](const Result& result) {
    text +=
        fmt::format("{},{},{},{},{},{},{},{},{}\n", csv_field(result.arith), csv_field(result.plan),
                    result.perplexity, result.perplexity_error, result.kl_mean, result.kl_p99,
                    result.top1_agreement, result.tokens_per_second, result.coverage.share());
  };
  add(evaluation.reference);
  for (const Result& result : evaluation.results) add(result);
  return text;
}

std::string evaluation_json(const Evaluation& evaluation) {
  Json results = Json::array();
  for (const Result& result : evaluation.results) results.push_back(result_json(result));
  const Json document = {
      {"model", evaluation.model},   {"text", evaluation.text},
      {"ctx", evaluation.context},   {"chunks", evaluation.chunks},
      {"tokens", evaluation.tokens}, {"reference", result_json(evaluation.reference)},
      {"results", results}};
  // Paths need not be UTF-8: what is not is replaced.
  return document.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace napier
