#include "report/league_report.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <functional>
#include <map>
#include <numeric>
#include <optional>
#include <set>
#include <vector>

#include "report/csv.hpp"
#include "report/explanation.hpp"
#include "report/json.hpp"
#include "report/plots.hpp"
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
  TextTable table({"arithmetic", "bits w", "bits x", "of weights", "energy", "perplexity",
                   "KL mean", "top-1", "tokens/s"});
  const auto add = [&](const Result& result, const std::string& name, const StoredBits& bits,
                       std::optional<double> pj) {
    table.add({name, fmt::format("{:.2f}", bits.weight), fmt::format("{:.2f}", bits.activation),
               fmt::format("{:.0f} %", 100 * bits.share),
               pj && league.reference_pj ? fmt::format("{:.1f} %", 100 * *pj / *league.reference_pj)
                                         : "-",
               fmt::format("{:.3f} +- {:.3f}", result.perplexity, result.perplexity_error),
               fmt::format("{:.6f}", result.kl.mean),
               fmt::format("{:.2f} %", 100 * result.top1.mean),
               fmt::format("{:.0f}", result.tokens_per_second)});
  };
  add(reference, "f32 (reference)", {32, 32, 1}, league.reference_pj);
  for (const size_t i : ranking(league)) {
    const Entrant& entrant = league.entrants[i];
    add(evaluation.results[i], entrant.subject.name, entrant.bits, entrant.energy_pj);
  }
  return fmt::format("{}, {}: {} scored tokens in {} chunks of {}\n\n{}",
                     file_name(evaluation.model), file_name(evaluation.text), evaluation.scored,
                     evaluation.units, evaluation.context, table.text());
}

// Why there is no energy, each sentence with the names that it is said of.
std::string missing_energies(std::span<const League> leagues) {
  std::map<std::string, std::set<std::string>> missing;
  for (const League& league : leagues) {
    for (const Entrant& entrant : league.entrants) {
      if (!entrant.energy_pj) missing[entrant.no_energy].insert(entrant.subject.name);
    }
  }
  std::string text;
  for (const auto& [sentence, names] : missing) {
    text += fmt::format("No energy of {}: {}.\n", fmt::join(names, ", "), sentence);
  }
  return text.empty() ? "" : text + "\n";
}

// What a panel's horizontal axis shows.
struct Axis {
  std::string label;
  double most;  // what lies beyond is drawn there
  double step;
  // NaN where an entrant has none.
  std::function<double(const League&, const Entrant&)> value;
};

const std::array<Axis, 2>& axes() {
  static const std::array<Axis, 2> axes = {
      Axis{"bits a weight, scales counted", 17, 2,
           [](const League&, const Entrant& entrant) { return entrant.bits.weight; }},
      Axis{"energy a token, % of f32's", 120, 20, [](const League& league, const Entrant& entrant) {
             if (!entrant.energy_pj || !league.reference_pj) return std::nan("");
             return 100 * *entrant.energy_pj / *league.reference_pj;
           }}};
  return axes;
}

// The places of those that no other beats in both figures, along the axis.
std::vector<size_t> front(const League& league, const Axis& axis) {
  std::vector<size_t> order = ranking(league);  // ties: the better one first
  std::erase_if(order,
                [&](size_t i) { return std::isnan(axis.value(league, league.entrants[i])); });
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return axis.value(league, league.entrants[a]) < axis.value(league, league.entrants[b]);
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

bool is_exact(const Plan& plan) {
  return std::all_of(plan.rules.begin(), plan.rules.end(), [](const Rule& rule) {
    return rule.arithmetic.resolved_multiplier().form().kind == ProductForm::Kind::exact;
  });
}

// One panel whose upper left corner is at (left, top).
std::string panel_of(const League& league, const Axis& axis, double left, double top) {
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
  const auto x = [&](double value) {
    return left + k_margin + std::min(value / axis.most, 1.0) * width;
  };
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
  for (double tick = 0; tick <= axis.most; tick += axis.step) {
    svg += fmt::format(
        "<path d='M{:.1f} {:.1f}v{:.1f}' stroke='#eee'/><text x='{:.1f}' y='{:.1f}' "
        "text-anchor='middle'>{:.0f}</text>\n",
        x(tick), top + k_margin, height, x(tick), top + k_margin + height + 16, tick);
  }
  svg += fmt::format("<text x='{:.0f}' y='{:.0f}'>{}</text>\n", left + k_margin + width - 150,
                     top + k_panel_height - 18, axis.label);
  svg += fmt::format("<text x='{:.0f}' y='{:.0f}'>KL from f32, nats a token</text>\n", left,
                     top + k_margin - 32);

  const auto place = [&](size_t i) {
    return std::pair(x(axis.value(league, league.entrants[i])),
                     y(league.evaluation.results[i].kl.mean));
  };
  std::string line;
  for (const size_t i : front(league, axis)) {
    const auto [px, py] = place(i);
    line += fmt::format("{}{:.1f} {:.1f}", line.empty() ? "M" : "L", px, py);
    svg += fmt::format("<text x='{:.1f}' y='{:.1f}'>{}</text>\n", px + 5, py + 12,
                       markup_escaped(league.entrants[i].subject.name));
  }
  if (!line.empty()) svg += fmt::format("<path d='{}' fill='none' stroke='#888'/>\n", line);
  for (size_t i = 0; i < league.entrants.size(); ++i) {
    const double kl = league.evaluation.results[i].kl.mean;
    const double value = axis.value(league, league.entrants[i]);
    if (!(kl > 0) || !std::isfinite(kl) || std::isnan(value)) continue;
    const auto [px, py] = place(i);
    svg += fmt::format(
        "<circle cx='{:.1f}' cy='{:.1f}' r='3.5' fill='{}'><title>{}: {:.2f}, KL "
        "{:.6f}</title></circle>\n",
        px, py, is_exact(league.entrants[i].subject.plan) ? "#1f77b4" : "#d62728",
        markup_escaped(league.entrants[i].subject.name), value, kl);
  }
  return svg;
}

}  // namespace

std::string league_table(std::span<const League> leagues) {
  std::string text;
  for (const League& league : leagues) text += table_of(league) + "\n";
  return text + missing_energies(leagues) +
         "Sorted by KL, the divergence from the same model in f32, in nats a token. Each arithmetic"
         "\nmultiplies what has a weight, a recipe what its plan names; else attention's two "
         "products, and"
         "\nmatrices whose rows the blocks do not divide, stay in f32 (\"of weights\": the part "
         "it runs on)."
         "\nBits: stored, with scales, zero points, choices of lists, equalising factors, "
         "low-rank matrices,"
         "\nand columns of outliers as often as they were met. Energy: a token's, of f32's, by "
         "napier cost. Perplexity +- its standard error. Sums are f32 in "
         "order"
         "\nof k unless the arithmetic says otherwise: see `napier explain`. A preset-rne or -rtz "
         "has"
         "\nits operands rounded to nearest or truncated.\n";
}

std::string league_csv(std::span<const League> leagues) {
  std::string text =
      "model,text,arith,weight_bits,activation_bits,share,perplexity,perplexity_error,kl_mean,"
      "kl_p99,top1_agreement,tokens_per_second,energy_pj\n";
  for (const League& league : leagues) {
    for (const size_t i : ranking(league)) {
      const Result& result = league.evaluation.results[i];
      const Entrant& entrant = league.entrants[i];
      text += csv_row(file_name(league.evaluation.model), file_name(league.evaluation.text),
                      entrant.subject.name, entrant.bits.weight, entrant.bits.activation,
                      entrant.bits.share, result.perplexity, result.perplexity_error,
                      result.kl.mean, result.kls.p99, result.top1.mean, result.tokens_per_second,
                      entrant.energy_pj.value_or(std::nan("")));
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
      const auto& rules = entrant.subject.plan.rules;
      const auto weights = std::find_if(
          rules.begin(), rules.end(), [](const Rule& rule) { return rule.pattern == "*.weight"; });
      Json entry = {{"arith", entrant.subject.name},
                    {"written", entrant.written},
                    {"kernel", weights == rules.end()
                                   ? Json(nullptr)
                                   : Json(kernel_name(usual_lowering(weights->arithmetic).kernel))},
                    {"weight_bits", entrant.bits.weight},
                    {"activation_bits", entrant.bits.activation},
                    {"share", entrant.bits.share},
                    {"energy_pj", entrant.energy_pj ? Json(*entrant.energy_pj) : Json(nullptr)}};
      if (!entrant.energy_pj) entry["no_energy"] = entrant.no_energy;
      entry.update(figures(league.evaluation.results[i]));
      results.push_back(entry);
    }
    const Evaluation& evaluation = league.evaluation;
    Json reference = figures(evaluation.reference);
    reference["energy_pj"] = league.reference_pj ? Json(*league.reference_pj) : Json(nullptr);
    document.push_back({{"model", evaluation.model},
                        {"text", evaluation.text},
                        {"ctx", evaluation.context},
                        {"chunks", evaluation.units},
                        {"tokens", evaluation.tokens},
                        {"scored", evaluation.scored},
                        {"reference", reference},
                        {"results", results}});
  }
  return json_text(document);
}

std::string league_plot(std::span<const League> leagues) {
  const size_t columns = axes().size();
  const size_t rows = leagues.size();
  std::string svg = fmt::format(
      "<svg xmlns='http://www.w3.org/2000/svg' width='{0:.0f}' height='{1:.0f}' viewBox='0 0 "
      "{0:.0f} {1:.0f}' font-family='sans-serif' font-size='11'>\n<rect width='100%' "
      "height='100%' fill='white'/>\n",
      k_panel_width * static_cast<double>(columns),
      k_panel_height * static_cast<double>(rows) + 24);
  for (size_t i = 0; i < leagues.size(); ++i) {
    for (size_t a = 0; a < columns; ++a) {
      svg += panel_of(leagues[i], axes()[a], k_panel_width * static_cast<double>(a),
                      k_panel_height * static_cast<double>(i) + 8);
    }
  }
  return svg + fmt::format(
                   "<text x='56' y='{:.0f}'>blue: exact products; red: approximate ones; "
                   "line: no other has fewer bits, or takes less energy, and has less "
                   "divergence</text>\n</svg>\n",
                   k_panel_height * static_cast<double>(rows) + 14);
}

}  // namespace napier
