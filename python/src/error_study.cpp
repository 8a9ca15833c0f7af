// How wrong products and sums are: the figures of `napier error`, as JSON.
#include "analysis/error_study.hpp"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <optional>
#include <string>
#include <vector>

#include "bindings.hpp"
#include "pool.hpp"
#include "report/error_report.hpp"

namespace napier::python {
namespace {

// Operands are drawn from laws, or captured while a model reads a text.
std::string error_json(const std::string& show, const std::vector<std::string>& names,
                       const std::vector<std::string>& laws, const std::optional<std::string>& path,
                       const std::string& text, bool by_role, int64_t pairs,
                       const std::vector<int64_t>& lengths, const std::vector<int>& kept_bits,
                       bool formula, int context, int chunks, uint64_t seed) {
  ErrorStudyOptions options;
  options.pairs = pairs;
  if (!lengths.empty()) options.lengths = lengths;
  if (!kept_bits.empty()) options.kept_bits = kept_bits;
  options.variant.formula = formula;
  options.threads = get_threads();
  options.seed = seed;
  options.check();
  std::vector<NamedArithmetic> arithmetics;
  for (const std::string& name : names) arithmetics.push_back({name, parse_arithmetic(name)});
  std::vector<OperandSource> sources;
  for (const std::string& law : laws) sources.push_back({law, parse_operand_law(law), {}});
  const nb::gil_scoped_release release;
  if (path) {
    CaptureOptions capture;
    capture.context.context = context;
    capture.context.threads = options.threads;
    capture.context.check();
    capture.chunks = chunks;
    const Model model(*path);
    sources =
        sources_of(capture_operands(model, model.tokenise(text, true, false), capture), by_role);
  }
  if (show == "products")
    return products_json(study_products(arithmetics, sources, options), options);
  if (show == "dots") return dots_json(study_dots(arithmetics, sources, options));
  return offsets_json(study_offsets(sources, options), options);
}

}  // namespace

void bind_error_study(nb::module_& module) {
  module.def("error_json", &error_json, nb::arg("show"), nb::arg("arithmetics"), nb::arg("laws"),
             nb::arg("model").none(), nb::arg("text"), nb::arg("by_role"), nb::arg("pairs"),
             nb::arg("lengths"), nb::arg("kept_bits"), nb::arg("formula"), nb::arg("context"),
             nb::arg("chunks"), nb::arg("seed"));
}

}  // namespace napier::python
