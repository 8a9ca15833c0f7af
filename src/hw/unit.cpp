#include "hw/unit.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <climits>
#include <cmath>
#include <functional>
#include <optional>

#include "napier/error.hpp"

namespace napier {
namespace {

constexpr std::string_view k_rtl =
#include "rtl.inc"
    ;

// Of sums that set no number themselves: in integers and in fixed point.
constexpr int k_lanes = 16;

// Of what multiplies a sum that is requantised: m may be 2^31. From an e of 63 on every sum of 32
// bits becomes 0, and from 0 down every one but 0 more than any result, so that no e is needed
// beyond.
constexpr int k_factor_bits = 32;
constexpr int k_shift_bits = 6;

struct KindName {
  UnitKind kind;
  std::string_view name;
};
constexpr std::array k_kinds = {KindName{UnitKind::raw, "raw"},
                                KindName{UnitKind::same, "same"},
                                KindName{UnitKind::wide, "wide"},
                                KindName{UnitKind::step, "step"},
                                KindName{UnitKind::dot, "dot"},
                                KindName{UnitKind::add, "add"},
                                KindName{UnitKind::convert, "convert"},
                                KindName{UnitKind::round, "round"},
                                KindName{UnitKind::requantise, "requantise"},
                                KindName{UnitKind::terms, "terms"}};

// What a bit-serial unit's element takes of a weight at a time: a sign and a power of two from 2^-2
// to 2^4, or zero.
constexpr Format k_term{3, 0, 3, Specials::none};  // e3m0none

[[noreturn]] void refuse(const std::string& what) { throw Error("no circuit is made for " + what); }

void check_format(const Format& format, const char* role) {
  if (!format.is_float() || format.specials == Specials::p3109 || !format.is_signed ||
      format.exponent_bits == 0 || format.mantissa_bits == 0) {
    refuse(std::string(role) + "=" + format_name(format) +
           ": a floating-point format with sign, exponent and mantissa is needed, not P3109's");
  }
}

// Sign and exponent alone, zero among them, nothing that is no number.
bool is_power(const Format& format) {
  return format.is_float() && format.is_signed && format.exponent_bits > 0 &&
         format.mantissa_bits == 0 && format.specials == Specials::none && format.has_subnormals;
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

// The lists of which each group of numbers of this format takes one.
std::vector<const Codebook*> lists_of(const Format& format) {
  const auto alternatives = format.codebook->alternatives();
  if (alternatives.empty()) return {format.codebook};
  return {alternatives.begin(), alternatives.end()};
}

std::string word(std::string text) {
  for (char& c : text) {
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
  }
  return text;
}

// Few enough codes for a table.
bool is_table(const Format& format) { return format.is_listed() && format.codebook->bits() <= 8; }

// What becomes a number with an exponent: a list's or an integer's codes.
bool is_turned(const Format& format) { return is_table(format) || format.is_integer(); }

// What the multiplier sees of integers with a zero point: codes less it.
Operand without_zero(Operand operand) {
  if (!operand.has_zero_point()) return operand;
  operand.cast.format = Format::integer(operand.cast.format.bits() + 1, true);
  operand.scaling.clear();
  return operand;
}

// The number of a code of such a format; above the code's bits which list its group has taken.
Dyadic number_of(const Format& format, uint64_t code) {
  if (!format.is_listed()) return Format::integer(format.bits(), format.is_signed).decode(code);
  const int bits = format.codebook->bits();
  const std::vector<const Codebook*> lists = lists_of(format);
  return (code >> bits) < lists.size() ? lists[code >> bits]->decode(code) : Dyadic{};
}

int code_bits(const Format& format) {
  if (!format.is_listed()) return format.bits();
  return format.codebook->bits() + static_cast<int>(std::bit_width(lists_of(format).size() - 1));
}

// What a circuit must hold of a format's numbers.
struct NumberShape {
  int mantissa;   // bits
  int low, high;  // floor(log2) of the smallest and the largest magnitude
  int least;      // the least exponent that its decoder computes with
};

NumberShape shape_of(const Format& format) {
  if (format.is_integer()) {
    const int magnitude = format.bits() - (format.is_signed ? 1 : 0);
    return {magnitude - 1, 0, format.bits() - 1, 0};
  }
  if (!is_table(format)) {
    return {format.mantissa_bits, format.min_positive().exponent, format.max_exponent(),
            1 - format.bias - format.mantissa_bits};
  }
  NumberShape shape{0, INT_MAX, INT_MIN, 0};
  for (uint64_t code = 0; code < uint64_t{1} << code_bits(format); ++code) {
    const Dyadic number = number_of(format, code);
    if (number.is_zero()) continue;
    shape.mantissa = std::max(shape.mantissa, 63 - std::countr_zero(number.significand));
    shape.low = std::min(shape.low, number.exponent);
    shape.high = std::max(shape.high, number.exponent);
  }
  shape.least = shape.low;
  return shape;
}

// The number that `code` stands for, in wires that begin with `of`: a table.
std::string table_decoder(const std::string& of, const std::string& code, const Format& format,
                          int width) {
  const int mantissa = shape_of(format).mantissa;
  std::string text = fmt::format(
      "  reg {0}_sign, {0}_zero;\n  wire {0}_infinite = 1'b0, {0}_nan = 1'b0;\n"
      "  reg signed [{1}:0] {0}_exponent;\n  reg [{2}:0] {0}_significand;\n"
      "  always @* case ({3})\n",
      of, width - 1, mantissa, code);
  for (uint64_t c = 0; c < uint64_t{1} << code_bits(format); ++c) {
    const Dyadic number = number_of(format, c);
    const bool zero = number.is_zero();
    text += fmt::format(
        "    {0}'d{1}: {{{2}_sign, {2}_zero, {2}_exponent, {2}_significand}} =\n"
        "      {{1'b{3}, 1'b{4}, {5}'d{6}, {7}'d{8}}};\n",
        code_bits(format), c, of, number.negative ? 1 : 0, zero ? 1 : 0, width,
        zero ? 0 : static_cast<uint64_t>(number.exponent) & ((uint64_t{1} << width) - 1),
        mantissa + 1, zero ? 0 : number.significand >> (63 - mantissa));
  }
  return text + "  endcase\n";
}

std::string integer_decoder(const std::string& of, const std::string& code, const Format& format,
                            int width) {
  const int mantissa = shape_of(format).mantissa;
  return fmt::format(
      "  wire {0}_sign, {0}_zero;\n  wire {0}_infinite = 1'b0, {0}_nan = 1'b0;\n"
      "  wire signed [{1}:0] {0}_exponent;\n  wire [{2}:0] {0}_significand;\n"
      "  napier_integer_number #(.N({3}), .SIGNED({4}), .W({5})) number_{0} (.code({6}), "
      ".sign({0}_sign),\n    .exponent({0}_exponent), .significand({0}_significand), "
      ".is_zero({0}_zero));\n",
      of, width - 1, mantissa, format.bits(), format.is_signed ? 1 : 0, width, code);
}

// The number that `code` stands for, in wires that begin with `of`.
std::string decoder(const std::string& of, const std::string& code, const Operand& operand,
                    int width) {
  const Format& f = operand.cast.format;
  if (f.is_integer()) return integer_decoder(of, code, f, width);
  if (is_table(f)) return table_decoder(of, code, f, width);
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
      "    .code({8}), .sign({0}_sign), .exponent({0}_exponent), "
      ".significand({0}_significand),\n"
      "    .is_zero({0}_zero), .is_infinite({0}_infinite), .is_nan({0}_nan));\n",
      of, f.exponent_bits, f.mantissa_bits, f.bias, specials_number(f), subnormals, width,
      width - 1, code);
}

// The product of the numbers x and w in wires that begin with product. `module` opens the
// multiplier's parameters.
std::string multiplier(const std::string& module, int mx, int mw, int mantissa, int width) {
  return fmt::format(
      "  wire signed [{0}:0] product_exponent;\n  wire [{1}:0] product_significand;\n"
      "  {2}.MX({3}), .MW({4}), .W({5})) multiply (.x_exponent(x_exponent), "
      ".w_exponent(w_exponent),\n"
      "    .x(x_significand), .w(w_significand), .exponent(product_exponent), "
      ".significand(product_significand));\n"
      "  wire product_sign = x_sign ^ w_sign;\n"
      "  wire product_nan = x_nan | w_nan | (x_infinite & w_zero) | (x_zero & w_infinite);\n"
      "  wire product_infinite = (x_infinite | w_infinite) & ~product_nan;\n"
      "  wire product_zero = (x_zero | w_zero) & ~product_nan;\n",
      width - 1, mantissa, module, mx, mw, width);
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

// The code `result` of the number with the prefix `from`, whose significand has its top bit at
// `significand`.
std::string encoder(const std::string& from, const Cast& cast, int significand, int width) {
  const Format& f = cast.format;
  return fmt::format(
      "  wire [{10}:0] result;\n"
      "  napier_encode #(.E({1}), .M({2}), .BIAS({3}), .SPECIALS({4}), .SUBNORMALS({5}), "
      ".TRUNCATE({6}),\n"
      "    .SATURATE({7}), .P({8}), .W({9})) encode (.sign({0}_sign), "
      ".exponent({0}_exponent),\n"
      "    .significand({0}_significand), .is_zero({0}_zero), .is_infinite({0}_infinite), "
      ".is_nan({0}_nan), .code(result));\n",
      from, f.exponent_bits, f.mantissa_bits, f.bias, specials_number(f), f.has_subnormals ? 1 : 0,
      truncates(cast.rounding, "a result") ? 1 : 0, cast.overflow == Overflow::saturate ? 1 : 0,
      significand, width, f.bits() - 1);
}

// Of a dot's lanes and of the numbers that are added.
struct DotShape {
  int lanes, x_bits, w_bits;
  int product;   // mantissa bits of a product
  int sum;       // and of the sum
  int fraction;  // bits kept below the largest term
  int width;     // of exponents

  int terms() const { return lanes + 1; }
  int term() const { return std::max(product, sum) + 1; }  // mantissa bits of both
  int total() const {                                      // bits of the terms' sum
    int bits = fraction + 2;
    while ((1 << (bits - fraction - 2)) < terms()) ++bits;
    return bits;
  }
  int number() const { return 4 + width + term() + 1; }  // bits of a term with its exponent
};

// The number with the prefix `of`, its mantissa filled up to a term's.
std::string as_term(const DotShape& s, const std::string& of, int mantissa) {
  return fmt::format(
      "{{{0}_sign, {0}_zero, {0}_infinite, {0}_nan, {0}_exponent, {0}_significand, "
      "{{{1}{{1'b0}}}}}}",
      of, s.term() - mantissa);
}

// A lane: the product of x and w, which `body` computes, as `number`.
std::string lane_module(const DotShape& s, int bits, const std::string& body,
                        const std::string& number) {
  return fmt::format(
      "module napier_lane (\n  input [{}:0] x,\n  input [{}:0] w,\n  output [{}:0] number\n);\n{}"
      "  assign number = {};\nendmodule\n",
      s.x_bits - 1, s.w_bits - 1, bits - 1, body, number);
}

// Every lane's number, of so many bits.
std::string lanes_of(const DotShape& s, int number) {
  return fmt::format(
      "  generate\n    for (i = 0; i < {0}; i = i + 1) begin : lanes\n"
      "      napier_lane lane (.x(x_held[i*{1} +: {1}]), .w(w_held[i*{2} +: {2}]), "
      ".number(numbers[i*{3} +: {3}]));\n    end\n  endgenerate\n",
      s.lanes, s.x_bits, s.w_bits, number);
}

// The lanes of a fixed-point sum, and, from numbers_held, their terms: signs over magnitudes.
std::string fixed_lanes(const DotShape& s, int number) {
  return fmt::format("  wire [{}:0] numbers;\n  genvar i;\n", s.lanes * number - 1) +
         lanes_of(s, number);
}

std::string fixed_places(const DotShape& s, int number, int low, int bits) {
  return fmt::format(
      "  wire [{0}:0] terms;\n"
      "  generate\n    for (i = 0; i < {1}; i = i + 1) begin : places\n"
      "      wire is_zero, is_infinite, is_nan;\n      wire signed [{2}:0] exponent;\n"
      "      wire [{3}:0] significand;\n"
      "      assign {{terms[i*{4} + {5}], is_zero, is_infinite, is_nan, exponent, significand}} =\n"
      "        numbers_held[i*{6} +: {6}];\n"
      "      napier_fixed_place #(.P({3}), .LOW({7}), .A({5}), .W({8})) place "
      "(.exponent(exponent),\n        .significand(significand), .is_zero(is_zero), "
      ".is_infinite(is_infinite),\n        .is_nan(is_nan), .magnitude(terms[i*{4} +: {5}]));\n"
      "    end\n  endgenerate\n",
      s.lanes * (bits + 1) - 1, s.lanes, s.width - 1, s.product, bits + 1, bits, number, low,
      s.width);
}

// Lanes and the sum so far ("so_far"), aligned and added: the number "total". `held` separates
// stages.
std::string dot_body(const DotShape& s,
                     const std::function<std::string(const std::string&, int)>& held) {
  const int terms = s.terms();
  const int number = s.number();
  const int aligned = terms * (s.fraction + 2);
  std::string text = fmt::format("  wire [{}:0] numbers;\n  genvar i;\n", terms * number - 1);
  text += lanes_of(s, number) + fmt::format("  assign numbers[{}:{}] = {};\n", terms * number - 1,
                                            s.lanes * number, as_term(s, "so_far", s.sum));
  text += held("numbers", terms * number);
  text += fmt::format(
      "  wire [{0}:0] sign, is_zero, is_infinite, is_nan;\n  wire [{1}:0] exponent;\n"
      "  wire [{2}:0] significand;\n"
      "  generate\n    for (i = 0; i < {3}; i = i + 1) begin : parts\n"
      "      assign {{sign[i], is_zero[i], is_infinite[i], is_nan[i], exponent[i*{4} +: {4}],\n"
      "        significand[i*{5} +: {5}]}} = numbers_held[i*{6} +: {6}];\n    end\n  endgenerate\n",
      terms - 1, terms * s.width - 1, terms * (s.term() + 1) - 1, terms, s.width, s.term() + 1,
      number);
  text += fmt::format(
      "  wire signed [{0}:0] largest;\n  wire [{1}:0] term;\n"
      "  napier_align #(.T({2}), .P({3}), .F({4}), .W({5})) align (.sign(sign), "
      ".is_zero(is_zero),\n    .exponent(exponent), .significand(significand), "
      ".largest(largest), .term(term));\n"
      "  wire is_negative = |(is_infinite & sign);\n"
      "  wire any_nan = |is_nan || (is_negative && |(is_infinite & ~sign));\n"
      "  wire [{6}:0] aligned = {{any_nan, |is_infinite, is_negative, largest, term}};\n",
      s.width - 1, aligned - 1, terms, s.term(), s.fraction, s.width, 3 + s.width + aligned - 1);
  text += held("aligned", 3 + s.width + aligned);
  text += fmt::format(
      "  wire signed [{0}:0] sum_of_terms;\n"
      "  napier_tree #(.T({1}), .N({2}), .S({3})) tree (.term(aligned_held[{4}:0]), "
      ".total(sum_of_terms));\n"
      "  wire [{5}:0] added = {{aligned_held[{6}:{7}], sum_of_terms}};\n",
      s.total() - 1, terms, s.fraction + 2, s.total(), aligned - 1, 3 + s.width + s.total() - 1,
      aligned + s.width + 2, aligned);
  text += held("added", 3 + s.width + s.total());
  text += fmt::format(
      "  wire total_sign, total_zero, total_nan, total_infinite, infinite_sign, finite_sign, "
      "finite_zero;\n"
      "  wire signed [{0}:0] total_exponent, added_largest;\n"
      "  wire signed [{1}:0] added_total;\n  wire [{1}:0] total_significand;\n"
      "  assign {{total_nan, total_infinite, infinite_sign, added_largest, added_total}} = "
      "added_held;\n"
      "  napier_magnitude #(.S({2}), .F({3}), .W({4})) magnitude (.total(added_total), "
      ".largest(added_largest),\n    .sign(finite_sign), .exponent(total_exponent), "
      ".significand(total_significand), .is_zero(finite_zero));\n"
      "  assign total_sign = total_infinite ? infinite_sign : finite_sign;\n"
      "  assign total_zero = finite_zero && !total_infinite;\n",
      s.width - 1, s.total() - 1, s.total(), s.fraction, s.width);
  return text;
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
  throw Error(
      "'" + std::string(text) +
      "' is no kind of unit: give raw, same, wide, step, dot, add, convert, round, requantise or "
      "terms");
}

HardwareUnit::HardwareUnit(const Arithmetic& arithmetic, UnitKind kind, Timing timing)
    : kind_(kind), arithmetic_(arithmetic), timing_(timing) {
  arithmetic_.multiplier = arithmetic.resolved_multiplier();
  arithmetic_.x = without_zero(arithmetic.x);
  arithmetic_.w = without_zero(arithmetic.w);
  name_ = word(display_name(arithmetic)) + "_" + std::string(unit_kind_name(kind)) +
          (timing == Timing::pipelined ? "_pipelined" : "");
  if (kind == UnitKind::terms) {
    build_terms();
    return;
  }
  if (kind == UnitKind::requantise) {
    refuse(name_ + ": sums that are requantised are of integers, into such as int8");
  }
  const Format& x = arithmetic_.x.cast.format;
  const Format& w = arithmetic_.w.cast.format;
  const bool is_exact = arithmetic_.multiplier.form().kind == ProductForm::Kind::exact;
  const bool is_of_codes = kind == UnitKind::raw || kind == UnitKind::convert;
  if (is_of_codes || !(is_power(x) || is_turned(x))) check_format(x, "x");
  if (is_of_codes || !(is_power(w) || is_turned(w))) check_format(w, "w");
  if (is_exact && x.is_integer() && w.is_integer()) {
    refuse(name_ + ": exact products of integers are integers: write " + format_name(x) + "*" +
           format_name(w));
  }
  x_bits_ = code_bits(x);
  w_bits_ = code_bits(w);
  switch (kind) {
    case UnitKind::raw: build_raw(arithmetic_.multiplier.form()); break;
    case UnitKind::add: build_add(); break;
    case UnitKind::convert: build_convert(); break;
    default: build();
  }
}

// The whole file: the modules that units are made of, and the unit, whose result is the wire of
// that name.
std::string HardwareUnit::module(const std::string& body) {
  const auto port = [](int bits, const char* name) {
    return fmt::format("  input [{}:0] {},\n", bits - 1, name);
  };
  std::string text =
      "// " + name_ + (is_integer() ? "" : ": " + to_string(arithmetic_)) + "\nmodule unit (\n";
  if (timing_ == Timing::pipelined) text += "  input clock,\n";
  text += port(lanes_ * x_bits_, "x") + port(lanes_ * w_bits_, "w");
  if (sum_bits_ > 0) text += port(sum_bits_, "sum");
  text += fmt::format("  output [{}:0] out\n);\n", out_bits_ - 1);
  text += held("x", lanes_ * x_bits_) + held("w", lanes_ * w_bits_);
  if (sum_bits_ > 0) text += held("sum", sum_bits_);
  text += body + held("result", out_bits_) + "  assign out = result_held;\nendmodule\n";
  // Inputs, results, and as many ranks between.
  if (timing_ == Timing::pipelined) {
    const bool is_fixed = arithmetic_.accumulator.is_exact();
    latency_ = kind_ == UnitKind::step  ? 3
               : kind_ == UnitKind::dot ? is_integer() ? 3
                                          : is_fixed   ? 4
                                                       : 5
                                        : 2;
  }
  return std::string(k_rtl) + text;
}

// `name`_held: a wire, or, in a pipeline, what it was a cycle ago.
std::string HardwareUnit::held(const std::string& name, int bits) {
  if (timing_ == Timing::combinational) {
    return fmt::format("  wire [{}:0] {}_held = {};\n", bits - 1, name, name);
  }
  return fmt::format(
      "  wire [{0}:0] {1}_held;\n"
      "  napier_rank #(.N({2})) rank_{1} (.clock(clock), .d({1}), .q({1}_held));\n",
      bits - 1, name, bits);
}

std::string HardwareUnit::held_number(const std::string& name, int mantissa, int width) {
  return fmt::format(
             "  wire [{1}:0] {0} = {{{0}_sign, {0}_zero, {0}_infinite, {0}_nan, {0}_exponent, "
             "{0}_significand}};\n",
             name, mantissa + width + 4) +
         held(name, mantissa + width + 5) +
         fmt::format(
             "  wire {0}_held_sign, {0}_held_zero, {0}_held_infinite, {0}_held_nan;\n"
             "  wire signed [{1}:0] {0}_held_exponent;\n  wire [{2}:0] {0}_held_significand;\n"
             "  assign {{{0}_held_sign, {0}_held_zero, {0}_held_infinite, {0}_held_nan, "
             "{0}_held_exponent,\n    {0}_held_significand}} = {0}_held;\n",
             name, width - 1, mantissa);
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
  verilog_ = module(
      fmt::format("  wire [{0}:0] result;\n  napier_raw_adder #(.N({1}), .OFFSET({0}'d{2})) add "
                  "(.x(x_held), .w(w_held), .product(result));\n",
                  x_bits_ - 1, x_bits_, raw_offset_));
}

void HardwareUnit::build() {
  const Format& x = arithmetic_.x.cast.format;
  const Format& w = arithmetic_.w.cast.format;
  const ProductForm form = arithmetic_.multiplier.form();

  // The product's shape: exponents from the smallest numbers to the largest, with two carries.
  const NumberShape of_x = shape_of(x);
  const NumberShape of_w = shape_of(w);
  const int low = of_x.low + of_w.low;
  const int high = of_x.high + of_w.high + 2;
  int mantissa = 0;
  std::string multiply;
  const int kept = std::min(form.kept_bits, std::max(of_x.mantissa, of_w.mantissa));
  const int offset_bits = form.offset == 0 ? 0 : -std::ilogb(form.offset);
  // Of powers of two every multiplier without an offset adds exponents, as the exact one does.
  const bool are_powers = of_x.mantissa == 0 && of_w.mantissa == 0 && form.offset == 0 &&
                          form.kind != ProductForm::Kind::other;
  switch (are_powers ? ProductForm::Kind::exact : form.kind) {
    case ProductForm::Kind::exact:
      mantissa = of_x.mantissa + of_w.mantissa + 1;
      multiply = "napier_exact_product #(";
      break;
    case ProductForm::Kind::pattern_add:
      if (kept == 0) refuse(name_ + ": mantissas of which nothing is kept");
      mantissa = std::max(kept, offset_bits);
      multiply = fmt::format("napier_pattern_product #(.K({}), .L({}), .P({}), ", kept, offset_bits,
                             mantissa);
      break;
    case ProductForm::Kind::bilinear:
      if (kept == 0) refuse(name_ + ": mantissas of which nothing is kept");
      mantissa = std::max(kept, offset_bits) + 1;
      multiply = fmt::format("napier_formula_product #(.K({}), .L({}), .P({}), ", kept, offset_bits,
                             mantissa - 1);
      break;
    case ProductForm::Kind::other:
      refuse(name_ + ": a product that is neither exact, nor a sum of patterns, nor L-Mul's Eq. 1");
  }
  const Cast wide{wide_format(low, high, mantissa), Rounding::nearest_even, 0, Overflow::infinity};

  const Accumulator& accumulator = arithmetic_.accumulator;
  const SumForm form_of_sum = accumulator.form();
  const bool sums = kind_ == UnitKind::step || kind_ == UnitKind::dot;
  const bool is_fixed = accumulator.is_exact() && (sums || kind_ == UnitKind::round);
  switch (kind_) {
    case UnitKind::wide: out_ = wide; break;
    case UnitKind::same: {
      const auto written = arithmetic_.multiplier.written_product();
      out_ = written ? *written : Cast{x, Rounding::nearest_even, 0, Overflow::saturate};
      check_format(out_.format, "mul");
      break;
    }
    case UnitKind::round:
      if (!is_fixed) refuse(name_ + ": what is read out is the sum of acc=exact");
      break;
    case UnitKind::dot:
      if (is_fixed) {
        lanes_ = k_lanes;
        break;
      }
      if (form_of_sum.align < 1 || form_of_sum.align > 64) {
        refuse(name_ +
               ": lanes are the products that the accumulator aligns, 1 to 64, as in "
               "acc=f32(align=16,extra=2), or the 16 of acc=exact");
      }
      lanes_ = static_cast<int>(form_of_sum.align);
      break;
    default:
      if (!is_fixed && !accumulator.is_plain()) {
        refuse(name_ + ": sums that are not made one by one");
      }
  }
  if (is_fixed && (is_turned(x) || is_turned(w))) {
    refuse(name_ + ": a fixed-point sum of integers or of a list's numbers");
  }
  if (sums || kind_ == UnitKind::round) {
    out_ = accumulator.cast;
    check_format(out_.format, "acc");
  }
  if (kind_ != UnitKind::wide && !out_.format.has_subnormals) {
    refuse(name_ + ": results in a format without subnormals");
  }
  const bool is_exact = form.kind == ProductForm::Kind::exact;
  const Multiplier& multiplier_ = arithmetic_.multiplier;
  arithmetic_.multiplier = Multiplier(
      multiplier_.family(), {multiplier_.settings().begin(), multiplier_.settings().end()},
      sums || is_fixed ? (is_exact ? std::nullopt : std::optional(wide)) : out_);

  const int sum_mantissa = out_.format.mantissa_bits;
  DotShape shape{lanes_,   x_bits_,      w_bits_,
                 mantissa, sum_mantissa, sum_mantissa + static_cast<int>(form_of_sum.extra),
                 0};
  int least =
      std::min({low, 1 - out_.format.bias - out_.format.mantissa_bits, of_x.least, of_w.least});
  int most = std::max(
      {high + out_.format.bias, out_.format.max_exponent() + 2, of_x.high + 1, of_w.high + 1});
  if (kind_ == UnitKind::step) least -= shape.term() + 5;  // sums that cancel
  if (kind_ == UnitKind::dot) {
    least -= shape.total() + 2;
    most += shape.total();
  }
  shape.width = signed_bits(least - 1, most + 1);
  const int width = shape.width;
  out_bits_ = out_.format.bits();
  if (is_fixed) {
    fixed_low_ = is_exact ? low : low - mantissa;
    constexpr int guard = 8;  // 2^8 of the largest products, and a sign
    const int bits = high - fixed_low_ + 1 + guard;
    if (bits > 64) {
      refuse(name_ + ": a fixed-point sum of " + std::to_string(bits) + " bits; 64 at most");
    }
    if (kind_ == UnitKind::round) return build_round(bits);
    out_bits_ = bits;
  }
  if (sums) sum_bits_ = out_bits_;

  const auto product_of = [&](const std::string& x_code, const std::string& w_code) {
    return decoder("x", x_code, arithmetic_.x, width) + decoder("w", w_code, arithmetic_.w, width) +
           multiplier(multiply, of_x.mantissa, of_w.mantissa, mantissa, width);
  };
  Operand sum;
  sum.cast = out_;
  if (kind_ == UnitKind::dot && is_fixed) {
    const int number = 4 + width + mantissa + 1;
    verilog_ = module(fixed_lanes(shape, number) + held("numbers", lanes_ * number) +
                      fixed_places(shape, number, fixed_low_, out_bits_) +
                      held("terms", lanes_ * (out_bits_ + 1)) + held("sum_held", out_bits_) +
                      held("sum_held_held", out_bits_) +
                      fmt::format("  wire [{0}:0] result;\n"
                                  "  napier_fixed_dot #(.L({1}), .A({2})) dot (.term(terms_held), "
                                  ".sum(sum_held_held_held), .next(result));\n",
                                  out_bits_ - 1, lanes_, out_bits_)) +
               lane_module(shape, number, product_of("x", "w"),
                           "{product_sign, product_zero, product_infinite, product_nan, "
                           "product_exponent, product_significand}");
    return;
  }
  if (kind_ == UnitKind::dot) {
    const auto hold = [&](const std::string& name, int bits) { return held(name, bits); };
    verilog_ = module(decoder("so_far", "sum_held", sum, width) + dot_body(shape, hold) +
                      encoder("total", out_, shape.total() - 1, width)) +
               lane_module(shape, shape.number(), product_of("x", "w"),
                           as_term(shape, "product", shape.product));
    return;
  }
  std::string text = product_of("x_held", "w_held");
  if (!sums) {
    text += encoder("product", out_, mantissa, width);
  } else {
    text += held_number("product", mantissa, width) + held("sum_held", sum_bits_);
    if (is_fixed) {
      text += fmt::format(
          "  wire [{0}:0] magnitude, result;\n"
          "  napier_fixed_place #(.P({1}), .LOW({2}), .A({3}), .W({4})) place (\n"
          "    .exponent(product_held_exponent), .significand(product_held_significand),\n"
          "    .is_zero(product_held_zero), .is_infinite(product_held_infinite), "
          ".is_nan(product_held_nan),\n    .magnitude(magnitude));\n"
          "  napier_fixed_step #(.A({3})) step (.sign(product_held_sign), "
          ".magnitude(magnitude),\n    .sum(sum_held_held), .next(result));\n",
          out_bits_ - 1, mantissa, fixed_low_, out_bits_, width);
    } else {
      text += decoder("so_far", "sum_held_held", sum, width);
      text += adder("so_far", "product_held", sum_mantissa, mantissa, width);
      text += encoder("total", out_, shape.term() + 3, width);
    }
  }
  verilog_ = module(text);
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
  verilog_ =
      module(decoder("x", "x_held", operand, width) + decoder("w", "w_held", operand, width) +
             adder("x", "w", m, m, width) + encoder("total", out_, m + 4, width));
}

void HardwareUnit::build_convert() {
  const Operand source;  // f32
  x_bits_ = k_f32.bits();
  w_bits_ = 1;
  out_ = arithmetic_.x.cast;
  const Format& f = out_.format;
  if (!f.has_subnormals) refuse(name_ + ": results in a format without subnormals");
  out_bits_ = f.bits();
  const int width = signed_bits(-151 - f.bias, 130 + f.bias);
  verilog_ = module(decoder("x", "x_held", source, width) + encoder("x", out_, 23, width));
}

void HardwareUnit::build_round(int bits) {
  x_bits_ = bits;
  w_bits_ = 1;
  out_bits_ = out_.format.bits();
  const int least = std::min(fixed_low_, 1 - out_.format.bias - out_.format.mantissa_bits);
  const int most = fixed_low_ + bits + out_.format.bias;
  const int width = signed_bits(least - 1, most + 1);
  verilog_ = module(
      fmt::format("  wire number_sign, number_zero, number_infinite, number_nan;\n"
                  "  wire signed [{0}:0] number_exponent, unit_exponent;\n"
                  "  wire [{1}:0] number_significand;\n"
                  "  assign number_infinite = 1'b0;\n  assign number_nan = 1'b0;\n"
                  "  assign unit_exponent = {2};\n"
                  "  napier_magnitude #(.S({3}), .F(0), .W({4})) magnitude (.total(x_held), "
                  ".largest(unit_exponent),\n    .sign(number_sign), .exponent(number_exponent), "
                  ".significand(number_significand), .is_zero(number_zero));\n",
                  width - 1, bits - 1, fixed_low_, bits, width) +
      encoder("number", out_, bits - 1, width));
}

// BitMoD (HPCA 2025, arXiv 2411.11745) has one such encoder for a column of elements; two terms
// make each number of its lists of 3 and 4 bits.
void HardwareUnit::build_terms() {
  const Format& w = arithmetic_.w.cast.format;
  if (!w.is_listed() || w.codebook->bits() > 8) {
    refuse(name_ + ": terms are of weights in a list of at most 2^8 numbers, as bitmod4");
  }
  const std::vector<const Codebook*> lists = lists_of(w);
  const double least = to_double(k_term.min_positive());
  const double most = std::ldexp(1.0, k_term.max_exponent());
  for (const Codebook* list : lists) {
    for (const double value : list->values()) {
      const double units = std::abs(value) / least;
      if (units != std::floor(units) || units >= 2 * most / least) {
        refuse(fmt::format("{}: {:g} of {} is no sum of powers of two from {:g} to {:g}", name_,
                           value, list->name(), least, most));
      }
      terms_ = std::max(terms_, std::popcount(static_cast<uint64_t>(units)));
    }
  }
  x_bits_ = std::max(1, static_cast<int>(std::bit_width(lists.size() - 1)));
  w_bits_ = w.codebook->bits();
  out_bits_ = terms_ * k_term.bits();
  std::string text =
      fmt::format("  reg [{}:0] result;\n  always @* case ({{x_held, w_held}})\n", out_bits_ - 1);
  for (uint64_t list = 0; list < lists.size(); ++list) {
    for (uint64_t code = 0; code < uint64_t{1} << w_bits_; ++code) {
      text += fmt::format("    {}'d{}: result = {}'d{};\n", x_bits_ + w_bits_,
                          list << w_bits_ | code, out_bits_, terms_of(list, code));
    }
  }
  verilog_ = module(text + fmt::format("    default: result = {}'d0;\n  endcase\n", out_bits_));
}

uint64_t HardwareUnit::terms_of(uint64_t list, uint64_t code) const {
  const std::vector<const Codebook*> lists = lists_of(arithmetic_.w.cast.format);
  if (list >= lists.size()) return 0;
  Dyadic rest = lists[list]->decode(code);
  uint64_t terms = 0;
  for (int term = 0; term < terms_ && rest.significand != 0; ++term) {
    const Dyadic largest = Dyadic::make(rest.negative, 1, rest.exponent);
    terms |= k_term.encode(largest, Rounding::nearest_even, Overflow::saturate)
             << (term * k_term.bits());
    // What is below the top bit.
    rest = Dyadic::make(rest.negative, rest.significand << 1 >> 1, rest.exponent - 63);
  }
  return terms;
}

HardwareUnit HardwareUnit::integer(const Format& x, const Format& w, UnitKind kind, Timing timing) {
  const std::string name = x == w ? format_name(x) : format_name(x) + "*" + format_name(w);
  for (const Format* format : {&x, &w}) {
    if (format->bits() < 2 || format->bits() > 16) {
      refuse("integers of " + std::to_string(format->bits()) + " bits: 2 to 16");
    }
  }
  const bool sums = kind == UnitKind::step || kind == UnitKind::dot;
  const bool rescales = kind == UnitKind::requantise;
  const bool converts = kind == UnitKind::convert || rescales;  // into x's format
  if (kind != UnitKind::wide && kind != UnitKind::add && !converts && !sums) {
    refuse("integers of kind " + std::string(unit_kind_name(kind)) +
           ": wide, step, dot, add, convert and requantise there are");
  }
  if (!converts && kind != UnitKind::add && !x.is_signed && !w.is_signed) {
    refuse(name + ": products of two unsigned integers");
  }
  HardwareUnit unit;
  unit.kind_ = kind;
  unit.timing_ = timing;
  unit.is_integer_ = true;
  unit.arithmetic_.x.cast.format = x;
  unit.arithmetic_.w.cast.format = w;
  unit.lanes_ = kind == UnitKind::dot ? k_lanes : 1;
  unit.x_bits_ = kind == UnitKind::add || converts ? 32 : x.bits();
  const int zero = x.is_signed ? 0 : x.bits();
  unit.w_bits_ = kind == UnitKind::add ? 32
                 : rescales            ? k_factor_bits + k_shift_bits + zero
                 : converts            ? std::max(1, zero)
                                       : w.bits();
  unit.name_ = fmt::format("{}_{}{}", word(name), unit_kind_name(kind),
                           timing == Timing::pipelined ? "_pipelined" : "");
  unit.sum_bits_ = sums ? 32 : 0;
  const int product = x.bits() + w.bits();
  unit.out_bits_ = kind == UnitKind::wide ? product : converts ? x.bits() : 32;
  std::string text;
  if (kind == UnitKind::add) {
    text = "  wire [31:0] result = x_held + w_held;\n";
  } else if (converts) {
    constexpr int width = 10;  // of f32's exponents, subnormals' among them
    const int bits = x.bits() + !x.is_signed;
    const char* const number = x.is_signed ? "result" : "number";
    const int symmetric = x.coding == Coding::symmetric ? 1 : 0;
    text = fmt::format("  wire [{}:0] {};\n", bits - 1, number);
    if (rescales) {
      text += fmt::format(
          "  napier_requantise #(.N({0}), .SYMMETRIC({1}), .F({2}), .B({3})) requantise "
          "(.sum(x_held),\n    .factor(w_held[{4}:0]), .shift(w_held[{5}:{2}]), .code({6}));\n",
          bits, symmetric, k_factor_bits, k_shift_bits, k_factor_bits - 1,
          k_factor_bits + k_shift_bits - 1, number);
    } else {
      text += decoder("x", "x_held", Operand{}, width) +
              fmt::format(
                  "  napier_to_integer #(.N({0}), .SYMMETRIC({1}), .W({2})) convert "
                  "(.sign(x_sign), .exponent(x_exponent),\n    .significand(x_significand), "
                  ".is_zero(x_zero), .is_infinite(x_infinite), .is_nan(x_nan), .code({3}));\n",
                  bits, symmetric, width, number);
    }
    if (!x.is_signed) {
      text += fmt::format(
          "  wire [{0}:0] result;\n  napier_zero_point #(.N({1})) place (.number(number), "
          ".zero(w_held[{2}:{3}]), .code(result));\n",
          x.bits() - 1, x.bits(), unit.w_bits_ - 1, unit.w_bits_ - x.bits());
    }
  } else {
    text = fmt::format(
        "  wire [{0}:0] product;\n  genvar i;\n  generate\n"
        "    for (i = 0; i < {1}; i = i + 1) begin : lanes\n"
        "      napier_integer_multiply #(.NX({2}), .NW({3}), .XU({5}), .WU({6})) multiply "
        "(.x(x_held[i*{2} +: {2}]), .w(w_held[i*{3} +: {3}]), "
        ".product(product[i*{4} +: {4}]));\n    end\n  endgenerate\n",
        unit.lanes_ * product - 1, unit.lanes_, x.bits(), w.bits(), product, x.is_signed ? 0 : 1,
        w.is_signed ? 0 : 1);
    text += !sums ? fmt::format("  wire [{}:0] result = product;\n", product - 1)
                  : unit.held("product", unit.lanes_ * product) + unit.held("sum_held", 32) +
                        fmt::format(
                            "  wire [31:0] result;\n  napier_integer_dot #(.L({}), .P({})) dot "
                            "(.product(product_held), .sum(sum_held_held), .next(result));\n",
                            unit.lanes_, product);
  }
  unit.verilog_ = unit.module(text);
  return unit;
}

uint64_t HardwareUnit::evaluate_integer(std::span<const uint64_t> x, std::span<const uint64_t> w,
                                        uint64_t sum) const {
  const uint64_t all = ~uint64_t{0} >> (64 - out_bits_);
  const Format& x_format = arithmetic_.x.cast.format;
  if (kind_ == UnitKind::add) return (x[0] + w[0]) & all;
  if (kind_ == UnitKind::convert || kind_ == UnitKind::requantise) {
    Dyadic value = k_f32.decode(x[0]);
    uint64_t zero = w[0];
    if (kind_ == UnitKind::requantise) {
      const auto m = static_cast<uint32_t>(w[0]);
      const auto e = static_cast<int>(w[0] >> k_factor_bits & ((1 << k_shift_bits) - 1));
      value = Format::integer(32, true).decode(x[0]) * Dyadic::make(false, m, -e);
      zero = w[0] >> (k_factor_bits + k_shift_bits);
    }
    if (x_format.is_signed) {
      return x_format.encode(value, Rounding::nearest_even, Overflow::saturate);
    }
    const Format wider = Format::integer(x_format.bits() + 1, true);
    const double number =
        to_double(wider.decode(wider.encode(value, Rounding::nearest_even, Overflow::saturate)));
    return static_cast<uint64_t>(
        std::clamp(number + static_cast<double>(zero), 0.0, static_cast<double>(all)));
  }
  const auto value = [](const Format& format, uint64_t code) {
    if (!format.is_signed) return static_cast<int64_t>(code);
    const int64_t sign = int64_t{1} << (format.bits() - 1);
    return (static_cast<int64_t>(code) ^ sign) - sign;
  };
  for (size_t i = 0; i < x.size(); ++i) {
    sum += static_cast<uint64_t>(value(x_format, x[i]) * value(arithmetic_.w.cast.format, w[i]));
  }
  return sum & all;
}

uint64_t HardwareUnit::add_fixed(uint64_t sum, const Dyadic& product) const {
  const uint64_t all = ~uint64_t{0} >> (64 - out_bits_);
  if (product.kind != Dyadic::Kind::finite || product.is_zero()) return sum & all;
  const uint64_t magnitude = product.significand >> (63 - (product.exponent - fixed_low_));
  return (product.negative ? sum - magnitude : sum + magnitude) & all;
}

uint64_t HardwareUnit::evaluate(std::span<const uint64_t> x, std::span<const uint64_t> w,
                                uint64_t sum) const {
  if (is_integer()) return evaluate_integer(x, w, sum);
  if (kind_ == UnitKind::raw) {
    const Format& format = arithmetic_.x.cast.format;
    return ((x[0] ^ w[0]) & format.sign_mask()) |
           ((x[0] + w[0] + raw_offset_) & format.magnitude_mask());
  }
  const Format& out = out_.format;
  if (kind_ == UnitKind::convert) return out_.encode(k_f32.decode(x[0]));
  if (kind_ == UnitKind::terms) return terms_of(x[0], w[0]);
  if (kind_ == UnitKind::round) {
    const uint64_t sign = uint64_t{1} << (x_bits_ - 1);
    const uint64_t code = x[0] & (sign | (sign - 1));
    const bool negative = (code & sign) != 0;
    const uint64_t magnitude = negative ? (sign << 1) - code : code;
    return out_.encode(Dyadic::make(negative, magnitude, fixed_low_));
  }
  if (kind_ == UnitKind::add) {
    return out_.encode(arithmetic_.accumulator.add(out.decode(x[0]), out.decode(w[0])));
  }
  const auto decode = [](const Operand& operand, uint64_t code) {
    if (is_turned(operand.cast.format)) return number_of(operand.cast.format, code);
    return operand.cast.format.decode(code, operand.subnormals);
  };
  std::vector<Dyadic> products;
  for (size_t i = 0; i < x.size(); ++i) {
    products.push_back(
        arithmetic_.multiplier.multiply(decode(arithmetic_.x, x[i]), decode(arithmetic_.w, w[i])));
  }
  if (arithmetic_.accumulator.is_exact() && kind_ != UnitKind::wide && kind_ != UnitKind::same) {
    for (const Dyadic& product : products) sum = add_fixed(sum, product);
    return sum;
  }
  switch (kind_) {
    case UnitKind::step:
      return out_.encode(arithmetic_.accumulator.add(out.decode(sum), products[0]));
    case UnitKind::dot: {  // the sum so far is one term more
      products.push_back(out.decode(sum));
      Accumulator accumulator = arithmetic_.accumulator;
      accumulator.settings.front() = static_cast<int>(products.size());  // align
      return out_.encode(accumulator.sum(products));
    }
    default: return out_.encode(products[0]);
  }
}

namespace {

// Of int8, uint8, int16s; nothing of what is no integer's name.
std::optional<Format> integer_named(std::string_view text) {
  if (!text.starts_with("int") && !text.starts_with("uint")) return std::nullopt;
  try {
    return parse_format(text);
  } catch (const ParseError&) {
    return std::nullopt;
  }
}

}  // namespace

uint64_t requantise_code(const DyadicNumber& number, uint64_t zero) {
  const int e = std::clamp(number.e, 0, (1 << k_shift_bits) - 1);
  return (zero << k_shift_bits | static_cast<uint64_t>(e)) << k_factor_bits | number.m;
}

HardwareUnit make_unit(std::string_view arithmetic, UnitKind kind, Timing timing) {
  const size_t star = arithmetic.find('*');
  const auto x = integer_named(arithmetic.substr(0, star));
  const auto w = star == arithmetic.npos ? x : integer_named(arithmetic.substr(star + 1));
  if (x && w) return HardwareUnit::integer(*x, *w, kind, timing);
  return HardwareUnit(parse_arithmetic(arithmetic), kind, timing);
}

}  // namespace napier
