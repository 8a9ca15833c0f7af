// napier::Error as Python exceptions: by who can mend it.
#include "bindings.hpp"
#include "napier/error.hpp"

namespace napier::python {
namespace {

// Of the module's lifetime, which is the process's.
PyObject* g_error = nullptr;
PyObject* g_parse_error = nullptr;
PyObject* g_environment_error = nullptr;

PyObject* add_exception(nb::module_& module, const char* name, const char* doc, PyObject* base) {
  const std::string full = std::string("napier.") + name;
  PyObject* type = PyErr_NewExceptionWithDoc(full.c_str(), doc, base, nullptr);
  if (type == nullptr) throw nb::python_error();
  module.attr(name) = nb::handle(type);
  return type;
}

void translate(const std::exception_ptr& thrown, void*) {
  try {
    std::rethrow_exception(thrown);
  } catch (const ParseError& error) {
    PyErr_SetString(g_parse_error, error.what());
  } catch (const Error& error) {
    const bool input = error.blame() == Blame::input;
    PyErr_SetString(input ? g_error : g_environment_error, error.what());
  }
}

}  // namespace

void bind_errors(nb::module_& module) {
  g_error = add_exception(module, "Error",
                          "What was asked for is wrong; the sentence says what "
                          "would be right.",
                          PyExc_ValueError);
  g_parse_error = add_exception(module, "ParseError",
                                "A written form (format, arithmetic, plan) "
                                "is wrong at a position.",
                                g_error);
  g_environment_error = add_exception(module, "EngineError",
                                      "Not the caller's doing: memory, "
                                      "disk, the engine.",
                                      PyExc_RuntimeError);
  nb::register_exception_translator(translate);
}

}  // namespace napier::python
