// What a token costs: the figures of `napier cost`, as JSON.
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <string>
#include <utility>
#include <vector>

#include "bindings.hpp"
#include "napier/error.hpp"
#include "report/cost_report.hpp"

namespace napier::python {
namespace {

std::string cost(const std::string& model, const std::vector<std::pair<std::string, Plan>>& plans,
                 const std::string& prices, int64_t context, int64_t batch, int64_t tile) {
  if (context < 1 || context > 1 << 24) {
    throw Error("context: " + std::to_string(context) +
                " tokens: give 1 to 16777216, the token "
                "itself included");
  }
  CostOptions options;
  options.batch = batch;
  options.tile = tile;
  options.check();
  const Prices priced(prices);
  CostStudy study{shape_of_model(model, context), context, options, {}, {}};
  for (const auto& [name, plan] : plans) {
    study.names.push_back(name);
    study.costs.push_back(cost_of(study.shape, plan, priced, options));
  }
  return cost_json(study);
}

}  // namespace

void bind_cost(nb::module_& module) {
  module.def("cost_json", &cost, nb::arg("model"), nb::arg("plans"), nb::arg("prices"),
             nb::arg("context"), nb::arg("batch"), nb::arg("tile"),
             nb::call_guard<nb::gil_scoped_release>());
}

}  // namespace napier::python
