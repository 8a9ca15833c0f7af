// The numerics as C functions over arrays: what the Python tests hand to ml_dtypes, gfloat and
// exact rationals. Every function returns 0, or 1 with bridge_error() saying why.
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "napier/arithmetic.hpp"
#include "napier/error.hpp"
#include "napier/plan.hpp"

#define BRIDGE extern "C" __attribute__((visibility("default")))

namespace {

using namespace napier;

std::string g_error;
std::string g_text;

int guarded(const std::function<void()>& work) {
  try {
    work();
    return 0;
  } catch (const std::exception& error) {
    g_error = error.what();
    return 1;
  }
}

// Exact numbers as four arrays: kind (0 zero, 1 finite, 2 infinite, 3 NaN), sign, exponent,
// significand; nothing is rounded on the way out.
struct Numbers {
  int32_t* kind;
  int32_t* negative;
  int32_t* exponent;
  uint64_t* significand;

  void set(int64_t i, const Dyadic& value) const {
    kind[i] = static_cast<int32_t>(value.kind);
    negative[i] = value.negative;
    exponent[i] = value.exponent;
    significand[i] = value.significand;
  }
};

Rounding rounding_named(std::string_view name) {
  for (const RoundingName& rounding : k_rounding_names) {
    if (rounding.name == name) return rounding.rounding;
  }
  throw Error("no rounding '" + std::string(name) + "'");
}

}  // namespace

BRIDGE const char* bridge_error() { return g_error.c_str(); }

// One line an entry, tab-separated: what the registries hold. The kinds are Coding's.
BRIDGE const char* bridge_formats() {
  g_text.clear();
  for (const NamedFormat& named : named_formats()) {
    g_text += std::string(named.name) + "\t" + std::string(named.aliases) + "\t" +
              std::to_string(static_cast<int>(named.format.coding)) + "\n";
  }
  return g_text.c_str();
}

BRIDGE const char* bridge_presets() {
  g_text.clear();
  for (const Preset& preset : presets()) {
    g_text += std::string(preset.name) + "\t" + std::string(preset.written) + "\n";
  }
  return g_text.c_str();
}

// Name, then key:min:max or key:word|word a parameter.
BRIDGE const char* bridge_multipliers() {
  g_text.clear();
  for (const MultiplierFamily* family : multiplier_families()) {
    g_text += family->name;
    for (const Parameter& parameter : family->parameters) {
      g_text += "\t" + std::string(parameter.name) + ":";
      if (parameter.words.empty()) {
        g_text += std::to_string(parameter.min) + ":" + std::to_string(parameter.max);
      }
      for (size_t i = 0; i < parameter.words.size(); ++i) {
        g_text += (i > 0 ? "|" : "") + std::string(parameter.words[i]);
      }
    }
    g_text += "\n";
  }
  return g_text.c_str();
}

BRIDGE const char* bridge_roundings() {
  g_text.clear();
  for (const RoundingName& rounding : k_rounding_names) g_text += std::string(rounding.name) + "\n";
  return g_text.c_str();
}

// Exponent bits, mantissa bits, bias, specials, has_subnormals, is_signed, max_code, min_exponent,
// max_exponent.
BRIDGE int bridge_format(const char* text, int64_t* fields) {
  return guarded([&] {
    const Format f = parse_format(text);
    const int64_t values[] = {f.exponent_bits,
                              f.mantissa_bits,
                              f.bias,
                              static_cast<int64_t>(f.specials),
                              f.has_subnormals,
                              f.is_signed,
                              static_cast<int64_t>(f.max_code()),
                              f.min_exponent(),
                              f.max_exponent()};
    for (const int64_t value : values) *fields++ = value;
  });
}

BRIDGE int bridge_decode(const char* format, int subnormals, const uint64_t* codes, int64_t n,
                         Numbers out) {
  return guarded([&] {
    const Format f = parse_format(format);
    for (int64_t i = 0; i < n; ++i) {
      out.set(i, f.decode(codes[i], static_cast<Subnormals>(subnormals)));
    }
  });
}

// `random` holds one word a value, or is null.
BRIDGE int bridge_encode(const char* format, const char* rounding, int to_infinity,
                         const uint32_t* random, const double* values, int64_t n, uint64_t* codes) {
  return guarded([&] {
    const Format f = parse_format(format);
    const Rounding rule = rounding_named(rounding);
    const Overflow overflow = to_infinity ? Overflow::infinity : Overflow::saturate;
    for (int64_t i = 0; i < n; ++i) {
      codes[i] = f.encode(Dyadic::from_double(values[i]), rule, overflow, random ? random[i] : 0);
    }
  });
}

// What the multiplier is given for values of x (or of w).
BRIDGE int bridge_quantise(const char* arithmetic, int of_w, const double* values, int64_t n,
                           Numbers out) {
  return guarded([&] {
    const Arithmetic a = parse_arithmetic(arithmetic);
    const Operand& operand = of_w ? a.w : a.x;
    for (int64_t i = 0; i < n; ++i) {
      out.set(i, operand.quantise(Dyadic::from_double(values[i]), static_cast<uint64_t>(i)));
    }
  });
}

// Products of operands given as codes of the arithmetic's formats.
BRIDGE int bridge_multiply(const char* arithmetic, const uint64_t* x, const uint64_t* w, int64_t n,
                           Numbers out) {
  return guarded([&] {
    const Arithmetic a = parse_arithmetic(arithmetic);
    const Multiplier multiplier = a.resolved_multiplier();
    for (int64_t i = 0; i < n; ++i) {
      out.set(i, multiplier.multiply(a.x.cast.format.decode(x[i], a.x.subnormals),
                                     a.w.cast.format.decode(w[i], a.w.subnormals),
                                     static_cast<uint64_t>(i)));
    }
  });
}

// Kind, kept bits and offset of ProductForm.
BRIDGE int bridge_form(const char* arithmetic, double* form) {
  return guarded([&] {
    const ProductForm f = parse_arithmetic(arithmetic).resolved_multiplier().form();
    form[0] = static_cast<double>(f.kind);
    form[1] = f.kept_bits;
    form[2] = f.offset;
  });
}

BRIDGE int bridge_accumulate(const char* arithmetic, const double* sums, const double* terms,
                             int64_t n, Numbers out) {
  return guarded([&] {
    const Arithmetic a = parse_arithmetic(arithmetic);
    for (int64_t i = 0; i < n; ++i) {
      out.set(i, a.accumulator.add(Dyadic::from_double(sums[i]), Dyadic::from_double(terms[i]),
                                   static_cast<uint64_t>(i)));
    }
  });
}

BRIDGE int bridge_choose_scale(const char* format, const double* absmax, double element_max,
                               int64_t n, Numbers out) {
  return guarded([&] {
    ScaleLevel level;
    level.format = parse_format(format);
    level.method = ScaleLevel::default_method(level.format, level.rounding);
    for (int64_t i = 0; i < n; ++i) out.set(i, choose_scale(level, absmax[i], element_max));
  });
}

// A matrix as an operand makes it: the scale, zero point and list of each element's group, and the
// number that the multiplier sees.
BRIDGE int bridge_scale(const char* arithmetic, int of_w, const float* values, int64_t rows,
                        int64_t k, float* scales, int32_t* zeros, int32_t* lists, Numbers out) {
  return guarded([&] {
    const Arithmetic a = parse_arithmetic(arithmetic);
    const Operand& operand = of_w ? a.w : a.x;
    const std::vector<Group> groups = choose_groups(operand, rows, k, values);
    for (int64_t i = 0; i < rows * k; ++i) {
      const Group& group = groups[static_cast<size_t>(i)];
      scales[i] = group.scale;
      zeros[i] = group.zero;
      lists[i] = group.alternative;
      const Dyadic element = Dyadic::from_double(double{values[i]} / double{group.scale});
      out.set(i, operand.quantise(element, static_cast<uint64_t>(i % k), group));
    }
  });
}

BRIDGE int bridge_glob_matches(const char* pattern, const char* name) {
  return napier::glob_matches(pattern, name) ? 1 : 0;
}
