// Format: parsing, limits, codes to numbers and back.
#include <nanobind/ndarray.h>
#include <nanobind/operators.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <string>

#include "bindings.hpp"
#include "napier/arithmetic.hpp"
#include "napier/error.hpp"
#include "napier/format.hpp"

namespace napier::python {
namespace {

template <typename T>
using Vector = nb::ndarray<T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

Rounding rounding_named(const std::string& name) {
  std::string names;
  for (const RoundingName& rounding : k_rounding_names) {
    if (rounding.name == name) return rounding.rounding;
    names += (names.empty() ? "" : ", ") + std::string(rounding.name);
  }
  throw Error("'" + name + "' is no rounding: give one of " + names);
}

double exact_double(const Format& format, const Dyadic& value) {
  const double number = to_double(value);
  if (value.is_finite() && !(Dyadic::from_double(number) == value)) {
    throw Error("format " + format_name(format) + " has numbers that float64 does not hold");
  }
  return number;
}

bool fits_f32(const Format& format) {
  return format.significand_bits() <= 24 && format.max_exponent() <= 127 &&
         format.least_bit() >= -149;
}

void decode(const Format& format, Vector<const uint64_t> codes, Vector<double> out) {
  const nb::gil_scoped_release release;
  for (size_t i = 0; i < codes.size(); ++i) {
    const uint64_t code = codes.data()[i];
    if (format.bits() < 64 && code >= format.code_count()) {
      throw Error("element " + std::to_string(i) + " is " + std::to_string(code) + ": codes of " +
                  format_name(format) + " are less than " + std::to_string(format.code_count()));
    }
    out.data()[i] = exact_double(format, format.decode(code));
  }
}

void encode(const Format& format, Vector<const double> values, const std::string& rounding,
            bool saturate, uint32_t seed, Vector<uint64_t> out) {
  const Rounding rule = rounding_named(rounding);
  const Cast cast{format, rule, seed, saturate ? Overflow::saturate : Overflow::infinity};
  const nb::gil_scoped_release release;
  for (size_t i = 0; i < values.size(); ++i) {
    const Dyadic value = Dyadic::from_double(values.data()[i]);
    if (value.is_nan() && !format.has_nan()) {
      throw Error("element " + std::to_string(i) + " is NaN, and " + format_name(format) +
                  " has no code for that");
    }
    out.data()[i] = cast.encode(value, i);
  }
}

}  // namespace

void bind_format(nb::module_& module) {
  nb::class_<Format>(module, "Format")
      .def(
          "__init__",
          [](Format* self, const std::string& text) { new (self) Format(parse_format(text)); },
          nb::arg("text"))
      .def_prop_ro("name", &format_name, "The canonical spelling.")
      .def_prop_ro("bits", &Format::bits)
      .def_prop_ro("exponent_bits", [](const Format& f) { return int{f.exponent_bits}; })
      .def_prop_ro("mantissa_bits", [](const Format& f) { return int{f.mantissa_bits}; })
      .def_prop_ro("bias", [](const Format& f) { return int{f.bias}; })
      .def_prop_ro("is_signed", [](const Format& f) { return f.is_signed; })
      .def_prop_ro("has_infinity", &Format::has_infinity)
      .def_prop_ro("has_nan", &Format::has_nan)
      .def_prop_ro("has_subnormals", [](const Format& f) { return f.has_subnormals; })
      .def_prop_ro("largest", [](const Format& f) { return exact_double(f, f.max_finite()); })
      .def_prop_ro("lowest", [](const Format& f) { return exact_double(f, f.lowest()); })
      .def_prop_ro("smallest_positive",
                   [](const Format& f) { return exact_double(f, f.min_positive()); })
      .def_prop_ro("fits_float32", &fits_f32, "Whether float32 holds every number of it.")
      .def(
          "__eq__", [](const Format& a, const Format& b) { return a == b; }, nb::is_operator(),
          nb::sig("def __eq__(self, other: object, /) -> bool"))
      .def("__hash__", [](const Format& f) { return nb::hash(nb::cast(format_name(f))); });

  module.def("decode", &decode, nb::arg("format"), nb::arg("codes").noconvert(),
             nb::arg("out").noconvert());
  module.def("encode", &encode, nb::arg("format"), nb::arg("values").noconvert(),
             nb::arg("rounding"), nb::arg("saturate"), nb::arg("seed"), nb::arg("out").noconvert());
  module.def("format_names", [] {
    std::vector<std::string> names;
    for (const NamedFormat& named : named_formats()) names.emplace_back(named.name);
    return names;
  });
  module.def("rounding_names", [] {
    std::vector<std::string> names;
    for (const RoundingName& rounding : k_rounding_names) names.emplace_back(rounding.name);
    return names;
  });
}

}  // namespace napier::python
