#include "report/sampling_report.hpp"

#include <fmt/format.h>

#include <cmath>

#include "report/csv.hpp"
#include "report/json.hpp"
#include "report/text_table.hpp"

namespace napier {
namespace {

std::string top_k_cell(int top_k) { return top_k == 0 ? "all" : fmt::format("{}", top_k); }

std::string number(const char* form, double value) {
  return std::isnan(value) ? "-" : fmt::format(fmt::runtime(form), value);
}

}  // namespace

std::string sampling_table(const SamplingStudy& study) {
  TextTable table({"arithmetic", "temperature", "top-k", "tokens", "loss in f32", "distinct",
                   "as f32", "tokens/s", "weights, MB"});
  for (const SampledPoint& point : study.points) {
    std::string loss = number("{:.4f}", point.loss.mean);
    if (!std::isnan(point.loss.error)) loss += fmt::format(" +- {:.4f}", point.loss.error);
    table.add({point.arith, fmt::format("{}", point.temperature), top_k_cell(point.top_k),
               fmt::format("{}", point.max_tokens), loss, number("{:.3f}", point.distinct),
               number("{:.3f}", point.common), number("{:.0f}", point.tokens_per_second),
               fmt::format("{:.2f}", static_cast<double>(point.packed_bytes) / 1e6)});
  }
  return fmt::format("model {}, {} prompts, seed {}\n\n", study.model, study.prompts.size(),
                     study.seed) +
         table.text() +
         "\nLoss: of the written text by the model in f32, nats a token, +- its standard error "
         "over prompts."
         "\nDistinct: different pairs of neighbouring tokens, of all. As f32: the part of f32's "
         "text that"
         "\nis the same from its start, with the same settings and seed. Tokens: at most. Top-p "
         "and min-p"
         "\nare off. Weights: as packed for the arithmetic's kernel. The texts: --json.\n";
}

std::string sampling_json(const SamplingStudy& study) {
  Json points = Json::array();
  for (const SampledPoint& point : study.points) {
    Json texts = Json::array();
    for (const SampledText& text : point.texts) {
      texts.push_back({{"prompt", text.prompt},
                       {"text", text.text},
                       {"tokens", text.tokens},
                       {"loss", text.loss},
                       {"distinct", text.distinct},
                       {"common", text.common}});
    }
    points.push_back({{"arith", point.arith},
                      {"temperature", point.temperature},
                      {"top_k", point.top_k},
                      {"max_tokens", point.max_tokens},
                      {"loss", point.loss.mean},
                      {"loss_error", point.loss.error},
                      {"distinct", point.distinct},
                      {"common", point.common},
                      {"tokens_per_second", point.tokens_per_second},
                      {"packed_bytes", point.packed_bytes},
                      {"texts", texts}});
  }
  return json_text({{"model", study.model},
                    {"seed", study.seed},
                    {"prompts", study.prompts},
                    {"points", points}});
}

std::string sampling_csv(const SamplingStudy& study) {
  std::string text =
      "arith,temperature,top_k,max_tokens,loss,loss_error,distinct,common,tokens_per_second,"
      "packed_bytes\n";
  for (const SampledPoint& point : study.points) {
    text += csv_row(point.arith, point.temperature, point.top_k, point.max_tokens, point.loss.mean,
                    point.loss.error, point.distinct, point.common, point.tokens_per_second,
                    point.packed_bytes);
  }
  return text;
}

}  // namespace napier
