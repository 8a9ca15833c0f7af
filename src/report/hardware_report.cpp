#include "report/hardware_report.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "report/csv.hpp"
#include "report/json.hpp"
#include "report/text_table.hpp"

namespace napier {
namespace {

std::string measured(const MeanAndDeviation& spread, int digits) {
  return fmt::format("{:.{}f} +- {:.{}f}", spread.mean, digits, spread.deviation, digits);
}

const HardwareRow& first_of(const std::vector<HardwareRow>& rows, const HardwareRow& like) {
  return *std::find_if(rows.begin(), rows.end(), [&](const HardwareRow& row) {
    return row.kind == like.kind && row.technology == like.technology && row.target == like.target;
  });
}

std::string unit_name(const HardwareRow& row) {
  return std::string(unit_kind_name(row.kind)) +
         (row.lanes > 1 ? fmt::format(" of {}", row.lanes) : "") +
         (row.timing == Timing::pipelined ? ", pipelined" : "");
}

std::string goal(const HardwareRow& row) {
  if (row.target <= 0) return "area";
  return fmt::format("{:.2f} ns", row.target) +
         (row.missed > 0 ? fmt::format(", {} miss", row.missed) : "");
}

std::string percent(double part, double whole) {
  return fmt::format("{:.1f} %", 100 * part / whole);
}

Json spread_json(const MeanAndDeviation& spread) {
  return {{"mean", spread.mean}, {"deviation", spread.deviation}};
}

}  // namespace

std::string hardware_table(const std::vector<HardwareRow>& rows, const HardwareOptions& options,
                           const std::string& operands) {
  TextTable table({"arithmetic", "unit", "technology", "made for", "cells", "area um^2", "of first",
                   "delay ns", "pJ/op", "of first", "pJ/op no glitches", "of first"});
  for (const HardwareRow& row : rows) {
    const HardwareRow& first = first_of(rows, row);
    table.add({row.arith, unit_name(row), row.technology, goal(row),
               fmt::format("{:.0f}", row.cells), measured(row.area, row.area.mean < 1000 ? 2 : 0),
               percent(row.area.mean, first.area.mean), measured(row.delay, 2), measured(row.pj, 3),
               percent(row.pj.mean, first.pj.mean), measured(row.pj_glitch_free, 3),
               percent(row.pj_glitch_free.mean, first.pj_glitch_free.mean)});
  }
  return table.text() +
         fmt::format(
             "\n{} operations on {} operands, both changing with each; +- the standard deviation "
             "of {} syntheses\nwith shuffled names and other scripts. No wires and no leakage: "
             "compare within a technology.\nMade for: least area, or least area within so many ns "
             "(of a pipeline, a cycle), which as many\nsyntheses as are named miss. Units: raw, "
             "the bare addition; same, rounded into the operands'\nformat; wide, every product "
             "exact; "
             "step, product and addition to a running sum, rounded once, or in\nfixed point; dot, "
             "products aligned and added at a time; add; convert, from f32; round, a fixed-point\n"
             "sum into f32; requantise, an integer sum into integers of another scale; terms, a "
             "weight's\npowers of two. An operation of a dot is all its lanes.\nPipelined: "
             "registers and their clock's pins counted, no clock "
             "tree.\n",
             options.vectors, operands, options.repeats);
}

std::string hardware_json(const std::vector<HardwareRow>& rows, const HardwareOptions& options,
                          const std::string& operands) {
  Json list = Json::array();
  for (const HardwareRow& row : rows) {
    list.push_back({{"arith", row.arith},
                    {"unit", unit_kind_name(row.kind)},
                    {"pipelined", row.timing == Timing::pipelined},
                    {"lanes", row.lanes},
                    {"technology", row.technology},
                    {"target", row.target},
                    {"cells", row.cells},
                    {"area", spread_json(row.area)},
                    {"delay", spread_json(row.delay)},
                    {"pj", spread_json(row.pj)},
                    {"pj_glitch_free", spread_json(row.pj_glitch_free)},
                    {"repeats", row.repeats},
                    {"missed", row.missed}});
  }
  const Json document = {{"operands", operands}, {"vectors", options.vectors}, {"units", list}};
  return json_text(document);
}

std::string hardware_csv(const std::vector<HardwareRow>& rows) {
  std::string text =
      "arith,unit,pipelined,lanes,technology,target,cells,area,area_sd,delay,delay_sd,pj,pj_sd,pj_"
      "glitch_free,"
      "pj_glitch_free_sd,repeats,missed\n";
  for (const HardwareRow& row : rows) {
    text += csv_row(row.arith, unit_kind_name(row.kind), row.timing == Timing::pipelined, row.lanes,
                    row.technology, row.target, row.cells, row.area.mean, row.area.deviation,
                    row.delay.mean, row.delay.deviation, row.pj.mean, row.pj.deviation,
                    row.pj_glitch_free.mean, row.pj_glitch_free.deviation, row.repeats, row.missed);
  }
  return text;
}

}  // namespace napier
