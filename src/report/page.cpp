#include "report/page.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>

#include "report/plots.hpp"

namespace napier {
namespace {

constexpr const char* k_head = R"html(<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Napier: results</title>
<style>
:root{--ink:#1c2430;--soft:#5b6576;--line:#dfe3e8;--paper:#ffffff;--card:#ffffff;--back:#f4f6f8;
--accent:#0072b2;--good:#00795a;--bad:#b54708}
@media (prefers-color-scheme:dark){:root{--ink:#e6e9ee;--soft:#98a2b3;--line:#2c3440;
--paper:#171c24;--card:#171c24;--back:#0f1318;--accent:#6cb4e4;--good:#4cc59a;--bad:#f0a35e}}
*{box-sizing:border-box}
body{margin:0;background:var(--back);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
a{color:var(--accent)}
main{max-width:1240px;margin:0 auto;padding:24px 16px 64px}
h1{font-size:1.7rem;line-height:1.2;margin:.2em 0}
h2{font-size:1.2rem;margin:1.8em 0 .5em;overflow-wrap:anywhere}
p.lead,p.note{color:var(--soft);margin:.3em 0 1em}
p.note{font-size:.85rem}
section.card{background:var(--card);border:1px solid var(--line);border-radius:12px;
padding:16px;margin:14px 0}
.scroll{overflow-x:auto;-webkit-overflow-scrolling:touch}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:.9rem}
th,td{padding:6px 7px;text-align:right;white-space:nowrap;border-bottom:1px solid var(--line)}
th:first-child,td:first-child{text-align:left;position:sticky;left:0;background:var(--card);
max-width:15rem;overflow:hidden;text-overflow:ellipsis}
th button{all:unset;cursor:pointer;color:var(--soft);font-weight:600}
th button:hover,th button:focus-visible{color:var(--accent)}
th[aria-sort=ascending] button::after{content:" \2191"}
th[aria-sort=descending] button::after{content:" \2193"}
tr.reference td{color:var(--soft)}
tbody tr:last-child td{border-bottom:0}
.bar{display:inline-block;height:.6em;border-radius:3px;background:var(--accent);opacity:.75;
margin-right:.5em;vertical-align:baseline}
.plots{display:grid;gap:16px;margin-top:16px;
grid-template-columns:repeat(auto-fit,minmax(min(100%,480px),1fr))}
figure{margin:0;overflow-x:auto}
figure svg{width:100%;max-width:560px;height:auto;display:block;margin:0 auto}
figure.embedded svg{width:auto;min-width:720px;max-width:100%}
figcaption{color:var(--soft);font-size:.85rem;text-align:center}
pre{overflow-x:auto;background:var(--back);border:1px solid var(--line);border-radius:8px;
padding:12px;font-size:.82rem}
td.text{white-space:pre-wrap;text-align:left;max-width:22rem;min-width:9rem;vertical-align:top}
.lost{color:var(--bad)}.gained{color:var(--good)}
code{overflow-wrap:anywhere}
@media (max-width:600px){main{padding:16px 8px 48px}section.card{padding:10px 8px}
th,td{padding:6px 5px}th:first-child,td:first-child{max-width:8.5rem}}
</style>
</head>
<body><main>
)html";

// Sorts a table by the column whose heading is clicked; numbers by value, empty cells last.
constexpr const char* k_script = R"html(<script>
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending";
    heads.forEach(other => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const key = row => row.cells[column].dataset.value ?? row.cells[column].textContent;
    const rows = [...table.tBodies[0].rows].sort((a, b) => {
      const [x, y] = [key(a), key(b)];
      if (x === "" || y === "") return (x === "") - (y === "");
      const order = isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y;
      return down ? -order : order;
    });
    table.tBodies[0].append(...rows);
  }));
}
</script>
)html";

struct Cell {
  std::string text;
  double value = std::numeric_limits<double>::quiet_NaN();  // what is sorted by
  double bar = 0;                                           // a bar before the text, 0 to 1
};

Cell number_cell(double value, const char* format) {
  if (std::isnan(value)) return {};
  return {fmt::format(fmt::runtime(format), value), value};
}

std::string table_html(const std::vector<std::string>& header,
                       const std::vector<std::vector<Cell>>& rows) {
  std::string html = "<div class=\"scroll\"><table class=\"sortable\"><thead><tr>";
  for (const std::string& name : header) {
    html += "<th scope=\"col\"><button>" + markup_escaped(name) + "</button></th>";
  }
  html += "</tr></thead><tbody>\n";
  for (size_t r = 0; r < rows.size(); ++r) {
    html += r == 0 ? "<tr class=\"reference\">" : "<tr>";
    for (const Cell& cell : rows[r]) {
      const std::string value =
          std::isnan(cell.value) ? "" : fmt::format(" data-value=\"{}\"", cell.value);
      const std::string bar =
          cell.bar > 0 ? fmt::format("<span class=\"bar\" style=\"width:{:.0f}px\"></span>",
                                     1 + 45 * cell.bar)
                       : "";
      const std::string text = markup_escaped(cell.text);
      html += "<td" + value + " title=\"" + text + "\">" + bar + text + "</td>";
    }
    html += "</tr>\n";
  }
  return html + "</tbody></table></div>\n";
}

double percent_change(double loss) { return 100 * std::expm1(loss); }

bool is_complete(const SweepResults& results, size_t model, size_t source) {
  return std::any_of(results.values.begin(), results.values.end(), [&](const auto& v) {
    return v.model == model && v.source == source && v.metric != "tokens_per_second";
  });
}

std::string text_table_html(const SweepResults& results, size_t model, size_t source) {
  double largest_kl = 0;
  for (size_t s = 0; s < results.subjects.size(); ++s) {
    const double kl = results.value(model, source, s, "kl_mean");
    if (std::isfinite(kl)) largest_kl = std::max(largest_kl, kl);
  }
  std::vector<std::vector<Cell>> rows;
  for (size_t s = 0; s < results.subjects.size(); ++s) {
    const auto of = [&](const char* metric) { return results.value(model, source, s, metric); };
    const double low = of("loss_change_low"), high = of("loss_change_high");
    Cell kl = number_cell(of("kl_mean"), "{:.6f}");
    if (largest_kl > 0 && std::isfinite(kl.value)) kl.bar = kl.value / largest_kl;
    rows.push_back(
        {{results.subjects[s].name + (s == 0 ? " (reference)" : "")},
         number_cell(of("perplexity"), "{:.4f}"),
         number_cell(s == 0 ? std::nan("") : percent_change(of("loss_change")), "{:+.2f}"),
         {std::isnan(low) || s == 0
              ? ""
              : fmt::format("{:+.2f} to {:+.2f}", percent_change(low), percent_change(high)),
          s == 0 ? std::nan("") : percent_change(low)},
         kl,
         number_cell(of("kl_p99"), "{:.4f}"),
         number_cell(100 * of("top1_agreement"), "{:.2f}"),
         number_cell(100 * of("top5_agreement"), "{:.2f}"),
         number_cell(of("bits_per_byte"), "{:.4f}"),
         number_cell(of("weight_bits"), "{:.2f}"),
         number_cell(of("tokens_per_second"), "{:.0f}")});
  }
  return table_html({"arithmetic", "perplexity", "change %", "95 % interval", "KL mean", "KL p99",
                     "top-1 %", "top-5 %", "bits/byte", "bits", "tokens/s"},
                    rows);
}

std::string task_table_html(const SweepResults& results, size_t model, size_t source) {
  const auto [first, second] = results.measures(model, source);
  std::vector<std::vector<Cell>> rows;
  for (size_t s = 0; s < results.subjects.size(); ++s) {
    const auto of = [&](const std::string& metric) {
      return results.value(model, source, s, metric);
    };
    const auto accuracy = [&](const std::string& name) -> Cell {
      return {fmt::format("{:.2f} +- {:.2f}", 100 * of(name), 100 * of(name + "_error")), of(name)};
    };
    rows.push_back({{results.subjects[s].name + (s == 0 ? " (reference)" : "")},
                    accuracy(first),
                    accuracy(second),
                    number_cell(of(first + "_changed"), "{:.0f}"),
                    number_cell(of(first + "_lost"), "{:.0f}"),
                    number_cell(of(first + "_gained"), "{:.0f}"),
                    number_cell(of(first + "_mcnemar_p"), "{:.3f}")});
  }
  return table_html(
      {"arithmetic", first + " %", second + " %", "changed", "lost", "gained", "McNemar p"}, rows);
}

std::string flips_html(const SweepResults& results, size_t model, size_t source) {
  constexpr size_t k_shown = 50, k_characters = 400;
  std::string rows;
  size_t count = 0;
  const auto shortened = [&](const std::string& text) {
    if (text.size() <= k_characters) return markup_escaped(text);
    size_t end = k_characters;
    while (end > 0 && (text[end] & 0xC0) == 0x80) --end;
    return markup_escaped(text.substr(0, end)) + " ...";
  };
  for (const SweepResults::Flip& flip : results.flips) {
    if (flip.model != model || flip.source != source || ++count > k_shown) continue;
    rows += fmt::format(
        "<tr><td>{}</td><td>{}</td><td class=\"{}\">{}</td><td class=\"text\">{}</td>"
        "<td class=\"text\">{}</td></tr>\n",
        markup_escaped(results.subjects.at(flip.subject).name), flip.question + 1,
        flip.lost ? "lost" : "gained", flip.lost ? "lost" : "gained", shortened(flip.before),
        shortened(flip.after));
  }
  if (count == 0) return "<p class=\"note\">No answer turned from right to wrong or back.</p>\n";
  const std::string more = count > k_shown
                               ? fmt::format(
                                     "<p class=\"note\">The first {} of {} flips; all are in the "
                                     "database.</p>\n",
                                     k_shown, count)
                               : "";
  return "<details><summary>Flips side by side</summary><div class=\"scroll\"><table><thead><tr>"
         "<th>arithmetic</th><th>question</th><th></th><th>reference</th><th>this one</th></tr>"
         "</thead><tbody>\n" +
         rows + "</tbody></table></div>" + more + "</details>\n";
}

struct Plot {
  std::string kind, svg;
};

std::vector<Plot> plots_of(const SweepResults& results, size_t model, size_t source) {
  std::vector<Plot> plots;
  if (!is_complete(results, model, source)) return plots;
  const auto of = [&](size_t s, const char* metric) {
    return results.value(model, source, s, metric);
  };
  if (!results.sources[source].detail.empty()) {
    const std::string measure = results.measures(model, source)[0];
    IntervalPlot accuracy{"Accuracy, with 95 % intervals", measure + ", %", {}};
    for (size_t s = 0; s < results.subjects.size(); ++s) {
      accuracy.rows.push_back({results.subjects[s].name, 100 * of(s, measure.c_str()),
                               100 * of(s, (measure + "_low").c_str()),
                               100 * of(s, (measure + "_high").c_str())});
    }
    plots.push_back({"accuracy", interval_svg(accuracy)});
    return plots;
  }
  IntervalPlot change{"What it costs: change of the perplexity, with 95 % intervals",
                      "change against the reference, %",
                      {}};
  ScatterPlot bits{
      "Divergence against bits", "bits a weight", "mean KL, nats a token", false, true, {}};
  ScatterPlot energy{"Divergence against energy a token (napier cost)",
                     "energy, of the reference's",
                     "mean KL, nats a token",
                     false,
                     true,
                     {}};
  ScatterPlot speed{"Divergence against speed of this emulation",
                    "tokens a second",
                    "mean KL, nats a token",
                    false,
                    true,
                    {}};
  for (size_t s = 1; s < results.subjects.size(); ++s) {
    const std::string& name = results.subjects[s].name;
    change.rows.push_back({name, percent_change(of(s, "loss_change")),
                           percent_change(of(s, "loss_change_low")),
                           percent_change(of(s, "loss_change_high"))});
    const double kl = of(s, "kl_mean"), low = of(s, "kl_low"), high = of(s, "kl_high");
    const double width = of(s, "weight_bits");
    if (kl > 0 && !std::isnan(width)) bits.points.push_back({name, width, kl, low, high, s - 1});
    const double joules = of(s, "energy_pj") / of(0, "energy_pj");
    if (kl > 0 && joules > 0) energy.points.push_back({name, joules, kl, low, high, s - 1});
    const double tokens = of(s, "tokens_per_second");
    if (kl > 0 && !std::isnan(tokens)) speed.points.push_back({name, tokens, kl, low, high, s - 1});
  }
  plots.push_back({"change", interval_svg(change)});
  if (!bits.points.empty()) plots.push_back({"bits", scatter_svg(bits)});
  if (!energy.points.empty()) plots.push_back({"energy", scatter_svg(energy)});
  if (!speed.points.empty()) plots.push_back({"speed", scatter_svg(speed)});
  return plots;
}

// The file's name without its folder, unless two models share it.
std::string short_name(const SweepResults& results, size_t model) {
  const auto stem = [](const SweepResults::Named& one) {
    return std::filesystem::path(one.path).stem().string();
  };
  const SweepResults::Named& own = results.models[model];
  const auto same = std::count_if(results.models.begin(), results.models.end(),
                                  [&](const auto& other) { return stem(other) == stem(own); });
  return same == 1 ? stem(own) : own.path;
}

std::string quoted(const std::string& text) {  // a string of TOML: JSON's escapes are its own
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

// The sweep's file once more, from what the database says of it.
std::string sweep_file_text(const SweepResults& results) {
  std::string models, plans;
  for (const auto& model : results.models) {
    models += (models.empty() ? "" : ", ") + quoted(model.path);
  }
  for (size_t s = 1; s < results.subjects.size(); ++s) {
    std::string name = results.subjects[s].name;
    std::replace(name.begin(), name.end(), '\n', ' ');  // it would end the comment
    plans += "  " + quoted(results.subjects[s].detail) + ",  # " + name + "\n";
  }
  std::string text = "models = [" + models + "]\nplans = [\n" + plans + "]\n";
  for (const SweepSource& source : results.source_settings) {
    text +=
        source.task.empty() ? "\n[[text]]\n" : "\n[[task]]\ntask = " + quoted(source.task) + "\n";
    text += "name = " + quoted(source.name) +
            (source.is_made() ? "\nseed = " + source.path : "\npath = " + quoted(source.path)) +
            fmt::format("\ncontext = {}\nlimit = {}\n", source.context, source.limit);
    if (!source.jsonl.empty()) text += "jsonl = " + quoted(source.jsonl) + "\n";
    if (!source.separator.empty()) text += "separator = " + quoted(source.separator) + "\n";
    if (source.max_tokens > 0) text += fmt::format("max_tokens = {}\n", source.max_tokens);
  }
  return text;
}

std::string reproduction_html(const SweepResults& results) {
  std::string html =
      "<h2 id=\"reproduce\">How to reproduce this</h2>\n<section class=\"card\"><p>Napier " +
      markup_escaped(results.version) + ", with this file as <code>sweep.toml</code>:</p><pre>" +
      markup_escaped(sweep_file_text(results)) +
      "</pre><pre>napier sweep sweep.toml --db results.db\nnapier report results.db --output "
      "report.html</pre>\n<div class=\"scroll\"><table><thead><tr><th>file</th><th>hash</th></tr>"
      "</thead><tbody>\n";
  std::vector<SweepResults::Named> files = results.models;
  files.insert(files.end(), results.sources.begin(), results.sources.end());
  files.insert(files.end(), results.more_files.begin(), results.more_files.end());
  std::vector<std::string> told;
  for (const auto& file : files) {
    if (std::find(told.begin(), told.end(), file.path) != told.end()) continue;
    told.push_back(file.path);
    html += "<tr><td title=\"" + markup_escaped(file.path) + "\">" + markup_escaped(file.path) +
            "</td><td><code>" + markup_escaped(file.hash) + "</code></td></tr>\n";
  }
  return html + "</tbody></table></div></section>\n";
}

}  // namespace

NamedPlots sweep_plots(const SweepResults& results) {
  NamedPlots named;
  for (size_t model = 0; model < results.models.size(); ++model) {
    for (size_t source = 0; source < results.sources.size(); ++source) {
      for (Plot& plot : plots_of(results, model, source)) {
        std::string name = fmt::format("{}-{}-{}", short_name(results, model),
                                       results.sources[source].name, plot.kind);
        std::replace_if(
            name.begin(), name.end(),
            [](unsigned char c) { return !std::isalnum(c) && c != '-' && c != '_' && c != '.'; },
            '_');
        std::string free = name;
        const auto is_taken = [&](const auto& other) { return other.first == free; };
        for (int i = 2; std::any_of(named.begin(), named.end(), is_taken); ++i) {
          free = fmt::format("{}-{}", name, i);
        }
        named.emplace_back(std::move(free), std::move(plot.svg));
      }
    }
  }
  return named;
}

std::string sweep_page(const SweepResults& results,
                       const std::vector<std::pair<std::string, std::string>>& figures) {
  std::string html = k_head;
  html += fmt::format(
      "<h1>Language models under other arithmetics</h1>\n<p class=\"lead\">{} model{}, {} "
      "arithmetic{} and plan{}, {} text{} and task{}. The reference is the same model with every "
      "matrix multiplication in f32. <a href=\"#reproduce\">How to reproduce this</a></p>\n",
      results.models.size(), results.models.size() == 1 ? "" : "s", results.subjects.size() - 1,
      results.subjects.size() == 2 ? "" : "s", results.subjects.size() == 2 ? "" : "s",
      results.sources.size(), results.sources.size() == 1 ? "" : "s",
      results.sources.size() == 1 ? "" : "s");
  for (size_t model = 0; model < results.models.size(); ++model) {
    for (size_t source = 0; source < results.sources.size(); ++source) {
      const bool is_text = results.sources[source].detail.empty();
      html += "<h2>" + markup_escaped(short_name(results, model)) + ", " +
              markup_escaped(results.sources[source].name) + "</h2>\n<section class=\"card\">";
      if (!is_complete(results, model, source)) {
        html +=
            "<p class=\"note\">Not all of it is done yet: run the sweep again to go on.</p>"
            "</section>\n";
        continue;
      }
      html += is_text ? text_table_html(results, model, source)
                      : task_table_html(results, model, source);
      if (is_text) {
        html += fmt::format(
            "<p class=\"note\">{:.0f} scored tokens. Change: of the perplexity against the "
            "reference's on the same tokens, with a 95 % bootstrap interval over chunks or "
            "documents. KL: divergence from the reference, nats a token. Top-1, top-5: tokens that "
            "both find likeliest. Bits: stored for a weight, scales included. Tokens a second are "
            "of this emulation on the machine that ran "
            "it. Energy: multiplications, additions, conversions and bytes of a token with a whole "
            "context before it, by the prices that napier cost has by default; what has no price "
            "is left out.</p>\n",
            results.value(model, source, 0, "scored"));
      } else {
        html += fmt::format(
            "<p class=\"note\">{:.0f} questions. Lost, gained: only the reference, or only this "
            "one, is right; p: McNemar's exact test.</p>\n",
            results.value(model, source, 0, "questions"));
        html += flips_html(results, model, source);
      }
      html += "<div class=\"plots\">\n";
      for (const Plot& plot : plots_of(results, model, source)) {
        html += "<figure>" + plot.svg + "</figure>\n";
      }
      html += "</div></section>\n";
    }
  }
  for (const auto& [caption, svg] : figures) {
    html += "<section class=\"card\"><figure class=\"embedded\">" + svg + "<figcaption>" +
            markup_escaped(caption) + "</figcaption></figure></section>\n";
  }
  html += reproduction_html(results);
  return html + k_script + "</main></body></html>\n";
}

}  // namespace napier
