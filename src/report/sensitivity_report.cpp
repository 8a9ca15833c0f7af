#include "report/sensitivity_report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <set>

#include "report/csv.hpp"
#include "report/json.hpp"
#include "report/plots.hpp"
#include "report/text_table.hpp"

namespace napier {
namespace {

constexpr double k_nan = std::numeric_limits<double>::quiet_NaN();

// In the order of the computation; others follow by name.
constexpr std::array k_role_order = {"attn_q",      "attn_k",   "attn_v", "kq",       "kqv",
                                     "attn_output", "ffn_gate", "ffn_up", "ffn_down", "output"};

const char* part_name(Part part) {
  return part == Part::matmul ? "matmul" : part == Part::role ? "role" : "layer";
}

std::string layer_name(std::optional<int> layer) {
  return layer ? "layer " + std::to_string(*layer) : "no layer";
}

// Layers by roles; a cell where the model has such a multiplication.
struct Grid {
  std::vector<std::string> rows, columns;
  std::vector<std::vector<double>> values;
};

Grid grid_of(const std::vector<MatmulInspection>& matmuls,
             const std::function<double(size_t matmul)>& value) {
  Grid grid;
  std::set<std::string> others;
  for (const MatmulInspection& matmul : matmuls) {
    const std::string row = layer_name(matmul.layer);
    if (grid.rows.empty() || grid.rows.back() != row) grid.rows.push_back(row);
    others.insert(matmul.role);
  }
  for (const char* role : k_role_order) {
    if (others.erase(role)) grid.columns.push_back(role);
  }
  grid.columns.insert(grid.columns.end(), others.begin(), others.end());
  grid.values.assign(grid.rows.size(), std::vector<double>(grid.columns.size(), k_nan));
  for (size_t i = 0; i < matmuls.size(); ++i) {
    const auto row = std::find(grid.rows.begin(), grid.rows.end(), layer_name(matmuls[i].layer));
    const auto column = std::find(grid.columns.begin(), grid.columns.end(), matmuls[i].role);
    grid.values[static_cast<size_t>(row - grid.rows.begin())]
               [static_cast<size_t>(column - grid.columns.begin())] = value(i);
  }
  return grid;
}

// The result with one matrix multiplication switched, or nullptr if that was not asked for.
const Result* part_of(const ArithmeticSensitivity& entry, Part part, const std::string& name) {
  const auto found = std::find_if(entry.parts.begin(), entry.parts.end(),
                                  [&](const auto& p) { return p.part == part && p.name == name; });
  return found == entry.parts.end() ? nullptr : &found->result;
}

// What is drawn for each arithmetic.
struct View {
  const char* title;
  const char* unit;
  int digits;
  bool darker_is_less;
  double (*value)(const MatmulInspection& matmul, size_t arithmetic, const Result* switched);
};

constexpr std::array k_views = {
    View{"signal-to-noise ratio", "dB, of the exact result on the same operands", 1, true,
         [](const MatmulInspection& matmul, size_t i, const Result*) { return matmul.snr[i]; }},
    View{"KL with only this one switched", "thousandths of a nat a token", 3, false,
         [](const MatmulInspection&, size_t, const Result* switched) {
           return switched ? 1000 * switched->kl.mean : k_nan;
         }},
    View{"loss change with only this one switched", "thousandths of a nat a token", 2, false,
         [](const MatmulInspection&, size_t, const Result* switched) {
           return switched ? 1000 * switched->loss_change.mean : k_nan;
         }},
};

Grid view_grid(const Sensitivity& sensitivity, size_t arithmetic, const View& view) {
  const ArithmeticSensitivity& entry = sensitivity.arithmetics[arithmetic];
  return grid_of(sensitivity.matmuls, [&](size_t i) {
    const MatmulInspection& matmul = sensitivity.matmuls[i];
    return view.value(matmul, arithmetic, part_of(entry, Part::matmul, matmul.name));
  });
}

bool is_empty(const Grid& grid) {
  return std::all_of(grid.values.begin(), grid.values.end(), [](const auto& row) {
    return std::all_of(row.begin(), row.end(), [](double v) { return std::isnan(v); });
  });
}

Json histogram_json(const OperandHistogram& histogram) {
  Json exponents = Json::object();
  for (const auto& [exponent, count] : histogram.exponents) {
    exponents[std::to_string(exponent)] = count;
  }
  return {{"zeros", histogram.zeros}, {"exponents", exponents}, {"mantissas", histogram.mantissas}};
}

// The operands of one role in all layers together.
std::map<std::string, OperandHistogram> by_role(const Sensitivity& sensitivity,
                                                OperandHistogram MatmulInspection::*operand) {
  std::map<std::string, OperandHistogram> result;
  for (const MatmulInspection& matmul : sensitivity.matmuls) {
    OperandHistogram& sum = result[matmul.role];
    const OperandHistogram& one = matmul.*operand;
    for (const auto& [exponent, count] : one.exponents) sum.exponents[exponent] += count;
    for (size_t i = 0; i < one.mantissas.size(); ++i) sum.mantissas[i] += one.mantissas[i];
    sum.zeros += one.zeros;
  }
  return result;
}

std::string exponents_svg(const Sensitivity& sensitivity, const char* title,
                          OperandHistogram MatmulInspection::*operand) {
  LinePlot plot{title, "exponent, floor(log2 |value|)", "part of all values", {}};
  for (const auto& [role, histogram] : by_role(sensitivity, operand)) {
    LinePlot::Line line{role, {}, {}};
    if (histogram.exponents.empty()) continue;
    // Lower ones are few; one value of 2^-100 would press all others together.
    const int last = histogram.exponents.rbegin()->first;
    for (int e = std::max(histogram.exponents.begin()->first, last - 32); e <= last; ++e) {
      const auto found = histogram.exponents.find(e);
      const double count =
          found == histogram.exponents.end() ? 0 : static_cast<double>(found->second);
      line.x.push_back(e);
      line.y.push_back(count / static_cast<double>(histogram.count()));
    }
    plot.lines.push_back(std::move(line));
  }
  return line_svg(plot);
}

std::string mantissas_svg(const Sensitivity& sensitivity, const char* title,
                          OperandHistogram MatmulInspection::*operand) {
  LinePlot plot{title, "mantissa", "density", {}};
  for (const auto& [role, histogram] : by_role(sensitivity, operand)) {
    const auto all = static_cast<double>(histogram.count() - histogram.zeros);
    LinePlot::Line line{role, {}, {}};
    for (size_t i = 0; i < histogram.mantissas.size() && all > 0; ++i) {
      constexpr double bins = OperandHistogram::k_mantissa_bins;
      line.x.push_back(1 + (static_cast<double>(i) + 0.5) / bins);
      line.y.push_back(static_cast<double>(histogram.mantissas[i]) / all * bins);
    }
    if (all > 0) plot.lines.push_back(std::move(line));
  }
  return line_svg(plot);
}

}  // namespace

std::string sensitivity_table(const Sensitivity& sensitivity) {
  const Evaluation& evaluation = sensitivity.evaluation;
  std::string text =
      fmt::format("model {}, text {}, {} chunks of {}, {} scored tokens\n", evaluation.model,
                  evaluation.text, evaluation.units, evaluation.context, evaluation.scored);
  for (size_t i = 0; i < sensitivity.arithmetics.size(); ++i) {
    const ArithmeticSensitivity& entry = sensitivity.arithmetics[i];
    const Result& everywhere = evaluation.results[i];
    text += std::isfinite(everywhere.kl.mean)
                ? fmt::format(
                      "\n{}: everywhere, the loss changes by {:+.3f} and KL is {:.3f}, in "
                      "thousandths of a nat\n",
                      entry.arith, 1000 * everywhere.loss_change.mean, 1000 * everywhere.kl.mean)
                : fmt::format("\n{}: everywhere, the logits are not numbers\n", entry.arith);
    for (const View& view : k_views) {
      const Grid grid = view_grid(sensitivity, i, view);
      if (is_empty(grid)) continue;
      std::vector<std::string> header = grid.columns;
      header.insert(header.begin(), view.title);
      TextTable table(std::move(header));
      for (size_t r = 0; r < grid.rows.size(); ++r) {
        std::vector<std::string> row = {grid.rows[r]};
        for (const double value : grid.values[r]) {
          row.push_back(std::isnan(value)   ? ""
                        : std::isinf(value) ? "exact"
                                            : fmt::format("{:.{}f}", value, view.digits));
        }
        table.add(std::move(row));
      }
      text += "\n" + table.text() + "(" + view.unit + ")\n";
    }
    TextTable table({"only", "KL", "loss change"});
    bool any = false;
    for (const PartResult& part : entry.parts) {
      if (part.part == Part::matmul) continue;
      any = true;
      table.add({part.part == Part::layer ? "layer " + part.name : part.name,
                 fmt::format("{:.3f}", 1000 * part.result.kl.mean),
                 fmt::format("{:+.3f} +- {:.3f}", 1000 * part.result.loss_change.mean,
                             1000 * part.result.loss_change.error)});
    }
    if (any) text += "\n" + table.text() + "(thousandths of a nat a token, +- standard error)\n";
  }
  return text;
}

std::string sensitivity_json(const Sensitivity& sensitivity) {
  const Evaluation& evaluation = sensitivity.evaluation;
  Json matmuls = Json::array();
  for (const MatmulInspection& matmul : sensitivity.matmuls) {
    Json snr = Json::object();
    for (size_t i = 0; i < sensitivity.arithmetics.size(); ++i) {
      snr[sensitivity.arithmetics[i].arith] = matmul.snr[i];
    }
    matmuls.push_back({{"name", matmul.name},
                       {"role", matmul.role},
                       {"layer", matmul.layer ? Json(*matmul.layer) : Json(nullptr)},
                       {"snr_db", snr},
                       {"x", histogram_json(matmul.x)},
                       {"w", histogram_json(matmul.w)}});
  }
  Json arithmetics = Json::array();
  for (size_t i = 0; i < sensitivity.arithmetics.size(); ++i) {
    const ArithmeticSensitivity& entry = sensitivity.arithmetics[i];
    Json parts = Json::array();
    for (const PartResult& part : entry.parts) {
      Json json = {{"part", part_name(part.part)}, {"name", part.name}};
      json.update(result_json(part.result));
      json.erase("arith");
      parts.push_back(std::move(json));
    }
    arithmetics.push_back({{"arith", entry.arith},
                           {"everywhere", result_json(evaluation.results[i])},
                           {"parts", std::move(parts)}});
  }
  return json_text({{"model", evaluation.model},
                    {"text", evaluation.text},
                    {"ctx", evaluation.context},
                    {"chunks", evaluation.units},
                    {"scored", evaluation.scored},
                    {"reference", result_json(evaluation.reference)},
                    {"matmuls", std::move(matmuls)},
                    {"arithmetics", std::move(arithmetics)}});
}

std::string sensitivity_csv(const Sensitivity& sensitivity) {
  std::string text = "arith,part,name,snr_db,kl_mean,loss_change,loss_change_error\n";
  for (size_t i = 0; i < sensitivity.arithmetics.size(); ++i) {
    const ArithmeticSensitivity& entry = sensitivity.arithmetics[i];
    for (const PartResult& part : entry.parts) {
      const auto matmul = std::find_if(sensitivity.matmuls.begin(), sensitivity.matmuls.end(),
                                       [&](const auto& m) { return m.name == part.name; });
      const bool has_snr = part.part == Part::matmul && matmul != sensitivity.matmuls.end();
      text +=
          csv_row(entry.arith, part_name(part.part), part.name, has_snr ? matmul->snr[i] : k_nan,
                  part.result.kl.mean, part.result.loss_change.mean, part.result.loss_change.error);
    }
  }
  return text;
}

std::string sensitivity_svg(const Sensitivity& sensitivity) {
  std::vector<std::string> plots;
  for (size_t i = 0; i < sensitivity.arithmetics.size(); ++i) {
    for (const View& view : k_views) {
      Grid grid = view_grid(sensitivity, i, view);
      if (is_empty(grid)) continue;
      plots.push_back(
          heat_map_svg({sensitivity.arithmetics[i].arith + ": " + view.title, std::move(grid.rows),
                        std::move(grid.columns), std::move(grid.values), view.unit, view.digits,
                        view.darker_is_less}));
    }
  }
  plots.push_back(exponents_svg(sensitivity, "exponents of activations", &MatmulInspection::x));
  plots.push_back(exponents_svg(sensitivity, "exponents of weights", &MatmulInspection::w));
  plots.push_back(mantissas_svg(sensitivity, "mantissas of activations", &MatmulInspection::x));
  plots.push_back(mantissas_svg(sensitivity, "mantissas of weights", &MatmulInspection::w));
  return stacked_svg(plots);
}

}  // namespace napier
