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
    return row.kind == like.kind && row.technology == like.technology;
  });
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
  TextTable table({"arithmetic", "unit", "technology", "cells", "area um^2", "of first", "delay ns",
                   "pJ/op", "of first", "pJ/op no glitches", "of first", "missed"});
  for (const HardwareRow& row : rows) {
    const HardwareRow& first = first_of(rows, row);
    table.add({row.arith, std::string(unit_kind_name(row.kind)), row.technology,
               fmt::format("{:.0f}", row.cells), measured(row.area, 0),
               percent(row.area.mean, first.area.mean), measured(row.delay, 2), measured(row.pj, 3),
               percent(row.pj.mean, first.pj.mean), measured(row.pj_glitch_free, 3),
               percent(row.pj_glitch_free.mean, first.pj_glitch_free.mean),
               std::to_string(row.missed)});
  }
  return table.text() +
         fmt::format(
             "\n{} operations on {} operands, both changing with each; +- the standard deviation "
             "of "
             "{} syntheses"
             "\nwith shuffled names and other scripts. {}. Combinational, no wires, clock or "
             "leakage: compare within "
             "a technology."
             "\nUnits: raw, the bare addition; same, rounded into the operands' format; wide, "
             "every "
             "product exact;"
             "\nstep, product and addition to a running sum, rounded once; add; convert, from "
             "f32.\n",
             options.vectors, operands, options.repeats,
             options.delay > 0
                 ? fmt::format("Least area within {} ns; missed: syntheses that are slower",
                               options.delay)
                 : "Least area");
}

std::string hardware_json(const std::vector<HardwareRow>& rows, const HardwareOptions& options,
                          const std::string& operands) {
  Json list = Json::array();
  for (const HardwareRow& row : rows) {
    list.push_back({{"arith", row.arith},
                    {"unit", unit_kind_name(row.kind)},
                    {"technology", row.technology},
                    {"cells", row.cells},
                    {"area", spread_json(row.area)},
                    {"delay", spread_json(row.delay)},
                    {"pj", spread_json(row.pj)},
                    {"pj_glitch_free", spread_json(row.pj_glitch_free)},
                    {"repeats", row.repeats},
                    {"missed", row.missed}});
  }
  const Json document = {{"operands", operands},
                         {"vectors", options.vectors},
                         {"delay", options.delay},
                         {"units", list}};
  return json_text(document);
}

std::string hardware_csv(const std::vector<HardwareRow>& rows) {
  std::string text =
      "arith,unit,technology,cells,area,area_sd,delay,delay_sd,pj,pj_sd,pj_glitch_free,"
      "pj_glitch_free_sd,repeats,missed\n";
  for (const HardwareRow& row : rows) {
    text += csv_row(row.arith, unit_kind_name(row.kind), row.technology, row.cells, row.area.mean,
                    row.area.deviation, row.delay.mean, row.delay.deviation, row.pj.mean,
                    row.pj.deviation, row.pj_glitch_free.mean, row.pj_glitch_free.deviation,
                    row.repeats, row.missed);
  }
  return text;
}

}  // namespace napier
