#include "report/league_report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <numeric>
#include <vector>

#include "report/csv.hpp"
#include "report/explanation.hpp"
#include "report/json.hpp"
#include "report/text_table.hpp"

namespace napier {
namespace {

std::string file_name(const std::string& path) {
  return std::filesystem::path(path).filename().string();
}

// The results' places, least divergence first; what is no number comes last.
std::vector<size_t> ranking(const League& league) {
  const std::vector<Result>& results = league.evaluation.results;
  const auto key = [&](size_t i) {
    return std::isfinite(results[i].kl.mean) ? results[i].kl.mean : HUGE_VAL;
  };
  std::vector<size_t> order(results.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return key(a) < key(b); });
  return order;
}

std::string table_of(const League& league) {
  const Evaluation& evaluation = league.evaluation;
  const Result& reference = evaluation.reference;
  TextTable table({"arithmetic", "bits w", "bits x", "of weights", "perplexity", "KL mean", "top-1",
                   "tokens/s"});
  const auto add = [&](const Result& result, const std::string& name, double w, double x,
                       double share) {
    table.add({name, fmt::format("{:.2f}", w), fmt::format("{:.2f}", x),
               fmt::format("{:.0f} %", 100 * share),
               fmt::format("{:.3f} +- {:.3f}", result.perplexity, result.perplexity_error),
               fmt::format("{:.6f}", result.kl.mean),
               fmt::format("{:.2f} %", 100 * result.top1.mean),
               fmt::format("{:.0f}", result.tokens_per_second)});
  };
  add(reference, "f32 (reference)", 32, 32, 1);
  for (const size_t i : ranking(league)) {
    const Entrant& entrant = league.entrants[i];
    add(evaluation.results[i], entrant.subject.name, entrant.weight_bits, entrant.activation_bits,
        entrant.share);
  }
  return fmt::format("{}, {}: {} scored tokens in {} chunks of {}\n\n{}",
                     file_name(evaluation.model), file_name(evaluation.text), evaluation.scored,
                     evaluation.units, evaluation.context, table.text());
}

// The places of those that no other beats in both figures, by bits.
std::vector<size_t> front(const League& league) {
  std::vector<size_t> order = ranking(league);  // ties in bits: the better one first
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return league.entrants[a].weight_bits < league.entrants[b].weight_bits;
  });
  std::vector<size_t> result;
  double least = HUGE_VAL;
  for (const size_t i : order) {
    const double kl = league.evaluation.results[i].kl.mean;
    if (!(kl > 0 && kl < least)) continue;
    least = kl;
    result.push_back(i);
  }
  return result;
}

constexpr double k_panel_width = 560;
constexpr double k_panel_height = 360;
constexpr double k_margin = 56;
constexpr double k_max_bits = 17;

// One panel whose upper left corner is at (left, top).
std::string panel_of(const League& league, double left, double top) {
  double low = HUGE_VAL;
  double high = 0;
  for (const Result& result : league.evaluation.results) {
    if (!(result.kl.mean > 0) || !std::isfinite(result.kl.mean)) continue;
    low = std::min(low, result.kl.mean);
    high = std::max(high, result.kl.mean);
  }
  if (high == 0) low = high = 1;
  const int bottom = static_cast<int>(std::floor(std::log10(low)));
  const int upper = std::max(bottom + 1, static_cast<int>(std::ceil(std::log10(high))));
  const double width = k_panel_width - 2 * k_margin;
  const double height = k_panel_height - 2 * k_margin;
  const auto x = [&](double bits) { return left + k_margin + bits / k_max_bits * width; };
  const auto y = [&](double kl) {
    return top + k_margin + (upper - std::log10(kl)) / (upper - bottom) * height;
  };

  std::string svg = fmt::format(
      "<text x='{:.0f}' y='{:.0f}' font-weight='bold'>{}, {}</text>\n", left + k_margin,
      top + k_margin - 14, file_name(league.evaluation.model), file_name(league.evaluation.text));
  for (int power = bottom; power <= upper; ++power) {
    const double at = y(std::pow(10.0, power));
    svg += fmt::format(
        "<path d='M{:.1f} {:.1f}h{:.1f}' stroke='#ddd'/><text x='{:.1f}' y='{:.1f}' "
        "text-anchor='end'>1e{}</text>\n",
        left + k_margin, at, width, left + k_margin - 6, at + 4, power);
  }
  for (int bits = 0; bits <= 16; bits += 2) {
    svg += fmt::format(
        "<path d='M{:.1f} {:.1f}v{:.1f}' stroke='#eee'/><text x='{:.1f}' y='{:.1f}' "
        "text-anchor='middle'>{}</text>\n",
        x(bits), top + k_margin, height, x(bits), top + k_margin + height + 16, bits);
  }
  svg += fmt::format("<text x='{:.0f}' y='{:.0f}'>bits a weight, scales counted</text>\n",
                     left + k_margin + width - 150, top + k_panel_height - 18);
  svg += fmt::format("<text x='{:.0f}' y='{:.0f}'>KL from f32, nats a token</text>\n", left,
                     top + k_margin - 32);

  const auto place = [&](size_t i) {
    return std::pair(x(std::min(league.entrants[i].weight_bits, k_max_bits)),
                     y(league.evaluation.results[i].kl.mean));
  };
  std::string line;
  for (const size_t i : front(league)) {
    const auto [px, py] = place(i);
    line += fmt::format("{}{:.1f} {:.1f}", line.empty() ? "M" : "L", px, py);
    svg += fmt::format("<text x='{:.1f}' y='{:.1f}'>{}</text>\n", px + 5, py + 12,
                       league.entrants[i].subject.name);
  }
  if (!line.empty()) svg += fmt::format("<path d='{}' fill='none' stroke='#888'/>\n", line);
  for (size_t i = 0; i < league.entrants.size(); ++i) {
    const double kl = league.evaluation.results[i].kl.mean;
    if (!(kl > 0) || !std::isfinite(kl)) continue;
    const auto [px, py] = place(i);
    const bool is_exact =
        parse_arithmetic(league.entrants[i].subject.name).resolved_multiplier().form().kind ==
        ProductForm::Kind::exact;
    svg += fmt::format(
        "<circle cx='{:.1f}' cy='{:.1f}' r='3.5' fill='{}'><title>{}: {:.2f} bits, "
        "KL {:.6f}</title></circle>\n",
        px, py, is_exact ? "#1f77b4" : "#d62728", league.entrants[i].subject.name,
        league.entrants[i].weight_bits, kl);
  }
  return svg;
}

}  // namespace

std::string league_table(std::span<const League> leagues) {
  std::string text;
  for (const League& league : leagues) text += table_of(league) + "\n";
  return text +
         "Sorted by KL, the divergence from the same model in f32, in nats a token. Each arithmetic"
         "\nmultiplies what has a weight; attention's two products and matrices whose rows its "
         "blocks"
         "\ndo not divide stay in f32 (\"of weights\": the part it runs on). Bits: stored, with "
         "scales,"
         "\nzero points and choices of lists. Perplexity +- its standard error. Sums are f32 in "
         "order"
         "\nof k unless the arithmetic says otherwise: see `napier explain`. A preset-rne or -rtz "
         "has"
         "\nits operands rounded to nearest or truncated.\n";
}

std::string league_csv(std::span<const League> leagues) {
  std::string text =
      "model,text,arith,weight_bits,activation_bits,share,perplexity,perplexity_error,kl_mean,"
      "kl_p99,top1_agreement,tokens_per_second\n";
  for (const League& league : leagues) {
    for (const size_t i : ranking(league)) {
      const Result& result = league.evaluation.results[i];
      const Entrant& entrant = league.entrants[i];
      text += csv_row(file_name(league.evaluation.model), file_name(league.evaluation.text),
                      entrant.subject.name, entrant.weight_bits, entrant.activation_bits,
                      entrant.share, result.perplexity, result.perplexity_error, result.kl.mean,
                      result.kls.p99, result.top1.mean, result.tokens_per_second);
    }
  }
  return text;
}

std::string league_json(std::span<const League> leagues) {
  const auto figures = [](const Result& result) {
    return Json{
        {"perplexity", result.perplexity},    {"perplexity_error", result.perplexity_error},
        {"kl_mean", result.kl.mean},          {"kl_p99", result.kls.p99},
        {"top1_agreement", result.top1.mean}, {"tokens_per_second", result.tokens_per_second}};
  };
  Json document = Json::array();
  for (const League& league : leagues) {
    Json results = Json::array();
    for (const size_t i : ranking(league)) {
      const Entrant& entrant = league.entrants[i];
      const Arithmetic arithmetic = parse_arithmetic(entrant.subject.name);
      Json entry = {{"arith", entrant.subject.name},
                    {"written", to_string(arithmetic)},
                    {"kernel", kernel_name(usual_lowering(arithmetic).kernel)},
                    {"weight_bits", entrant.weight_bits},
                    {"activation_bits", entrant.activation_bits},
                    {"share", entrant.share}};
      entry.update(figures(league.evaluation.results[i]));
      results.push_back(entry);
    }
    const Evaluation& evaluation = league.evaluation;
    document.push_back({{"model", evaluation.model},
                        {"text", evaluation.text},
                        {"ctx", evaluation.context},
                        {"chunks", evaluation.units},
                        {"tokens", evaluation.tokens},
                        {"scored", evaluation.scored},
                        {"reference", figures(evaluation.reference)},
                        {"results", results}});
  }
  return json_text(document);
}

std::string league_plot(std::span<const League> leagues) {
  const size_t columns = std::min<size_t>(2, std::max<size_t>(1, leagues.size()));
  const size_t rows = (leagues.size() + columns - 1) / columns;
  std::string svg = fmt::format(
      "<svg xmlns='http://www.w3.org/2000/svg' width='{0:.0f}' height='{1:.0f}' viewBox='0 0 "
      "{0:.0f} {1:.0f}' font-family='sans-serif' font-size='11'>\n<rect width='100%' "
      "height='100%' fill='white'/>\n",
      k_panel_width * static_cast<double>(columns),
      k_panel_height * static_cast<double>(rows) + 24);
  for (size_t i = 0; i < leagues.size(); ++i) {
    svg += panel_of(leagues[i], k_panel_width * static_cast<double>(i % columns),
                    k_panel_height * static_cast<double>(i / columns) + 8);
  }
  return svg + fmt::format(
                   "<text x='56' y='{:.0f}'>blue: exact products; red: approximate ones; "
                   "line: no other has fewer bits and less divergence</text>\n</svg>\n",
                   k_panel_height * static_cast<double>(rows) + 14);
}

}  // namespace napier
