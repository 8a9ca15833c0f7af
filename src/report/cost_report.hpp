// What `napier cost` prints.
#pragma once

#include <string>
#include <vector>

#include "cost/model_cost.hpp"

namespace napier {

struct CostStudy {
  ModelShape shape;
  int64_t context = 0;
  CostOptions options;
  std::vector<std::string> names;  // of the plans, as they were asked for
  std::vector<ModelCost> costs;    // ratios are to the first
};

std::string cost_table(const CostStudy& study, bool by_role);
std::string cost_json(const CostStudy& study);
std::string cost_csv(const CostStudy& study);

// Tables of prices, every row with its source.
std::string prices_table(std::span<const PriceTable> tables);
std::string prices_json(std::span<const PriceTable> tables);

// Gates as L-Mul's paper has them, by its formula and by a correct one; and its energy ratios from
// its own prices.
std::string gates_table();
std::string gates_json();

}  // namespace napier
