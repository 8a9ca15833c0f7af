#include "hw/unit.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "napier/error.hpp"

namespace napier {
namespace {

constexpr std::string_view k_rtl =
#include "rtl.inc"
    ;

struct KindName {
  UnitKind kind;
  std::string_view name;
};
constexpr std::array k_kinds = {
    KindName{UnitKind::raw, "raw"},   KindName{UnitKind::same, "same"},
    KindName{UnitKind::wide, "wide"}, KindName{UnitKind::step, "step"},
    KindName{UnitKind::add, "add"},   KindName{UnitKind::convert, "convert"}};

[[noreturn]] void refuse(const std::string& what) { throw Error("no circuit is made for " + what); }

void check_format(const Format& format, const char* role) {
  if (!format.is_float() || format.specials == Specials::p3109 || !format.is_signed ||
      format.exponent_bits == 0 || format.mantissa_bits == 0) {
    refuse(std::string(role) + "=" + format_name(format) +
           ": a floating-point format with sign, exponent and mantissa is needed, not P3109's");
  }
}

bool truncates(Rounding rounding, const char* role) {
  if (rounding != Rounding::nearest_even && rounding != Rounding::toward_zero) {
    refuse(std::string(role) + ": roundings other than rne and rtz");
  }
  return rounding == Rounding::toward_zero;
}

int specials_number(const Format& format) { return static_cast<int>(format.specials); }

// The bits of a signed number that reaches from `low` to `high`.
int signed_bits(int low, int high) {
  int bits = 2;
  while (-(1 << (bits - 1)) > low || (1 << (bits - 1)) - 1 < high) ++bits;
  return bits;
}

// Every product from 2^low on and below 2^(high + 1), with `mantissa` bits: IEEE's specials, field
// 0 for zero alone.
Format wide_format(int low, int high, int mantissa) {
  Format format;
  format.mantissa_bits = static_cast<uint8_t>(mantissa);
  format.bias = static_cast<int16_t>(1 - low);
  format.specials = Specials::ieee;
  format.has_subnormals = false;
  format.exponent_bits = 2;
  while ((1 << format.exponent_bits) - 2 < high + format.bias) ++format.exponent_bits;
  return format;
}

std::string word(std::string text) {
  for (char& c : text) {
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
  }
  return text;
}

std::string decoder(const std::string& of, const Operand& operand, int width) {
  const Format& f = operand.cast.format;
  const int subnormals = !f.has_subnormals                         ? 0
                         : operand.subnormals == Subnormals::keep  ? 1
                         : operand.subnormals == Subnormals::flush ? 2
                                                                   : 3;
  return fmt::format(
      "  wire {0}_sign, {0}_zero, {0}_infinite, {0}_nan;\n"
      "  wire signed [{7}:0] {0}_exponent;\n"
      "  wire [{2}:0] {0}_significand;\n"
      "  napier_decode #(.E({1}), .M({2}), .BIAS({3}), .SPECIALS({4}), .SUBNORMALS({5}), "
      ".W({6})) decode_{0} (\n"
      "    .code({0}), .sign({0}_sign), .exponent({0}_exponent), "
      ".significand({0}_significand),\n"
      "    .is_zero({0}_zero), .is_infinite({0}_infinite), .is_nan({0}_nan));\n",
      of, f.exponent_bits, f.mantissa_bits, f.bias, specials_number(f), subnormals, width,
      width - 1);
}

// The sum of the numbers with prefixes `a` and `b`, of mantissas pa and pb: prefix "total".
std::string adder(const std::string& a, const std::string& b, int pa, int pb, int width) {
  const int q = std::max(pa, pb);
  return fmt::format(
      "  wire total_sign, total_zero, total_infinite, total_nan;\n"
      "  wire signed [{6}:0] total_exponent;\n  wire [{7}:0] total_significand;\n"
      "  napier_add #(.PA({2}), .PB({3}), .Q({4}), .W({5})) add (\n"
      "    .a_sign({0}_sign), .a_exponent({0}_exponent), .a({0}_significand), "
      ".a_is_zero({0}_zero),\n"
      "    .a_is_infinite({0}_infinite), .a_is_nan({0}_nan),\n"
      "    .b_sign({1}_sign), .b_exponent({1}_exponent), .b({1}_significand), "
      ".b_is_zero({1}_zero),\n"
      "    .b_is_infinite({1}_infinite), .b_is_nan({1}_nan),\n"
      "    .sign(total_sign), .exponent(total_exponent), .significand(total_significand),\n"
      "    .is_zero(total_zero), .is_infinite(total_infinite), .is_nan(total_nan));\n",
      a, b, pa, pb, q, width, width - 1, q + 4);
}

// `code` is out; `from` the prefix of the number's wires.
std::string encoder(const std::string& from, const Cast& cast, int significand, int width) {
  const Format& f = cast.format;
  return fmt::format(
      "  napier_encode #(.E({1}), .M({2}), .BIAS({3}), .SPECIALS({4}), .SUBNORMALS({5}), "
      ".TRUNCATE({6}),\n"
      "    .SATURATE({7}), .P({8}), .W({9})) encode (.sign({0}_sign), "
      ".exponent({0}_exponent),\n"
      "    .significand({0}_significand), .is_zero({0}_zero), .is_infinite({0}_infinite), "
      ".is_nan({0}_nan), .code(out));\n",
      from, f.exponent_bits, f.mantissa_bits, f.bias, specials_number(f), f.has_subnormals ? 1 : 0,
      truncates(cast.rounding, "a result") ? 1 : 0, cast.overflow == Overflow::saturate ? 1 : 0,
      significand, width);
}

}  // namespace

std::string_view unit_kind_name(UnitKind kind) {
  for (const KindName& entry : k_kinds) {
    if (entry.kind == kind) return entry.name;
  }
  return "";
}

UnitKind parse_unit_kind(std::string_view text) {
  for (const KindName& entry : k_kinds) {
    if (entry.name == text) return entry.kind;
  }
  throw Error("'" + std::string(text) +
              "' is no kind of unit: give raw, same, wide, step, add or convert");
}

HardwareUnit::HardwareUnit(const Arithmetic& arithmetic, UnitKind kind)
    : kind_(kind), arithmetic_(arithmetic) {
  arithmetic_.multiplier = arithmetic.resolved_multiplier();
  name_ = word(display_name(arithmetic)) + "_" + std::string(unit_kind_name(kind));
  check_format(arithmetic_.x.cast.format, "x");
  check_format(arithmetic_.w.cast.format, "w");
  x_bits_ = arithmetic_.x.cast.format.bits();
  w_bits_ = arithmetic_.w.cast.format.bits();
  switch (kind) {
    case UnitKind::raw: build_raw(arithmetic_.multiplier.form()); break;
    case UnitKind::add: build_add(); break;
    case UnitKind::convert: build_convert(); break;
    default: build();
  }
}

void HardwareUnit::build_raw(const ProductForm& form) {
  const Format& x = arithmetic_.x.cast.format;
  const double offset = std::ldexp(form.offset, x.mantissa_bits);
  if (form.kind != ProductForm::Kind::pattern_add || x != arithmetic_.w.cast.format ||
      form.kept_bits < x.mantissa_bits || offset != std::floor(offset)) {
    refuse(name_ +
           ": a bare addition needs a sum of patterns of two operands of one format, none "
           "of their bits cut off and an offset that it holds");
  }
  const uint64_t bias = static_cast<uint64_t>(x.bias) << x.mantissa_bits;
  raw_offset_ = (static_cast<uint64_t>(offset) - bias) & x.magnitude_mask();
  out_bits_ = x_bits_;
  verilog_ = std::string(k_rtl) +
             fmt::format(
                 "// {2}\nmodule unit (\n  input [{0}:0] x,\n  input [{0}:0] w,\n  output [{0}:0] "
                 "out\n);\n"
                 "  napier_raw_adder #(.N({1}), .OFFSET({3}'d{4})) add (.x(x), .w(w), "
                 ".product(out));\nendmodule\n",
                 x_bits_ - 1, x_bits_, name_, x_bits_ - 1, raw_offset_);
}

void HardwareUnit::build() {
  const Format& x = arithmetic_.x.cast.format;
  const Format& w = arithmetic_.w.cast.format;
  const ProductForm form = arithmetic_.multiplier.form();

  // The product's shape: exponents from the smallest numbers to the largest, with two carries.
  const int low = x.min_positive().exponent + w.min_positive().exponent;
  const int high = x.max_exponent() + w.max_exponent() + 2;
  int mantissa = 0;
  std::string module;
  const int kept = std::min(form.kept_bits, std::max<int>(x.mantissa_bits, w.mantissa_bits));
  const int offset_bits = form.offset == 0 ? 0 : -std::ilogb(form.offset);
  switch (form.kind) {
    case ProductForm::Kind::exact:
      mantissa = x.mantissa_bits + w.mantissa_bits + 1;
      module = "napier_exact_product #(";
      break;
    case ProductForm::Kind::pattern_add:
      if (kept == 0) refuse(name_ + ": mantissas of which nothing is kept");
      mantissa = std::max(kept, offset_bits);
      module = fmt::format("napier_pattern_product #(.K({}), .L({}), .P({}), ", kept, offset_bits,
                           mantissa);
      break;
    case ProductForm::Kind::bilinear:
      if (kept == 0) refuse(name_ + ": mantissas of which nothing is kept");
      mantissa = std::max(kept, offset_bits) + 1;
      module = fmt::format("napier_formula_product #(.K({}), .L({}), .P({}), ", kept, offset_bits,
                           mantissa - 1);
      break;
    case ProductForm::Kind::other:
      refuse(name_ + ": a product that is neither exact, nor a sum of patterns, nor L-Mul's Eq. 1");
  }
  const Cast wide{wide_format(low, high, mantissa), Rounding::nearest_even, 0, Overflow::infinity};

  Operand sum;
  switch (kind_) {
    case UnitKind::wide: out_ = wide; break;
    case UnitKind::same: {
      const auto written = arithmetic_.multiplier.written_product();
      out_ = written ? *written : Cast{x, Rounding::nearest_even, 0, Overflow::saturate};
      check_format(out_.format, "mul");
      break;
    }
    case UnitKind::step:
      if (!arithmetic_.accumulator.is_plain()) {
        refuse(name_ + ": sums that are not made one by one");
      }
      out_ = arithmetic_.accumulator.cast;
      check_format(out_.format, "acc");
      sum.cast = out_;
      break;
    default: break;
  }
  if (kind_ != UnitKind::wide && !out_.format.has_subnormals) {
    refuse(name_ + ": results in a format without subnormals");
  }
  const bool is_exact = form.kind == ProductForm::Kind::exact;
  const Multiplier& multiplier = arithmetic_.multiplier;
  arithmetic_.multiplier =
      Multiplier(multiplier.family(), {multiplier.settings().begin(), multiplier.settings().end()},
                 kind_ == UnitKind::step ? (is_exact ? std::nullopt : std::optional(wide)) : out_);

  int least = std::min({low, 1 - out_.format.bias - out_.format.mantissa_bits,
                        1 - x.bias - x.mantissa_bits, 1 - w.bias - w.mantissa_bits});
  int most = std::max({high + out_.format.bias, out_.format.max_exponent() + 2,
                       x.max_exponent() + 1, w.max_exponent() + 1});
  int significand = mantissa;
  const int bigger = std::max(significand, int{out_.format.mantissa_bits});
  if (kind_ == UnitKind::step) least -= bigger + 6;  // sums that cancel
  const int width = signed_bits(least - 1, most + 1);

  std::string text = "// " + name_ + ": " + to_string(arithmetic_) + "\nmodule unit (\n";
  text += fmt::format("  input [{}:0] x,\n  input [{}:0] w,\n", x_bits_ - 1, w_bits_ - 1);
  out_bits_ = out_.format.bits();
  if (kind_ == UnitKind::step) {
    sum_bits_ = out_bits_;
    text += fmt::format("  input [{}:0] sum,\n", sum_bits_ - 1);
  }
  text += fmt::format("  output [{}:0] out\n);\n", out_bits_ - 1);
  text += decoder("x", arithmetic_.x, width) + decoder("w", arithmetic_.w, width);
  text += fmt::format(
      "  wire signed [{0}:0] product_exponent;\n  wire [{1}:0] product_significand;\n"
      "  {2}.MX({3}), .MW({4}), .W({5})) multiply (.x_exponent(x_exponent), "
      ".w_exponent(w_exponent),\n"
      "    .x(x_significand), .w(w_significand), .exponent(product_exponent), "
      ".significand(product_significand));\n"
      "  wire product_sign = x_sign ^ w_sign;\n"
      "  wire product_nan = x_nan | w_nan | (x_infinite & w_zero) | (x_zero & w_infinite);\n"
      "  wire product_infinite = (x_infinite | w_infinite) & ~product_nan;\n"
      "  wire product_zero = (x_zero | w_zero) & ~product_nan;\n",
      width - 1, mantissa, module, x.mantissa_bits, w.mantissa_bits, width);
  if (kind_ != UnitKind::step) {
    text += encoder("product", out_, mantissa, width);
  } else {
    significand = bigger + 4;
    text += decoder("sum", sum, width);
    text += adder("sum", "product", out_.format.mantissa_bits, mantissa, width);
    text += encoder("total", out_, significand, width);
  }
  verilog_ = std::string(k_rtl) + text + "endmodule\n";
}

void HardwareUnit::build_add() {
  if (!arithmetic_.accumulator.is_plain()) {
    refuse(name_ + ": sums that are not made one by one");
  }
  out_ = arithmetic_.accumulator.cast;
  const Format& f = out_.format;
  check_format(f, "acc");
  if (!f.has_subnormals) refuse(name_ + ": results in a format without subnormals");
  x_bits_ = w_bits_ = out_bits_ = f.bits();
  Operand operand;
  operand.cast = out_;
  const int m = f.mantissa_bits;
  const int width = signed_bits(1 - 2 * int{f.bias} - 2 * m - 8, 2 * f.max_exponent() + 4);
  verilog_ = std::string(k_rtl) +
             fmt::format(
                 "// {1}\nmodule unit (\n  input [{0}:0] x,\n  input [{0}:0] w,\n  output [{0}:0] "
                 "out\n);\n",
                 f.bits() - 1, name_) +
             decoder("x", operand, width) + decoder("w", operand, width) +
             adder("x", "w", m, m, width) + encoder("total", out_, m + 4, width) + "endmodule\n";
}

void HardwareUnit::build_convert() {
  Operand source;  // f32
  x_bits_ = k_f32.bits();
  w_bits_ = 1;
  out_ = arithmetic_.x.cast;
  const Format& f = out_.format;
  if (!f.has_subnormals) refuse(name_ + ": results in a format without subnormals");
  out_bits_ = f.bits();
  const int width = signed_bits(-151 - f.bias, 130 + f.bias);
  verilog_ = std::string(k_rtl) +
             fmt::format(
                 "// {1}\nmodule unit (\n  input [31:0] x,\n  input [0:0] w,\n  output [{0}:0] "
                 "out\n);\n",
                 f.bits() - 1, name_) +
             decoder("x", source, width) + encoder("x", out_, 23, width) + "endmodule\n";
}

HardwareUnit HardwareUnit::integer(int bits, UnitKind kind) {
  if (bits < 2 || bits > 16) refuse("integers of " + std::to_string(bits) + " bits: 2 to 16");
  if (kind != UnitKind::wide && kind != UnitKind::step && kind != UnitKind::add) {
    refuse("integers of kind " + std::string(unit_kind_name(kind)) +
           ": wide, step and add there are");
  }
  HardwareUnit unit;
  unit.kind_ = kind;
  unit.integer_bits_ = bits;
  unit.x_bits_ = unit.w_bits_ = kind == UnitKind::add ? 32 : bits;
  unit.name_ = fmt::format("int{}_{}", bits, unit_kind_name(kind));
  unit.sum_bits_ = kind == UnitKind::step ? 32 : 0;
  unit.out_bits_ = kind == UnitKind::wide ? 2 * bits : 32;
  const std::string body =
      kind == UnitKind::add ? "assign out = x + w"
      : kind == UnitKind::step
          ? fmt::format("napier_integer_step #(.N({})) step (.x(x), .w(w), .sum(sum), .next(out))",
                        bits)
          : fmt::format("napier_integer_multiply #(.N({})) multiply (.x(x), .w(w), .product(out))",
                        bits);
  unit.verilog_ = std::string(k_rtl) +
                  fmt::format(
                      "// {0}\nmodule unit (\n  input [{1}:0] x,\n  input [{1}:0] w,\n{2}  output "
                      "[{3}:0] out\n);\n  {4};\nendmodule\n",
                      unit.name_, unit.x_bits_ - 1,
                      unit.sum_bits_ > 0 ? "  input [31:0] sum,\n" : "", unit.out_bits_ - 1, body);
  return unit;
}

uint64_t HardwareUnit::evaluate(uint64_t x, uint64_t w, uint64_t sum) const {
  if (is_integer()) {
    const uint64_t all = ~uint64_t{0} >> (64 - out_bits_);
    if (kind_ == UnitKind::add) return (x + w) & all;
    const auto value = [&](uint64_t code) {
      const int64_t sign = int64_t{1} << (integer_bits_ - 1);
      return (static_cast<int64_t>(code) ^ sign) - sign;
    };
    return static_cast<uint64_t>(value(x) * value(w) + static_cast<int64_t>(sum)) & all;
  }
  if (kind_ == UnitKind::raw) {
    const Format& format = arithmetic_.x.cast.format;
    return ((x ^ w) & format.sign_mask()) | ((x + w + raw_offset_) & format.magnitude_mask());
  }
  if (kind_ == UnitKind::convert) return out_.encode(k_f32.decode(x));
  if (kind_ == UnitKind::add) {
    return out_.encode(arithmetic_.accumulator.add(out_.format.decode(x), out_.format.decode(w)));
  }
  const auto decode = [](const Operand& operand, uint64_t code) {
    return operand.cast.format.decode(code, operand.subnormals);
  };
  const Dyadic product =
      arithmetic_.multiplier.multiply(decode(arithmetic_.x, x), decode(arithmetic_.w, w));
  if (kind_ != UnitKind::step) return out_.encode(product);
  return out_.encode(arithmetic_.accumulator.add(out_.format.decode(sum), product));
}

HardwareUnit make_unit(std::string_view arithmetic, UnitKind kind) {
  if (arithmetic.starts_with("int")) {
    int bits = 0;
    const char* const end = arithmetic.data() + arithmetic.size();
    const auto [at, error] = std::from_chars(arithmetic.data() + 3, end, bits);
    if (error == std::errc{} && at == end) return HardwareUnit::integer(bits, kind);
  }
  return HardwareUnit(parse_arithmetic(arithmetic), kind);
}

}  // namespace napier
