#include "report/sweep_report.hpp"

#include <fmt/format.h>

#include <cmath>
#include <vector>

#include "report/csv.hpp"
#include "report/json.hpp"
#include "report/text_table.hpp"

namespace napier {
namespace {

std::string fixed(double value, int digits) {
  return std::isnan(value) ? "" : fmt::format("{:.{}f}", value, digits);
}

using Rows = std::vector<std::vector<std::string>>;  // the first is the header

Rows text_rows(const SweepResults& results, size_t model, size_t source) {
  Rows rows = {{"arithmetic", "perplexity", "change %", "95 % interval", "KL mean", "KL p99",
                "top-1 %", "bits/byte", "bits"}};
  for (size_t subject = 0; subject < results.subjects.size(); ++subject) {
    const auto of = [&](const char* metric) {
      return results.value(model, source, subject, metric);
    };
    const auto part = [](double loss) { return 100 * std::expm1(loss); };
    const double low = of("loss_change_low"), high = of("loss_change_high");
    rows.push_back({results.subjects[subject].name + (subject == 0 ? " (reference)" : ""),
                    fixed(of("perplexity"), 4), fixed(part(of("loss_change")), 2),
                    std::isnan(low) ? "" : fmt::format("{:+.2f} to {:+.2f}", part(low), part(high)),
                    fixed(of("kl_mean"), 6), fixed(of("kl_p99"), 6),
                    fixed(100 * of("top1_agreement"), 2), fixed(of("bits_per_byte"), 4),
                    fixed(of("weight_bits"), 2)});
  }
  return rows;
}

Rows task_rows(const SweepResults& results, size_t model, size_t source) {
  const auto [first, second] = results.measures(model, source);
  Rows rows = {{"arithmetic", first + " %", "+-", second + " %", "+-", "changed", "lost", "gained",
                "McNemar p"}};
  for (size_t subject = 0; subject < results.subjects.size(); ++subject) {
    const auto of = [&](const std::string& metric) {
      return results.value(model, source, subject, metric);
    };
    rows.push_back({results.subjects[subject].name + (subject == 0 ? " (reference)" : ""),
                    fixed(100 * of(first), 2), fixed(100 * of(first + "_error"), 2),
                    fixed(100 * of(second), 2), fixed(100 * of(second + "_error"), 2),
                    fixed(of(first + "_changed"), 0), fixed(of(first + "_lost"), 0),
                    fixed(of(first + "_gained"), 0), fixed(of(first + "_mcnemar_p"), 3)});
  }
  return rows;
}

std::string latex_escaped(const std::string& text) {
  std::string result;
  for (const char c : text) {
    if (std::string_view("&%$#_{}").find(c) != std::string_view::npos) result += '\\';
    switch (c) {
      case '~': result += "\\textasciitilde{}"; break;
      case '^': result += "\\textasciicircum{}"; break;
      case '\\': result += "\\textbackslash{}"; break;
      // In TeX's own font encoding these three are other characters.
      case '<': result += "\\textless{}"; break;
      case '>': result += "\\textgreater{}"; break;
      case '|': result += "\\textbar{}"; break;
      default: result += c;
    }
  }
  return result;
}

std::string joined(const std::vector<std::string>& row, const char* between,
                   std::string (*cell)(const std::string&)) {
  std::string line;
  for (size_t i = 0; i < row.size(); ++i) line += (i ? between : "") + cell(row[i]);
  return line;
}

std::string markdown_cell(const std::string& text) {
  std::string result;
  for (const char c : text) result += c == '|' ? "\\|" : std::string(1, c);
  return result;
}

std::string styled(const Rows& rows, TableStyle style) {
  if (style == TableStyle::plain) {
    TextTable table(rows[0]);
    for (size_t i = 1; i < rows.size(); ++i) table.add(rows[i]);
    return table.text();
  }
  std::string text;
  if (style == TableStyle::markdown) {
    for (size_t i = 0; i < rows.size(); ++i) {
      text += "| " + joined(rows[i], " | ", markdown_cell) + " |\n";
      if (i > 0) continue;
      text += "|---|";
      for (size_t c = 1; c < rows[0].size(); ++c) text += "---:|";
      text += "\n";
    }
    return text;
  }
  text = "\\begin{tabular}{l" + std::string(rows[0].size() - 1, 'r') + "}\n\\hline\n";
  for (size_t i = 0; i < rows.size(); ++i) {
    text += joined(rows[i], " & ", latex_escaped) + " \\\\\n" + (i == 0 ? "\\hline\n" : "");
  }
  return text + "\\hline\n\\end{tabular}\n";
}

}  // namespace

std::string sweep_tables(const SweepResults& results, TableStyle style) {
  std::string text;
  for (size_t model = 0; model < results.models.size(); ++model) {
    for (size_t source = 0; source < results.sources.size(); ++source) {
      const SweepResults::Named& s = results.sources[source];
      const std::string title = fmt::format("{}, {}{}", results.models[model].path,
                                            s.detail.empty() ? "text " : "task ", s.name);
      const Rows rows =
          s.detail.empty() ? text_rows(results, model, source) : task_rows(results, model, source);
      const bool latex = style == TableStyle::latex;
      text += (text.empty() ? "" : "\n") +
              (latex                           ? "% " + title
               : style == TableStyle::markdown ? "### " + title
                                               : title) +
              (latex ? "\n" : "\n\n") + styled(rows, style);
    }
  }
  return text;
}

std::string sweep_csv(const SweepResults& results) {
  std::string text = "model,source,arith,plan,metric,value\n";
  for (const SweepResults::Value& value : results.values) {
    const SweepResults::Named& subject = results.subjects.at(value.subject);
    text += csv_row(results.models.at(value.model).path, results.sources.at(value.source).name,
                    subject.name, subject.detail, value.metric, value.value);
  }
  return text;
}

std::string sweep_json(const SweepResults& results) {
  const auto named = [](const std::vector<SweepResults::Named>& list, const char* detail) {
    Json array = Json::array();
    for (const auto& one : list) {
      Json json = {{"name", one.name}};
      if (!one.path.empty()) json["path"] = one.path;
      if (!one.hash.empty()) json["hash"] = one.hash;
      if (!one.detail.empty()) json[detail] = one.detail;
      array.push_back(std::move(json));
    }
    return array;
  };
  Json values = Json::array();
  for (const SweepResults::Value& value : results.values) {
    values.push_back({{"model", value.model},
                      {"source", value.source},
                      {"subject", value.subject},
                      {"metric", value.metric},
                      {"value", value.value}});
  }
  return json_text({{"version", results.version},
                    {"units_done", results.units_done},
                    {"models", named(results.models, "")},
                    {"sources", named(results.sources, "task")},
                    {"subjects", named(results.subjects, "plan")},
                    {"results", std::move(values)}});
}

}  // namespace napier
