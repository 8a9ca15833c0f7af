#include "bindings.hpp"

NB_MODULE(_core, module) {
  using namespace napier::python;
  // PyTorch's graphs, which outlive the interpreter, hold arithmetics: no leak of ours.
  nb::set_leak_warnings(false);
  module.doc() = "Napier's C++ library; use the package napier, which is made of it.";
  module.attr("__version__") = NAPIER_VERSION;
  bind_errors(module);
  bind_format(module);
  bind_arithmetic(module);
  bind_matmul(module);
  bind_derivative(module);
  bind_model(module);
  bind_error_study(module);
  bind_cost(module);
}
