// Arithmetic and Plan: written forms, and what runs them.
#include "napier/arithmetic.hpp"

#include <nanobind/operators.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bindings.hpp"
#include "napier/error.hpp"
#include "napier/gemm.hpp"
#include "napier/plan.hpp"
#include "recipes/quantize.hpp"
#include "recipes/recipe.hpp"
#include "report/explanation.hpp"

namespace napier::python {

void bind_arithmetic(nb::module_& module) {
  nb::class_<Arithmetic>(module, "Arithmetic",
                         "With which numbers, products and sums matrices are multiplied.\n\n"
                         "Read from its written form, such as 'lmul-m4' or "
                         "'x=e8m4:rtz/w=e8m4:rtz/mul=lmul/acc=f32'. Raises ParseError.")
      .def(
          "__init__",
          [](Arithmetic* self, const std::string& text) {
            new (self) Arithmetic(parse_arithmetic(text));
          },
          nb::arg("text"))
      .def("__str__", [](const Arithmetic& a) { return to_string(a); })
      .def("__repr__",
           [](const Arithmetic& a) { return "napier.Arithmetic('" + to_string(a) + "')"; })
      .def(
          "__eq__", [](const Arithmetic& a, const Arithmetic& b) { return a == b; },
          nb::is_operator(), nb::sig("def __eq__(self, other: object, /) -> bool"))
      .def("__hash__", [](const Arithmetic& a) { return nb::hash(nb::cast(to_string(a))); })
      .def(
          "__reduce__",
          [](const Arithmetic& a) {
            return nb::make_tuple(nb::type<Arithmetic>(), nb::make_tuple(to_string(a)));
          },
          nb::sig("def __reduce__(self) -> tuple[type[Arithmetic], tuple[str]]"))
      .def_prop_ro(
          "name", [](const Arithmetic& a) { return display_name(a); },
          "The preset that it equals, or its written form.")
      .def_prop_ro(
          "x", [](const Arithmetic& a) { return to_string(a.x); }, "The activations.")
      .def_prop_ro(
          "w", [](const Arithmetic& a) { return to_string(a.w); }, "The weights.")
      .def_prop_ro("multiplier", [](const Arithmetic& a) { return to_string(a.multiplier); })
      .def_prop_ro("accumulator", [](const Arithmetic& a) { return to_string(a.accumulator); })
      .def(
          "kernel",
          [](const Arithmetic& a, int64_t k) {
            const Lowering lowering = lower(a, {1, 1, k});
            return std::pair(std::string(kernel_name(lowering.kernel)), lowering.reason);
          },
          nb::arg("k") = 4096, "The kernel that runs it for sums of k products, and why.")
      .def("explain", &explanation, nb::arg("x") = 1.7f, nb::arg("w") = -0.3f,
           "What it does to two numbers, bit by bit.");
  module.def("preset_names", [] {
    std::vector<std::string> names;
    for (const Preset& preset : presets()) names.emplace_back(preset.name);
    return names;
  });

  nb::class_<Plan>(module, "Plan",
                   "Ordered rules 'pattern -> arithmetic'; the first that matches decides.\n\n"
                   "Read from 'kq*->lmul-m4; *->bf16', from an arithmetic alone, or from a recipe "
                   "file's path. Raises Error.")
      .def(
          "__init__",
          [](Plan* self, const std::string& text) {
            const Recipe recipe = plan_argument(text);
            if (recipe.is_computed()) {
              throw Error(text + " is computed for a model: give its path to napier.Model");
            }
            new (self) Plan(plan_for(recipe, ""));
          },
          nb::arg("text"))
      .def_static(
          "for_model",
          [](const std::string& text, const std::string& path) {
            return plan_for(plan_argument(text), path);
          },
          nb::arg("text"), nb::arg("path"),
          "As Plan(text), and recipes that `napier quantize` has computed for a model.")
      .def("__str__", [](const Plan& p) { return to_string(p); })
      .def("__repr__", [](const Plan& p) { return "napier.Plan('" + to_string(p) + "')"; })
      .def(
          "__eq__", [](const Plan& a, const Plan& b) { return a == b; }, nb::is_operator(),
          nb::sig("def __eq__(self, other: object, /) -> bool"))
      .def("__hash__", [](const Plan& p) { return nb::hash(nb::cast(to_string(p))); })
      .def_prop_ro(
          "treatments",
          [](const Plan& p) {
            std::vector<std::string> written;
            for (const Rule& r : p.rules) written.push_back(to_string(r.treatments));
            return written;
          },
          "What each rule does around its multiplications, as written; empty: nothing.")
      .def_prop_ro("rules",
                   [](const Plan& p) {
                     std::vector<std::pair<std::string, Arithmetic>> rules;
                     for (const Rule& r : p.rules) rules.emplace_back(r.pattern, r.arithmetic);
                     return rules;
                   })
      .def(
          "match",
          [](const Plan& p, const std::string& name) -> std::optional<size_t> {
            return p.match(name);
          },
          nb::arg("name"), "The index of the rule that decides for a name, or None.");
}

}  // namespace napier::python
