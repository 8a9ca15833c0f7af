// The registry of formats and their written form.
#include <algorithm>
#include <array>
#include <optional>

#include "cursor.hpp"
#include "napier/format.hpp"

namespace napier {
namespace {

constexpr int k_max_exponent_bits = 11;
constexpr int k_max_mantissa_bits = 23;
constexpr int k_max_bias = 4095;
constexpr int k_max_integer_bits = 62;

constexpr Format ieee(uint8_t e, uint8_t m) {
  return {e, m, static_cast<int16_t>(default_bias(e, Specials::ieee)), Specials::ieee, true, true};
}
constexpr Format with(uint8_t e, uint8_t m, Specials specials) {
  return {e, m, static_cast<int16_t>(default_bias(e, specials)), specials, true, true};
}

// 8 bits with P bits of precision. The finite formats' NaN is where fnuz and fn have it.
constexpr Format p3109(int precision, bool is_signed, bool extended) {
  const Specials specials = extended ? Specials::p3109 : is_signed ? Specials::fnuz : Specials::fn;
  const int exponent_bits = 8 - precision + (is_signed ? 0 : 1);
  return {static_cast<uint8_t>(exponent_bits),
          static_cast<uint8_t>(precision - 1),
          static_cast<int16_t>(default_bias(exponent_bits, Specials::p3109)),
          specials,
          true,
          is_signed};
}

// Names are ml_dtypes' without "float8_" and the like, and OCP's. One line each.
constexpr std::array k_formats = {
    NamedFormat{"f64", k_f64, "float64 fp64", "IEEE binary64; for accumulators"},
    NamedFormat{"f32", k_f32, "float32 fp32 e8m23", "IEEE binary32"},
    NamedFormat{"tf32", ieee(8, 10), "e8m10", "NVIDIA TensorFloat-32 (19 bits)"},
    NamedFormat{"f16", k_f16, "float16 fp16 e5m10", "IEEE binary16"},
    NamedFormat{"bf16", k_bf16, "bfloat16 e8m7", "bfloat16"},
    NamedFormat{"e5m2", ieee(5, 2), "float8_e5m2", "OCP OFP8 E5M2"},
    NamedFormat{"e5m2fnuz", with(5, 2, Specials::fnuz), "float8_e5m2fnuz binary8p3sf",
                "AMD/Graphcore E5M2"},
    NamedFormat{"e4m3fn", with(4, 3, Specials::fn), "e4m3 float8_e4m3fn", "OCP OFP8 E4M3"},
    NamedFormat{"e4m3ieee", ieee(4, 3), "float8_e4m3", "E4M3 with IEEE's specials"},
    NamedFormat{"e4m3fnuz", with(4, 3, Specials::fnuz), "float8_e4m3fnuz binary8p4sf",
                "AMD/Graphcore E4M3"},
    NamedFormat{"e4m3b11fnuz", Format{4, 3, 11, Specials::fnuz, true, true},
                "float8_e4m3b11fnuz e4m3b11", "E4M3 with bias 11"},
    NamedFormat{"e3m4", ieee(3, 4), "float8_e3m4", "E3M4 with IEEE's specials"},
    NamedFormat{"e3m2fn", with(3, 2, Specials::none), "e3m2 float6_e3m2fn", "OCP MX FP6 E3M2"},
    NamedFormat{"e2m3fn", with(2, 3, Specials::none), "e2m3 float6_e2m3fn", "OCP MX FP6 E2M3"},
    NamedFormat{"e2m1fn", with(2, 1, Specials::none), "e2m1 float4_e2m1fn", "OCP MX FP4 E2M1"},
    NamedFormat{"e8m0", Format{8, 0, 127, Specials::fn, false, false}, "e8m0fnu float8_e8m0fnu",
                "OCP MX scale: 2^-127 .. 2^127, no zero, no sign"},
    NamedFormat{"binary8p1se", p3109(1, true, true), "", "IEEE P3109, signed, extended"},
    NamedFormat{"binary8p1sf", p3109(1, true, false), "", "IEEE P3109, signed, finite"},
    NamedFormat{"binary8p1ue", p3109(1, false, true), "", "IEEE P3109, unsigned, extended"},
    NamedFormat{"binary8p1uf", p3109(1, false, false), "", "IEEE P3109, unsigned, finite"},
    NamedFormat{"binary8p2se", p3109(2, true, true), "binary8p2", "IEEE P3109, signed, extended"},
    NamedFormat{"binary8p2sf", p3109(2, true, false), "", "IEEE P3109, signed, finite"},
    NamedFormat{"binary8p2ue", p3109(2, false, true), "", "IEEE P3109, unsigned, extended"},
    NamedFormat{"binary8p2uf", p3109(2, false, false), "", "IEEE P3109, unsigned, finite"},
    NamedFormat{"binary8p3se", p3109(3, true, true), "binary8p3", "IEEE P3109, signed, extended"},
    NamedFormat{"binary8p3ue", p3109(3, false, true), "", "IEEE P3109, unsigned, extended"},
    NamedFormat{"binary8p3uf", p3109(3, false, false), "", "IEEE P3109, unsigned, finite"},
    NamedFormat{"binary8p4se", p3109(4, true, true), "binary8p4", "IEEE P3109, signed, extended"},
    NamedFormat{"binary8p4ue", p3109(4, false, true), "", "IEEE P3109, unsigned, extended"},
    NamedFormat{"binary8p4uf", p3109(4, false, false), "", "IEEE P3109, unsigned, finite"},
    NamedFormat{"binary8p5se", p3109(5, true, true), "binary8p5", "IEEE P3109, signed, extended"},
    NamedFormat{"binary8p5sf", p3109(5, true, false), "", "IEEE P3109, signed, finite"},
    NamedFormat{"binary8p5ue", p3109(5, false, true), "", "IEEE P3109, unsigned, extended"},
    NamedFormat{"binary8p5uf", p3109(5, false, false), "", "IEEE P3109, unsigned, finite"},
    NamedFormat{"binary8p6se", p3109(6, true, true), "binary8p6", "IEEE P3109, signed, extended"},
    NamedFormat{"binary8p6sf", p3109(6, true, false), "", "IEEE P3109, signed, finite"},
    NamedFormat{"binary8p6ue", p3109(6, false, true), "", "IEEE P3109, unsigned, extended"},
    NamedFormat{"binary8p6uf", p3109(6, false, false), "", "IEEE P3109, unsigned, finite"},
    NamedFormat{"binary8p7se", p3109(7, true, true), "binary8p7", "IEEE P3109, signed, extended"},
    NamedFormat{"binary8p7sf", p3109(7, true, false), "", "IEEE P3109, signed, finite"},
    NamedFormat{"binary8p7ue", p3109(7, false, true), "", "IEEE P3109, unsigned, extended"},
    NamedFormat{"binary8p7uf", p3109(7, false, false), "", "IEEE P3109, unsigned, finite"},
    NamedFormat{"binary8p8ue", p3109(8, false, true), "", "IEEE P3109, unsigned, extended"},
    NamedFormat{"binary8p8uf", p3109(8, false, false), "", "IEEE P3109, unsigned, finite"},
    NamedFormat{"e3m0none", with(3, 0, Specials::none), "pot4", "powers of two and zero, 4 bits"},
    NamedFormat{"int2", Format::integer(2, true), "", "two's complement: -2 .. 1"},
    NamedFormat{"int3", Format::integer(3, true), "", "two's complement: -4 .. 3"},
    NamedFormat{"int4", Format::integer(4, true), "", "two's complement: -8 .. 7"},
    NamedFormat{"int8", Format::integer(8, true), "", "two's complement: -128 .. 127"},
    NamedFormat{"int16", Format::integer(16, true), "", "two's complement: -32768 .. 32767"},
    NamedFormat{"uint4", Format::integer(4, false), "", "0 .. 15"},
    NamedFormat{"uint8", Format::integer(8, false), "", "0 .. 255"},
    NamedFormat{"ternary", Format::integer(2, true, true), "int2s", "-1, 0, 1"},
};

struct SpecialsName {
  std::string_view suffix;
  Specials specials;
};
// Longest first, so that "fn" does not take the head of "fnuz".
constexpr std::array k_specials = {
    SpecialsName{"p3109", Specials::p3109}, SpecialsName{"ieee", Specials::ieee},
    SpecialsName{"fnuz", Specials::fnuz},   SpecialsName{"fnnan", Specials::fn},
    SpecialsName{"none", Specials::none},   SpecialsName{"fn", Specials::fn},
};

std::optional<Format> find_named(std::string_view text) {
  for (const NamedFormat& named : named_formats()) {
    if (named.name == text) return named.format;
    std::string_view rest = named.aliases;
    while (!rest.empty()) {
      const size_t space = std::min(rest.find(' '), rest.size());
      if (rest.substr(0, space) == text) return named.format;
      rest.remove_prefix(std::min(space + 1, rest.size()));
    }
  }
  return std::nullopt;
}

// The shapes whose ml_dtypes suffix "fn" means that every code is a number.
bool is_ocp_finite_shape(int exponent_bits, int mantissa_bits) {
  for (const NamedFormat& named : k_formats) {
    if (named.format.specials == Specials::none && named.format.is_float() && mantissa_bits > 0 &&
        named.format.exponent_bits == exponent_bits &&
        named.format.mantissa_bits == mantissa_bits) {
      return true;
    }
  }
  return false;
}

std::vector<std::string> format_names() {
  std::vector<std::string> names;
  for (const NamedFormat& named : named_formats()) names.emplace_back(named.name);
  return names;
}

// int<b>, int<b>s, uint<b>, pow<b>a<hundredths>; nothing where `text` does not begin so.
std::optional<Format> parse_numbered(std::string_view text) {
  const auto kind = [&](std::string_view word) {
    return text.starts_with(word) && text.size() > word.size() && text[word.size()] >= '0' &&
           text[word.size()] <= '9';
  };
  const auto number = [&](std::string_view& rest) {
    int value = 0;
    size_t length = 0;
    while (length < rest.size() && rest[length] >= '0' && rest[length] <= '9' && value <= 999) {
      value = value * 10 + (rest[length++] - '0');
    }
    rest.remove_prefix(length);
    return value;
  };
  const auto fail = [&](const std::string& problem) {
    throw ParseError(text, 0, "format '" + std::string(text) + "' " + problem);
  };
  if (kind("int") || kind("uint")) {
    const bool is_signed = text.front() == 'i';
    std::string_view rest = text.substr(is_signed ? 3 : 4);
    const int bits = number(rest);
    const bool symmetric = is_signed && rest == "s";
    if (!rest.empty() && !symmetric) {
      fail(is_signed ? "is no integer: write int8, or int8s for -127 .. 127"
                     : "is no integer: write uint8");
    }
    const int least = is_signed ? 2 : 1;
    if (bits < least || bits > k_max_integer_bits) {
      fail("must have " + std::to_string(least) + " to " + std::to_string(k_max_integer_bits) +
           " bits");
    }
    return Format::integer(bits, is_signed, symmetric);
  }
  if (!kind("pow")) return std::nullopt;
  std::string_view rest = text.substr(3);
  const int bits = number(rest);
  const bool has_power = rest.starts_with('a');
  if (has_power) rest.remove_prefix(1);
  const int hundredths = number(rest);
  if (!has_power || !rest.empty() || bits < 2 || bits > k_max_power_bits ||
      hundredths < k_min_power_hundredths || hundredths > 100) {
    fail("is no power format: write pow<bits>a<exponent in hundredths>, with 2 to " +
         std::to_string(k_max_power_bits) + " bits and " + std::to_string(k_min_power_hundredths) +
         " to 100 hundredths, as pow4a50");
  }
  return Format::listed(power_codebook(bits, hundredths));
}

Format parse_shape(Cursor& cursor) {
  const size_t begin = cursor.offset();
  const auto unknown = [&]() {
    cursor.fail_at(
        begin, "unknown format '" + std::string(cursor.text().substr(begin)) + "': name one of " +
                   alternatives(format_names()) +
                   ", or a shape such as e5m3 (0 to 11 exponent, 0 to 23 mantissa bits) or int6" +
                   suggestion(cursor.text().substr(begin), format_names()));
  };
  const auto digits = [&](int max, const char* what) {
    const size_t at = cursor.offset();
    int value = 0;
    while (cursor.peek() >= '0' && cursor.peek() <= '9' && value <= k_max_bias) {
      value = value * 10 + (cursor.peek() - '0');
      cursor.take(cursor.peek());
    }
    if (cursor.offset() == at) unknown();
    if (value > max) {
      cursor.fail_at(at, std::string(what) + " must be 0 to " + std::to_string(max));
    }
    return value;
  };

  Format format;
  if (!cursor.take('e')) unknown();
  const int exponent_bits = digits(k_max_exponent_bits, "exponent bits");
  if (!cursor.take('m')) unknown();
  const int mantissa_bits = digits(k_max_mantissa_bits, "mantissa bits");
  std::optional<int> bias;
  if (cursor.take('b')) {
    const bool negative = cursor.take('-');
    bias = digits(k_max_bias, "the bias's magnitude");
    if (negative) bias = -*bias;
  }
  Specials specials = exponent_bits == 0 ? Specials::none : Specials::ieee;
  for (const SpecialsName& name : k_specials) {
    if (!cursor.take(name.suffix)) continue;
    specials = name.specials;
    if (name.suffix == "fn" && is_ocp_finite_shape(exponent_bits, mantissa_bits)) {
      specials = Specials::none;
    }
    break;
  }
  format.exponent_bits = static_cast<uint8_t>(exponent_bits);
  format.mantissa_bits = static_cast<uint8_t>(mantissa_bits);
  format.specials = specials;
  format.bias = static_cast<int16_t>(bias.value_or(default_bias(exponent_bits, specials)));
  format.has_subnormals = !cursor.take("nosub");
  format.is_signed = !cursor.take('u');
  if (!cursor.done()) unknown();

  const auto impossible = [&](const std::string& why) {
    cursor.fail_at(begin, "format '" + std::string(cursor.text().substr(begin)) + "' " + why);
  };
  if (format.bits() > 32) impossible("has more than 32 bits");
  if (exponent_bits == 0 && !format.has_subnormals) {
    impossible("has no exponent, so all its values are subnormal: drop 'nosub'");
  }
  if (exponent_bits == 0 && (specials == Specials::ieee || specials == Specials::p3109)) {
    impossible("has no exponent field to hold the infinity: use 'none', 'fn' or 'fnuz'");
  }
  if (!format.is_signed && specials == Specials::fnuz) {
    impossible("has no sign, so no code of -0 for a NaN: use 'fn' or 'none'");
  }
  if (exponent_bits + mantissa_bits == 0 || format.magnitude_mask() < format.max_code() ||
      format.max_code() < format.min_positive_code()) {
    impossible("has no positive number: it needs more bits, or other specials");
  }
  return format;
}

}  // namespace

std::span<const NamedFormat> named_formats() {
  static const auto& formats = *[] {  // never destroyed, as the codebooks
    auto* result = new std::vector<NamedFormat>(k_formats.begin(), k_formats.end());
    for (const Codebook& codebook : codebooks()) {
      result->push_back({codebook.name(), Format::listed(codebook), "", codebook.summary()});
    }
    return result;
  }();
  return formats;
}

Format parse_format(std::string_view text) {
  if (const auto named = find_named(text)) return *named;
  if (const auto numbered = parse_numbered(text)) return *numbered;
  Cursor cursor(text);
  return parse_shape(cursor);
}

std::string format_name(const Format& format) {
  for (const NamedFormat& named : named_formats()) {
    if (named.format == format) return std::string(named.name);
  }
  if (format.is_listed()) return std::string(format.codebook->name());
  if (format.is_integer()) {
    return (format.is_signed ? "int" : "uint") + std::to_string(format.bits()) +
           (format.coding == Coding::symmetric ? "s" : "");
  }
  const auto spelt = [&](bool with_specials, bool with_bias) {
    std::string name =
        "e" + std::to_string(format.exponent_bits) + "m" + std::to_string(format.mantissa_bits);
    if (with_bias || format.bias != default_bias(format.exponent_bits, format.specials)) {
      name += "b" + std::to_string(format.bias);
    }
    const Specials bare = format.exponent_bits == 0 ? Specials::none : Specials::ieee;
    if (with_specials || format.specials != bare) {
      const bool finite = is_ocp_finite_shape(format.exponent_bits, format.mantissa_bits);
      switch (format.specials) {
        case Specials::ieee: name += "ieee"; break;
        case Specials::fn: name += finite ? "fnnan" : "fn"; break;
        case Specials::fnuz: name += "fnuz"; break;
        case Specials::none: name += "none"; break;
        case Specials::p3109: name += "p3109"; break;
      }
    }
    if (!format.has_subnormals) name += "nosub";
    if (!format.is_signed) name += "u";
    return name;
  };
  // A short shape may be another format's alias ("e2m1", "e8m0fnu"): then say more of it.
  std::string name = spelt(false, false);
  if (find_named(name)) name = spelt(true, false);
  if (find_named(name)) name = spelt(true, true);
  return name;
}

}  // namespace napier
