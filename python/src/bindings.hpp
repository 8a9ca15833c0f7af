// The extension module: one bind_ function a concept.
#pragma once

#include <nanobind/nanobind.h>

namespace napier::python {

namespace nb = nanobind;

void bind_errors(nb::module_& module);
void bind_format(nb::module_& module);
void bind_arithmetic(nb::module_& module);
void bind_matmul(nb::module_& module);
void bind_derivative(nb::module_& module);
void bind_model(nb::module_& module);
void bind_error_study(nb::module_& module);
void bind_cost(nb::module_& module);

}  // namespace napier::python
