#include "report/error_report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "report/csv.hpp"
#include "report/json.hpp"
#include "report/text_table.hpp"

namespace napier {
namespace {

std::string percent(double value, double error) {
  if (error > 0) return fmt::format("{:+.3f} +- {:.3f} %", 100 * value, 100 * error);
  return fmt::format("{:+.4f} %", 100 * value);
}

Json errors_json(const ProductErrors& errors) {
  return {{"pairs", errors.pairs},
          {"bias", errors.bias},
          {"bias_error", errors.bias_error},
          {"mean_abs", errors.mean_abs},
          {"mean_abs_error", errors.mean_abs_error},
          {"rms", errors.rms},
          {"variance", errors.variance},
          {"max_abs", errors.max_abs},
          {"mean_step", errors.mean_step},
          {"mean_step_error", errors.mean_step_error},
          {"nmse", errors.nmse},
          {"snr_db", errors.snr_db()},
          {"gain", errors.gain},
          {"zeros", errors.zeros},
          {"wrong_zeros", errors.wrong_zeros},
          {"flushed", errors.flushed},
          {"not_finite", errors.not_finite}};
}

Json errors_json(const DotErrors& errors) {
  return {{"dots", errors.dots},
          {"snr_db", errors.snr_db},
          {"snr_db_error", errors.snr_db_error},
          {"gain", errors.gain},
          {"gained_snr_db", errors.gained_snr_db},
          {"not_finite", errors.not_finite}};
}

std::string offset_name(int l) { return l == 0 ? "none" : fmt::format("2^-{}", l); }

const char* variant_name(const LmulVariant& variant) {
  return variant.formula ? "formula reading" : "adder reading";
}

// What tables of products and of codes begin with; mean errors with so many digits.
std::vector<std::string> error_cells(const ProductRow& row, int digits) {
  const ProductErrors& e = row.errors;
  return {row.operands,
          row.arith,
          percent(e.bias, e.bias_error),
          fmt::format("{:.{}f} %", 100 * e.mean_abs, digits),
          fmt::format("{:.{}f} %", 100 * e.rms, digits),
          fmt::format("{:.2f} %", 100 * e.max_abs),
          fmt::format("{:.2f}", e.snr_db()),
          fmt::format("{:.4f}", e.gain),
          fmt::format("{:.2f} %", 100 * e.flushed)};
}

}  // namespace

std::string products_table(const std::vector<ProductRow>& rows, const ErrorStudyOptions& options) {
  TextTable table({"operands", "arithmetic", "bias", "mean |e|", "rms", "max |e|", "SNR dB", "gain",
                   "flushed", "not finite", "mean step", "closed form"});
  for (const ProductRow& row : rows) {
    const ProductErrors& e = row.errors;
    std::vector<std::string> cells = error_cells(row, 3);
    cells.insert(cells.end(),
                 {fmt::format("{:.2f} %", 100 * e.not_finite), fmt::format("{:+.6f}", e.mean_step),
                  !row.closed ? "-"
                              : fmt::format("{:+.6f}{}", row.closed->mean_error,
                                            row.closed->is_formula ? "" : " (sum)")});
    table.add(std::move(cells));
  }
  return table.text() +
         fmt::format(
             "\ne = product / exact product - 1, of the operands before they are quantised; bias "
             "is "
             "its mean."
             "\n+- is one standard error of a sample; figures without it are of all pairs of "
             "{}-bit "
             "mantissas."
             "\nSNR weighs by magnitude: sum of exact^2 over sum of error^2; gain is the products' "
             "on the"
             "\nexact ones by least squares; flushed: products that are zero; not finite: products "
             "left out."
             "\nMean step: of error / 2^(xe+we), what the closed form predicts ('sum': over the "
             "kept "
             "mantissas,"
             "\nwith weights by formula).\n",
             options.source_bits);
}

std::string codes_table(const std::vector<ProductRow>& rows) {
  TextTable table({"operands", "arithmetic", "bias", "mean |e|", "rms", "max |e|", "SNR dB", "gain",
                   "flushed", "zeros", "wrong zeros", "not finite"});
  for (const ProductRow& row : rows) {
    const ProductErrors& e = row.errors;
    std::vector<std::string> cells = error_cells(row, 4);
    cells.insert(cells.end(), {fmt::format("{:.2f} %", 100 * e.zeros),
                               fmt::format("{:.2f} %", 100 * e.wrong_zeros),
                               fmt::format("{:.2f} %", 100 * e.not_finite)});
    table.add(std::move(cells));
  }
  return table.text() +
         "\ne = product / exact product - 1, of the numbers that the operands have become: the "
         "multiplier's error"
         "\nalone. All pairs of codes, each as often as the operands have it; +- is one standard "
         "error where that"
         "\nwas counted in a sample. Flushed: products that are zero; zeros: pairs with a zero, "
         "left out; wrong:"
         "\nof these, products that are not zero; not finite: left out too.\n";
}

std::string products_json(const std::vector<ProductRow>& rows, const ErrorStudyOptions& options) {
  Json list = Json::array();
  for (const ProductRow& row : rows) {
    Json entry = {{"operands", row.operands},
                  {"arith", row.arith},
                  {"enumerated", row.is_enumerated},
                  {"closed_form", nullptr}};
    if (row.closed) {
      entry["closed_form"] = {{"mean_step", row.closed->mean_error},
                              {"formula", row.closed->is_formula}};
    }
    entry["errors"] = errors_json(row.errors);
    list.push_back(std::move(entry));
  }
  return json_text(
      {{"source_bits", options.source_bits}, {"seed", options.seed}, {"products", list}});
}

std::string products_csv(const std::vector<ProductRow>& rows) {
  std::string text =
      "operands,arith,enumerated,pairs,bias,bias_error,mean_abs,mean_abs_error,rms,variance,"
      "max_abs,mean_step,mean_step_error,closed_form,nmse,gain,zeros,flushed,not_finite\n";
  for (const ProductRow& row : rows) {
    const ProductErrors& e = row.errors;
    text +=
        csv_row(row.operands, row.arith, row.is_enumerated ? 1 : 0, e.pairs, e.bias, e.bias_error,
                e.mean_abs, e.mean_abs_error, e.rms, e.variance, e.max_abs, e.mean_step,
                e.mean_step_error, row.closed ? row.closed->mean_error : std::nan(""), e.nmse,
                e.gain, e.zeros, e.flushed, e.not_finite);
  }
  return text;
}

std::string dots_table(const std::vector<DotRow>& rows) {
  TextTable table(
      {"operands", "arithmetic", "length", "SNR dB", "gain", "SNR dB at gain 1", "not finite"});
  for (const DotRow& row : rows) {
    const DotErrors& e = row.errors;
    table.add({row.operands, row.arith, std::to_string(row.length),
               fmt::format("{:.2f} +- {:.2f}", e.snr_db, e.snr_db_error),
               fmt::format("{:.4f}", e.gain), fmt::format("{:.2f}", e.gained_snr_db),
               fmt::format("{:.2f} %", 100 * e.not_finite)});
  }
  return table.text() +
         "\nSums of products by the kernel that models run on, against sums in double of the "
         "operands before"
         "\nthey are quantised. SNR: sum of exact^2 over sum of error^2, +- one standard error "
         "(jackknife over"
         "\nblocks). Gain: of the sums on the exact ones; at gain 1: once that factor is divided "
         "away.\n";
}

std::string dots_json(const std::vector<DotRow>& rows) {
  Json list = Json::array();
  for (const DotRow& row : rows) {
    list.push_back({{"operands", row.operands},
                    {"arith", row.arith},
                    {"length", row.length},
                    {"errors", errors_json(row.errors)}});
  }
  return json_text({{"dots", list}});
}

std::string dots_csv(const std::vector<DotRow>& rows) {
  std::string text =
      "operands,arith,length,dots,snr_db,snr_db_error,gain,gained_snr_db,not_finite\n";
  for (const DotRow& row : rows) {
    const DotErrors& e = row.errors;
    text += csv_row(row.operands, row.arith, row.length, e.dots, e.snr_db, e.snr_db_error, e.gain,
                    e.gained_snr_db, e.not_finite);
  }
  return text;
}

LineChart dots_chart(const std::vector<DotRow>& rows) {
  LineChart chart{.title = "Signal to noise of dot products",
                  .x_label = "length of the sum",
                  .y_label = "dB",
                  .log_x = true,
                  .lines = {}};
  for (const DotRow& row : rows) {
    if (row.operands != rows.front().operands) break;
    auto line = std::find_if(chart.lines.begin(), chart.lines.end(),
                             [&](const ChartLine& l) { return l.name == row.arith; });
    if (line == chart.lines.end()) line = chart.lines.insert(line, {row.arith, {}});
    line->points.push_back(
        {static_cast<double>(row.length), row.errors.snr_db, row.errors.snr_db_error});
  }
  if (!rows.empty()) chart.title += ", " + rows.front().operands + " operands";
  return chart;
}

std::string offsets_table(const std::vector<OffsetRow>& rows, const ErrorStudyOptions& options) {
  TextTable table({"operands", "k", "paper's l", "SNR dB", "dots dB", "best l, products", "SNR dB",
                   "best l, dots", "dots dB", "least |bias|", "best offset", "unbiased offset"});
  const auto name = [](const OffsetErrors& cell) { return offset_name(cell.l); };
  for (const OffsetRow& row : rows) {
    for (size_t i = 0; i < options.kept_bits.size(); ++i) {
      std::vector<OffsetErrors> cells;
      for (const OffsetErrors& cell : row.grid) {
        if (cell.k == options.kept_bits[i]) cells.push_back(cell);
      }
      const auto least = [&](const auto& figure) {
        return *std::min_element(cells.begin(), cells.end(), [&](const auto& a, const auto& b) {
          return figure(a) < figure(b);
        });
      };
      const OffsetErrors best = least([](const OffsetErrors& c) { return c.products.nmse; });
      const OffsetErrors best_dots = least([](const OffsetErrors& c) { return -c.dots.snr_db; });
      const OffsetErrors unbiased =
          least([](const OffsetErrors& c) { return std::fabs(c.products.bias); });
      const auto papers =
          std::find_if(cells.begin(), cells.end(), [](const auto& c) { return c.is_papers(); });
      const bool has = papers != cells.end();
      table.add(
          {row.operands, std::to_string(options.kept_bits[i]), has ? name(*papers) : "-",
           has ? fmt::format("{:.2f}", papers->products.snr_db()) : "-",
           has ? fmt::format("{:.2f}", papers->dots.snr_db) : "-", name(best),
           fmt::format("{:.2f}", best.products.snr_db()), name(best_dots),
           fmt::format("{:.2f} +- {:.2f}", best_dots.dots.snr_db, best_dots.dots.snr_db_error),
           name(unbiased), fmt::format("{:.4f}", row.best[i].least_squares),
           fmt::format("{:.4f}", row.best[i].unbiased)});
    }
  }
  return table.text() +
         fmt::format(
             "\nL-Mul, {}, k-bit mantissas, sums in f32. SNR of products and of dot products (rows "
             "of the"
             "\noperands) against exact ones. Best offset: the one of any size with the least sum "
             "of squared"
             "\nproduct errors; unbiased: with a mean relative error of zero (0 where none is).\n",
             variant_name(options.variant));
}

std::string offsets_json(const std::vector<OffsetRow>& rows, const ErrorStudyOptions& options) {
  Json list = Json::array();
  for (const OffsetRow& row : rows) {
    Json grid = Json::array();
    for (const OffsetErrors& cell : row.grid) {
      grid.push_back({{"k", cell.k},
                      {"l", cell.l},
                      {"papers", cell.is_papers()},
                      {"products", errors_json(cell.products)},
                      {"dots", errors_json(cell.dots)}});
    }
    Json best = Json::array();
    for (size_t i = 0; i < row.best.size(); ++i) {
      best.push_back({{"k", options.kept_bits[i]},
                      {"least_squares", row.best[i].least_squares},
                      {"unbiased", row.best[i].unbiased}});
    }
    list.push_back({{"operands", row.operands}, {"grid", grid}, {"best", best}});
  }
  return json_text({{"reading", options.variant.formula ? "formula" : "adder"}, {"offsets", list}});
}

std::string offsets_csv(const std::vector<OffsetRow>& rows) {
  std::string text =
      "operands,k,l,papers,bias,mean_abs,rms,nmse,gain,dots_snr_db,dots_snr_db_error,dots_gain\n";
  for (const OffsetRow& row : rows) {
    for (const OffsetErrors& cell : row.grid) {
      text += csv_row(row.operands, cell.k, cell.l, cell.is_papers() ? 1 : 0, cell.products.bias,
                      cell.products.mean_abs, cell.products.rms, cell.products.nmse,
                      cell.products.gain, cell.dots.snr_db, cell.dots.snr_db_error, cell.dots.gain);
    }
  }
  return text;
}

LineChart offsets_chart(const std::vector<OffsetRow>& rows, const std::vector<ProductRow>& levels) {
  LineChart chart{.title = "Error of L-Mul's products against kept mantissa bits",
                  .x_label = "mantissa bits k",
                  .y_label = "sum of error^2 / sum of exact^2, mean over operands",
                  .log_y = true,
                  .lines = {}};
  std::map<int, std::map<int, double>> by_offset;
  for (const OffsetRow& row : rows) {
    for (const OffsetErrors& cell : row.grid) {
      by_offset[cell.l][cell.k] += cell.products.nmse / static_cast<double>(rows.size());
    }
  }
  int first = 23;
  int last = 1;
  for (const auto& [l, by_k] : by_offset) {
    ChartLine line{"offset " + offset_name(l), {}};
    for (const auto& [k, nmse] : by_k) {
      line.points.push_back({static_cast<double>(k), nmse});
      first = std::min(first, k);
      last = std::max(last, k);
    }
    chart.lines.push_back(std::move(line));
  }
  std::vector<std::string> names;
  for (const ProductRow& level : levels) {
    if (std::find(names.begin(), names.end(), level.arith) == names.end()) {
      names.push_back(level.arith);
    }
  }
  for (const std::string& name : names) {
    double sum = 0;
    double count = 0;
    for (const ProductRow& level : levels) {
      if (level.arith != name) continue;
      sum += level.errors.nmse;
      ++count;
    }
    chart.lines.push_back(
        {name,
         {{static_cast<double>(first), sum / count}, {static_cast<double>(last), sum / count}},
         true});
  }
  return chart;
}

}  // namespace napier
