#include "report/cost_report.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "cost/gate_count.hpp"
#include "report/csv.hpp"
#include "report/json.hpp"
#include "report/text_table.hpp"

namespace napier {
namespace {

// An energy in pJ, in a unit that fits.
std::string energy(double pj) {
  if (pj >= 1e12) return fmt::format("{:.3f} J", pj * 1e-12);
  if (pj >= 1e9) return fmt::format("{:.3f} mJ", pj * 1e-9);
  if (pj >= 1e6) return fmt::format("{:.3f} uJ", pj * 1e-6);
  return fmt::format("{:.3f} nJ", pj * 1e-3);
}

std::string bytes(double count) {
  if (count >= 1e9) return fmt::format("{:.3f} GB", count * 1e-9);
  if (count >= 1e6) return fmt::format("{:.3f} MB", count * 1e-6);
  return fmt::format("{:.3f} kB", count * 1e-3);
}

std::string ratio(double part, double whole) {
  return whole == 0 ? "-" : fmt::format("{:.1f} %", 100 * part / whole);
}

Json split_json(const EnergySplit& e) {
  return {{"multiply", e.multiply},  {"accumulate", e.accumulate},
          {"convert", e.convert},    {"elementwise", e.elementwise},
          {"register", e.registers}, {"sram", e.sram},
          {"dram", e.dram},          {"arithmetic", e.arithmetic()},
          {"total", e.total()}};
}

Json counts_json(const Counts& c) {
  return {{"multiplications", c.multiplications},
          {"additions", c.additions},
          {"conversions", c.conversions},
          {"elementwise", c.elementwise},
          {"register_bytes", c.register_bytes},
          {"sram_bytes", c.sram_bytes},
          {"dram_bytes", c.dram_bytes}};
}

std::vector<std::string> split_cells(const EnergySplit& e) {
  return {energy(e.multiply),  energy(e.accumulate), energy(e.convert), energy(e.elementwise),
          energy(e.registers), energy(e.sram),       energy(e.dram),    energy(e.total())};
}

std::string left_out(const std::set<Operation>& free) {
  std::string text;
  for (const Operation operation : free) {
    text += (text.empty() ? "" : ", ") + std::string(operation_name(operation));
  }
  return text;
}

// Of L-Mul's paper, with the tables' figures.
struct Claim {
  std::string name;
  std::string formula;
  double value;
};

std::vector<Claim> claims() {
  const Prices paper("lmul-paper,horowitz45");
  const auto pj = [&](Operation operation, const char* family, const char* format) {
    return paper({operation, family, format}).pj;
  };
  using enum Operation;
  const double m32 = pj(multiply, "exact", "f32");
  const double m16 = pj(multiply, "exact", "f16");
  const double l32 = pj(multiply, "lmul", "f32");
  const double l16 = pj(multiply, "lmul", "f16");
  const double a32 = pj(add, "", "f32");
  const double a16 = pj(add, "", "f16");
  const double i8 = pj(multiply, "exact", "int8");
  const double i32 = pj(add, "", "int32");
  const auto over = [](double l, double m, double a) {
    return fmt::format("({} + {}) / ({} + {})", l, a, m, a);
  };
  return {
      {"element-wise product, fp32, costs", fmt::format("{} / {}", l32, m32), l32 / m32},
      {"element-wise product, fp16, costs", fmt::format("{} / {}", l16, m16), l16 / m16},
      {"dot product, fp32, costs", over(l32, m32, a32), (l32 + a32) / (m32 + a32)},
      {"dot product, fp16, costs", over(l16, m16, a16), (l16 + a16) / (m16 + a16)},
      {"dot product, fp16 L-Mul, f16 sums, against int8 with int32 sums",
       fmt::format("({} + {}) / ({} + {})", l16, a16, i8, i32), (l16 + a16) / (i8 + i32)},
  };
}

}  // namespace

std::string cost_table(const CostStudy& study, bool by_role) {
  std::string text = fmt::format("{}: one token at a context of {}, batch {}; {:.4g} products\n\n",
                                 study.shape.name, study.context, study.options.batch,
                                 study.shape.multiplications());
  std::vector<std::string> header = {"arithmetic", "multiply",     "accumulate",
                                     "convert",    "element-wise", "registers",
                                     "SRAM",       "DRAM",         "total"};
  if (by_role) header.insert(header.begin() + 1, {"role", "computed in"});
  if (!by_role) header.insert(header.end(), {"of first", "arithmetic alone", "DRAM read"});
  TextTable table(header);
  for (size_t i = 0; i < study.costs.size(); ++i) {
    const ModelCost& cost = study.costs[i];
    if (by_role) {
      for (const RoleCost& role : cost.roles) {
        std::vector<std::string> cells = split_cells(role.energy);
        cells.insert(cells.begin(), {study.names[i], role.role, role.arithmetic});
        table.add(cells);
      }
      continue;
    }
    std::vector<std::string> cells = split_cells(cost.energy);
    cells.insert(cells.begin(), study.names[i]);
    cells.push_back(ratio(cost.energy.total(), study.costs[0].energy.total()));
    cells.push_back(ratio(cost.energy.arithmetic(), study.costs[0].energy.arithmetic()));
    cells.push_back(bytes(cost.counts.dram_bytes));
    table.add(cells);
  }
  text += table.text() + "\nPrices (pJ an operation or byte):\n";
  TextTable prices({"operation", "pJ", "table", "note"});
  std::vector<PriceKey> shown;
  for (const ModelCost& cost : study.costs) {
    for (size_t i = 0; i < cost.prices.size(); ++i) {
      const Price& price = cost.prices[i];
      if (std::find(shown.begin(), shown.end(), price.key) != shown.end()) continue;
      shown.push_back(price.key);
      prices.add(
          {to_string(price.key), fmt::format("{:.4g}", price.pj), cost.tables[i], price.note});
    }
  }
  text += prices.text();
  if (!study.options.free.empty()) {
    text += "\nLeft out by wish (--free): " + left_out(study.options.free) + ".\n";
  }
  return text +
         "\nConvert: rounding into operands' and products' formats, scaling. Element-wise products "
         "(norms, rotary"
         "\nembedding, gating, soft-max) are f32 under every plan. Weights come from DRAM once a "
         "step, in the"
         "\nplan's own format, and are shared by the batch; each sequence's keys and values are "
         "its "
         "own. Of experts each token draws its own. " +
         (study.shape.windows.empty() ? "Every layer attends to the whole context"
                                      : "Of the context " + study.shape.windows) +
         ".\nDivisions, exponentials, control and leakage are not counted.\n";
}

std::string cost_json(const CostStudy& study) {
  Json plans = Json::array();
  for (size_t i = 0; i < study.costs.size(); ++i) {
    const ModelCost& cost = study.costs[i];
    Json roles = Json::array();
    for (const RoleCost& role : cost.roles) {
      roles.push_back({{"role", role.role},
                       {"arith", role.arithmetic},
                       {"counts", counts_json(role.counts)},
                       {"pj", split_json(role.energy)}});
    }
    Json prices = Json::array();
    for (size_t j = 0; j < cost.prices.size(); ++j) {
      const Price& price = cost.prices[j];
      prices.push_back({{"operation", to_string(price.key)},
                        {"pj", price.pj},
                        {"spread", price.spread},
                        {"table", cost.tables[j]},
                        {"source", price.source},
                        {"note", price.note}});
    }
    plans.push_back({{"arith", study.names[i]},
                     {"plan", cost.plan},
                     {"counts", counts_json(cost.counts)},
                     {"pj", split_json(cost.energy)},
                     {"stored_bytes", cost.stored_bytes},
                     {"roles", roles},
                     {"prices", prices}});
  }
  Json free = Json::array();
  for (const Operation operation : study.options.free) free.push_back(operation_name(operation));
  return json_text({{"model", study.shape.name},
                    {"windows", study.shape.windows},
                    {"ctx", study.context},
                    {"batch", study.options.batch},
                    {"tile", study.options.tile},
                    {"free", free},
                    {"plans", plans}});
}

std::string cost_csv(const CostStudy& study) {
  std::string text =
      "arith,role,role_arith,multiplications,additions,conversions,elementwise,register_bytes,"
      "sram_bytes,dram_bytes,pj_multiply,pj_accumulate,pj_convert,pj_elementwise,pj_register,"
      "pj_sram,pj_dram,pj_total\n";
  for (size_t i = 0; i < study.costs.size(); ++i) {
    for (const RoleCost& role : study.costs[i].roles) {
      const Counts& c = role.counts;
      const EnergySplit& e = role.energy;
      text += csv_row(study.names[i], role.role, role.arithmetic, c.multiplications, c.additions,
                      c.conversions, c.elementwise, c.register_bytes, c.sram_bytes, c.dram_bytes,
                      e.multiply, e.accumulate, e.convert, e.elementwise, e.registers, e.sram,
                      e.dram, e.total());
    }
  }
  return text;
}

std::string prices_table(std::span<const PriceTable> tables) {
  std::string text;
  for (const PriceTable& table : tables) {
    text += fmt::format("{}: {}\n{}\n\n", table.name, table.title, table.source);
    TextTable rows({"operation", "pJ", "+-", "note", "source"});
    for (const Price& price : table.prices) {
      rows.add({to_string(price.key), fmt::format("{:.4g}", price.pj),
                price.spread > 0 ? fmt::format("{:.2g}", price.spread) : "-", price.note,
                price.source == table.source ? "as above" : price.source});
    }
    text += rows.text() + "\n";
  }
  return text + "dram, sram and register: pJ a byte.\n";
}

std::string prices_json(std::span<const PriceTable> tables) {
  Json list = Json::array();
  for (const PriceTable& table : tables) {
    Json rows = Json::array();
    for (const Price& price : table.prices) {
      rows.push_back({{"operation", operation_name(price.key.operation)},
                      {"family", price.key.family},
                      {"format", price.key.format},
                      {"pj", price.pj},
                      {"spread", price.spread},
                      {"source", price.source},
                      {"note", price.note}});
    }
    list.push_back(
        {{"name", table.name}, {"title", table.title}, {"source", table.source}, {"prices", rows}});
  }
  return json_text(list);
}

std::string gates_table() {
  TextTable gates({"unit", "as printed", "by its formula", "not derivable", "array multiplier",
                   "corrected total"});
  for (const PaperGates& row : paper_gates()) {
    const bool known = row.mantissa_bits.has_value();
    gates.add({std::string(row.unit), std::to_string(row.printed),
               known ? std::to_string(row.by_formula()) : "-", std::to_string(row.rest()),
               known ? std::to_string(array_multiplier_gates(*row.mantissa_bits + 1).total()) : "-",
               known ? std::to_string(row.corrected()) : "-"});
  }
  TextTable ratios({"L-Mul's paper", "formula", "of the ordinary"});
  for (const Claim& claim : claims()) {
    ratios.add({claim.name, claim.formula, fmt::format("{:.1f} %", 100 * claim.value)});
  }
  return gates.text() +
         "\nThe paper's formula for j-bit mantissas: (j+1)^2 AND, 3 half adders of 5 gates, 2j-2 "
         "full adders of 11."
         "\nWhat remains of its totals has no breakdown: as printed, not derivable. An array "
         "multiplier of n = j+1"
         "\nbits: n^2 AND, n half adders, n(n-2) full adders; corrected: that in the formula's "
         "place.\n\n" +
         ratios.text() + "\npJ, 45 nm: `napier cost --show prices`.\n";
}

std::string gates_json() {
  Json gates = Json::array();
  for (const PaperGates& row : paper_gates()) {
    Json entry = {{"unit", row.unit},
                  {"printed", row.printed},
                  {"by_formula", nullptr},
                  {"not_derivable", row.rest()},
                  {"array_multiplier", nullptr},
                  {"corrected", nullptr}};
    if (row.mantissa_bits) {
      entry["by_formula"] = row.by_formula();
      entry["array_multiplier"] = array_multiplier_gates(*row.mantissa_bits + 1).total();
      entry["corrected"] = row.corrected();
    }
    gates.push_back(std::move(entry));
  }
  Json ratios = Json::array();
  for (const Claim& claim : claims()) {
    ratios.push_back({{"claim", claim.name}, {"formula", claim.formula}, {"ratio", claim.value}});
  }
  return json_text({{"gates", gates}, {"ratios", ratios}});
}

}  // namespace napier
