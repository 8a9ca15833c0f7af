#include "report/explanation.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string_view>
#include <vector>

#include "kernels/quantise.hpp"
#include "napier/error.hpp"
#include "napier/gemm.hpp"

namespace napier {
namespace {

using Json = nlohmann::ordered_json;

constexpr int k_pattern_bias = 127;  // of the patterns shown: f32's, whatever the operands' format

std::string bits(uint64_t value, int count) {
  std::string text;
  for (int i = count - 1; i >= 0; --i) text += (value >> i) & 1 ? '1' : '0';
  return text;
}

// sign | exponent field | mantissa; an integer's or a list's code as it is
std::string code_bits(const Format& format, uint64_t code) {
  if (!format.is_float()) return bits(code, format.bits());
  std::string text;
  if (format.is_signed) text += bits(code >> (format.exponent_bits + format.mantissa_bits), 1);
  if (format.exponent_bits > 0) {
    text += (text.empty() ? "" : " | ") + bits(code >> format.mantissa_bits, format.exponent_bits);
  }
  if (format.mantissa_bits > 0) text += " | " + bits(code, format.mantissa_bits);
  return text;
}

std::string number(const Dyadic& value) { return fmt::format("{:.9g}", to_double(value)); }

std::string_view rounding_summary(Rounding rounding) {
  for (const RoundingName& name : k_rounding_names) {
    if (name.rounding == rounding) return name.summary;
  }
  return "";
}

std::string cast_words(const Cast& cast) {
  const Format& f = cast.format;
  std::string text = format_name(f);
  if (f.is_float()) {
    text += fmt::format(" ({}{} exponent bits, bias {}, {} mantissa bits; largest {})",
                        f.is_signed ? "1 sign bit, " : "", f.exponent_bits, f.bias, f.mantissa_bits,
                        number(f.max_finite()));
  } else if (f.is_integer()) {
    text += fmt::format(" (an integer, {} to {})", number(f.lowest()), number(f.max_finite()));
  } else {
    text += fmt::format(" ({}; {} bits, {} to {})", f.codebook->summary(), f.bits(),
                        number(f.lowest()), number(f.max_finite()));
  }
  text += fmt::format(", rounded {}; beyond the largest: ", rounding_summary(cast.rounding));
  switch (cast.overflow) {
    case Overflow::saturate: return text + "the largest";
    case Overflow::infinity: return text + "infinity, or NaN";
    case Overflow::wrap: return text + "the rest modulo 2^bits";
  }
  return text;
}

std::string operand_words(const Operand& operand) {
  std::string text = cast_words(operand.cast);
  if (operand.subnormals == Subnormals::flush) text += "; subnormals become zero";
  if (operand.subnormals == Subnormals::literal) text += "; subnormals' bits taken as normal ones'";
  if (operand.scaling.empty()) return text + "; not scaled";
  for (const ScaleLevel& level : operand.scaling) {
    const std::string group = level.granularity == Granularity::tensor ? "tensor"
                              : level.granularity == Granularity::row  ? "row"
                              : level.granularity == Granularity::column
                                  ? "column"
                                  : fmt::format("block of {}", level.block);
    text += fmt::format("; a scale in {} for each {}", format_name(level.format), group);
  }
  return text;
}

// The stored number and the scale it stands for, for a value that is the largest of its group.
struct Stored {
  double scale = 1;
  uint64_t code = 0;
  Dyadic value;  // without the scale
};

// A codebook's own list, where each group chooses one.
Format stored_format(const Operand& operand, const Group& group) {
  if (!operand.has_alternatives()) return operand.cast.format;
  return Format::listed(
      *operand.cast.format.codebook->alternatives()[static_cast<size_t>(group.alternative)]);
}

Stored store(const Operand& operand, float value) {
  Stored stored;
  Group group;
  Dyadic scaled = Dyadic::from_float(value);
  if (!operand.scaling.empty() && std::isfinite(value)) {
    int64_t k = 1;
    for (const ScaleLevel& level : operand.scaling) k = std::max<int64_t>(k, level.block);
    const Scaler scaler(operand, k);
    const std::vector<float> row(static_cast<size_t>(k), value);
    std::vector<Group> groups(static_cast<size_t>(scaler.groups()));
    ThreadPool pool(1);
    const RowReader read = [&](int64_t, float* to) { std::copy(row.begin(), row.end(), to); };
    scaler.choose(row.data(), scaler.common_groups(1, read, pool), groups.data());
    group = groups.front();
    stored.scale = group.scale;
    scaled = Dyadic::from_double(value / stored.scale);
  }
  stored.value = operand.quantise(scaled, 0, group);
  Cast cast = operand.cast;
  cast.format = stored_format(operand, group);
  stored.code = cast.encode(
      operand.has_zero_point() ? stored.value + Dyadic::from_double(group.zero) : scaled);
  return stored;
}

std::string operand_step(std::string_view name, const Operand& operand, float value,
                         const Stored& stored) {
  std::string text = fmt::format("  {} = {:.9g}", name, value);
  if (!operand.scaling.empty()) {
    text += fmt::format(", over its scale {:.9g} (as if it were the largest of its groups)",
                        stored.scale);
  }
  text += fmt::format("\n      {} = {}", code_bits(operand.cast.format, stored.code),
                      number(stored.value));
  const double meant = to_double(stored.value) * stored.scale;
  if (std::isfinite(value) && value != 0) {
    text += fmt::format("   ({:+.3g} % off)", 100 * (meant - value) / value);
  }
  return text + "\n";
}

struct Steps {
  Dyadic product;
  std::string text;
};

// |value| = 2^e (1 + m) as the integer (e + 127) 2^F + m 2^F: exponent field and mantissa in a row.
int64_t pattern(const Dyadic& value, int kept, int fraction) {
  const uint64_t mantissa = (value.significand << 1) >> 1;  // without the leading 1
  const uint64_t cut = kept == 0 ? 0 : mantissa >> (63 - kept) << (fraction - kept);
  return (static_cast<int64_t>(value.exponent + k_pattern_bias) << fraction) +
         static_cast<int64_t>(cut);
}

std::string pattern_bits(int64_t value, int fraction) {
  const int64_t field = value >> fraction;
  const int width = std::max(9, 1 + static_cast<int>(std::log2(std::abs(field) + 1)));
  const std::string high =
      field < 0 ? fmt::format("({})", field) : bits(static_cast<uint64_t>(field), width);
  return high + " | " + bits(static_cast<uint64_t>(value), fraction);
}

// The smallest number of fraction bits that shows all that takes part.
int fraction_bits(const ProductForm& form) {
  const int l = form.offset == 0 ? 0 : -std::ilogb(form.offset);
  return std::clamp(std::max(form.kept_bits, l), 1, 40);
}

Steps pattern_add_steps(const ProductForm& form, const Dyadic& x, const Dyadic& w) {
  const int fraction = fraction_bits(form);
  const auto offset = static_cast<int64_t>(std::ldexp(form.offset, fraction));
  const int64_t a = pattern(x, form.kept_bits, fraction);
  const int64_t b = pattern(w, form.kept_bits, fraction);
  const int64_t one = int64_t{k_pattern_bias} << fraction;
  const int64_t sum = a + b - one + offset;
  const int64_t mask = (int64_t{1} << fraction) - 1;
  const int64_t mantissas = (a & mask) + (b & mask) + offset;

  Steps steps;
  steps.product =
      Dyadic::make(x.negative != w.negative, static_cast<uint64_t>((sum & mask) | (mask + 1)),
                   static_cast<int>(sum >> fraction) - k_pattern_bias - fraction);
  std::string& text = steps.text;
  text += fmt::format(
      "  A magnitude 2^e (1 + m) is written as one integer: exponent field e + {}, then the {} bits"
      "\n  of m. Adding two such integers adds the exponents and adds the mantissas: log2(1 + m) is"
      "\n  nearly m, so a sum of patterns is nearly the pattern of the product. One addition, no"
      "\n  multiplier. The bias is in both and is taken off once",
      k_pattern_bias, fraction);
  if (offset != 0) {
    text += fmt::format(
        "; {:g} = 2^{} is added, about what the\n  mantissas' product would have been"
        " on average.\n\n",
        form.offset, std::ilogb(form.offset));
  } else {
    text += ".\n\n";
  }
  const auto line = [&](std::string_view what, int64_t value, std::string_view note) {
    text += fmt::format("      {:10} {:>24}   = {:6}{}\n", what, pattern_bits(value, fraction),
                        value, note);
  };
  line("|x|", a, "");
  line("+ |w|", b, "");
  line("- bias", one, fmt::format("   ({} at the exponent)", k_pattern_bias));
  if (offset != 0) line("+ offset", offset, fmt::format("   (2^{})", std::ilogb(form.offset)));
  line("=", sum, "");
  if (fraction <= 23 && offset != 0) {
    text += fmt::format(
        "\n  (On f32 patterns bias and offset are one constant: |x| + |w| - 0x{:08X}.)\n",
        0x3F800000u - static_cast<uint32_t>(std::ldexp(form.offset, 23)));
  }
  const double total = std::ldexp(static_cast<double>(mantissas), -fraction);
  text += fmt::format("\n  The mantissas add up to {:g}{}", total,
                      offset != 0 ? " with the offset" : "");
  if (mantissas > mask) {
    text += fmt::format(
        ": {} or more, so {} runs into the exponent, which\n  {} what remains{}.\n",
        mantissas >> fraction, mantissas >> fraction == 1 ? "a carry" : "2",
        mantissas >> fraction == 1 ? "doubles" : "quadruples",
        offset == 0
            ? ""
            : fmt::format(" (the formula reading of L-Mul would keep 1 + {:g} instead)", total));
  } else {
    text += ": below 1, so nothing is carried into the exponent.\n";
  }
  text += fmt::format(
      "  Signs: {} xor {} = {}. Read back: {}2^{} x {:.9g} = {}\n", +x.negative, +w.negative,
      +steps.product.negative, steps.product.negative ? "-" : "", steps.product.exponent,
      std::abs(to_double(steps.product.scaled(-steps.product.exponent))), number(steps.product));
  return steps;
}

Steps bilinear_steps(const ProductForm& form, const Dyadic& x, const Dyadic& w) {
  const int fraction = fraction_bits(form);
  const int64_t mask = (int64_t{1} << fraction) - 1;
  const int64_t a = pattern(x, form.kept_bits, fraction) & mask;
  const int64_t b = pattern(w, form.kept_bits, fraction) & mask;
  const auto offset = static_cast<int64_t>(std::ldexp(form.offset, fraction));
  const auto part = [&](int64_t value) {
    return std::ldexp(static_cast<double>(value), -fraction);
  };
  Steps steps;
  steps.product =
      Dyadic::make(x.negative != w.negative, static_cast<uint64_t>(mask + 1 + a + b + offset),
                   x.exponent + w.exponent - fraction);
  steps.text = fmt::format(
      "  With x = 2^xe (1 + xm) and w = 2^we (1 + wm) the exact product has (1 + xm)(1 + wm) =\n"
      "  1 + xm + wm + xm wm. The last term, the only multiplication, is replaced by a "
      "constant:\n\n"
      "      xe = {}, xm = {:g};  we = {}, wm = {:g};  constant {:g}\n"
      "      2^({}) (1 + {:g} + {:g} + {:g}) with the signs' xor = {}\n",
      x.exponent, part(a), w.exponent, part(b), form.offset, x.exponent + w.exponent, part(a),
      part(b), form.offset, number(steps.product));
  return steps;
}

Steps product_steps(const Arithmetic& arithmetic, const Dyadic& x, const Dyadic& w) {
  const Multiplier multiplier = arithmetic.resolved_multiplier();
  const ProductForm form = multiplier.form();
  Steps steps;
  if (!x.is_finite() || !w.is_finite() || x.is_zero() || w.is_zero()) {
    steps.product = multiplier.multiply(x, w);
    steps.text = fmt::format(
        "  Common to all multipliers: zero times a number is exactly zero, infinity times a "
        "number\n"
        "  infinite, with the signs' xor; NaN in or zero times infinity gives NaN: {}\n",
        number(steps.product));
    return steps;
  }
  switch (form.kind) {
    case ProductForm::Kind::pattern_add: steps = pattern_add_steps(form, x, w); break;
    case ProductForm::Kind::bilinear: steps = bilinear_steps(form, x, w); break;
    case ProductForm::Kind::exact:
      steps.product = x * w;
      steps.text =
          fmt::format("  {} x {} = {}, exactly\n", number(x), number(w), number(steps.product));
      break;
    case ProductForm::Kind::other:
      steps.product = multiplier.multiply(x, w);
      steps.text =
          fmt::format("  {} and {} give {}\n", number(x), number(w), number(steps.product));
      return steps;
  }
  if (const auto cast = multiplier.product()) {
    const Dyadic rounded = (*cast)(steps.product);
    steps.text += fmt::format("  Rounded as a product in {}: {}\n", format_name(cast->format),
                              number(rounded));
    steps.product = rounded;
  }
  return steps;
}

// "   it is off by +1.2 %": more or less in magnitude than it should be.
std::string off_by(double value, double exact) {
  const double relative = (value - exact) / exact;
  if (!std::isfinite(relative)) return "";
  return value == exact ? "   it is exact"
                        : fmt::format("   it is off by {:+.3g} %", 100 * relative);
}

std::string accumulator_words(const Accumulator& accumulator) {
  if (accumulator.is_plain_f32()) return "f32: products are added one by one in order of k";
  const SumForm form = accumulator.form();
  const std::string one_by_one = ": after every addition, in order of k";
  switch (form.kind) {
    case SumForm::Kind::plain: return cast_words(accumulator.cast) + one_by_one;
    case SumForm::Kind::chunked:
      return cast_words(accumulator.cast) + one_by_one +
             fmt::format("; each run of {} is summed from zero, the runs' sums are added in {}",
                         form.chunk, format_name(form.outer.format));
    case SumForm::Kind::aligned:
      return cast_words(accumulator.cast) +
             fmt::format(
                 ": after every {} products, which are added with the sum so far, all cut to"
                 " {} bits below the largest's first",
                 form.align, accumulator.cast.format.significand_bits() - 1 + form.extra);
    case SumForm::Kind::exact:
    case SumForm::Kind::other: break;
  }
  const AccumulatorFamily& family = *accumulator.family;
  return (family.has_format ? cast_words(accumulator.cast) : std::string(family.name)) + ": " +
         std::string(family.summary);
}

Json operand_json(const Operand& operand, float value, const Stored& stored) {
  return {{"written", to_string(operand)},
          {"value", value},
          {"scale", stored.scale},
          {"code", stored.code},
          {"bits", code_bits(operand.cast.format, stored.code)},
          {"stored", to_double(stored.value)}};
}

}  // namespace

Lowering usual_lowering(const Arithmetic& arithmetic) {
  int64_t k = 1;  // a length that every block divides
  for (const Operand* operand : {&arithmetic.x, &arithmetic.w}) {
    for (const ScaleLevel& level : operand->scaling) k *= std::max<uint32_t>(1, level.block);
  }
  return lower(arithmetic, {512, 512, 512 * k});
}

Dyadic explained_product(const Arithmetic& arithmetic, float x, float w) {
  return product_steps(arithmetic, store(arithmetic.x, x).value, store(arithmetic.w, w).value)
      .product;
}

std::string explanation(const Arithmetic& arithmetic, float x, float w) {
  const Multiplier multiplier = arithmetic.resolved_multiplier();
  std::string text = fmt::format("{}\n", display_name(arithmetic));
  if (display_name(arithmetic) != to_string(arithmetic)) {
    text += fmt::format("  written out: {}\n", to_string(arithmetic));
  }
  text += fmt::format("\n  activations x  {}\n", operand_words(arithmetic.x));
  text += fmt::format("  weights w      {}\n", operand_words(arithmetic.w));
  text +=
      fmt::format("  product        {}: {}\n", to_string(multiplier), multiplier.family().summary);
  if (const auto cast = multiplier.product()) {
    text += fmt::format("                 then {}\n", cast_words(*cast));
  }
  text += fmt::format("  sum            {}\n", accumulator_words(arithmetic.accumulator));

  text += "\n1. The operands (sign | exponent field | mantissa)\n\n";
  const Stored stored_x = store(arithmetic.x, x);
  const Stored stored_w = store(arithmetic.w, w);
  text += operand_step("x", arithmetic.x, x, stored_x);
  text += operand_step("w", arithmetic.w, w, stored_w);

  const Steps steps = product_steps(arithmetic, stored_x.value, stored_w.value);
  text += "\n2. The product\n\n" + steps.text;

  const double scale = stored_x.scale * stored_w.scale;
  const double product = to_double(steps.product) * scale;
  const double of_operands = to_double(stored_x.value) * to_double(stored_w.value) * scale;
  const double exact = double{x} * double{w};
  text += "\n3. Beside it\n\n";
  if (scale != 1) text += fmt::format("  times both scales ({:.9g}): {:.9g}\n", scale, product);
  text += fmt::format("  {:44} {:>14.9g}\n", "this arithmetic's product", product);
  text += fmt::format("  {:44} {:>14.9g}{}\n", "exact product of the stored operands", of_operands,
                      off_by(product, of_operands));
  text += fmt::format("  {:44} {:>14.9g}{}\n", "exact product of x and w", exact,
                      off_by(product, exact));

  const Dyadic sum = Dyadic::from_float(8);
  text += "\n4. One step of the sum\n\n";
  text +=
      fmt::format("  a sum that has come to 8, and this product: {} in {}, exactly {:.9g}\n",
                  number(arithmetic.accumulator.sum(
                      std::vector<Dyadic>{arithmetic.accumulator.cast(sum), steps.product})),
                  format_name(arithmetic.accumulator.cast.format), 8 + to_double(steps.product));
  if (!arithmetic.x.scaling.empty() || !arithmetic.w.scaling.empty()) {
    text +=
        "  These are sums of stored numbers: the scales multiply the finished sum in f32 (with\n"
        "  blocks, the sum of each run of one scale; the runs are then added in f32).\n";
  }

  text += "\n5. The kernel\n\n";
  const Lowering lowering = usual_lowering(arithmetic);
  text += fmt::format("  {}: {}\n", kernel_name(lowering.kernel), lowering.reason);
  return text;
}

std::string treatments_explanation(std::span<const Treatment> treatments) {
  if (treatments.empty()) return "";
  std::string text = "\n6. Around the product, the outermost first\n\n";
  for (const Treatment& treatment : treatments) {
    const TreatmentForm& form = form_of(treatment.kind);
    text += fmt::format("  {}: {}\n", to_string(treatment), form.summary);
    if (!form.needs.empty()) {
      text += fmt::format("    its {} are computed by napier quantize for a recipe\n", form.needs);
    }
  }
  return text;
}

std::string explanation_json(const Arithmetic& arithmetic, float x, float w) {
  const Stored stored_x = store(arithmetic.x, x);
  const Stored stored_w = store(arithmetic.w, w);
  const Dyadic product = product_steps(arithmetic, stored_x.value, stored_w.value).product;
  const Lowering lowering = usual_lowering(arithmetic);
  const Json document = {
      {"arith", display_name(arithmetic)},
      {"written", to_string(arithmetic)},
      {"x", operand_json(arithmetic.x, x, stored_x)},
      {"w", operand_json(arithmetic.w, w, stored_w)},
      {"multiplier", to_string(arithmetic.resolved_multiplier())},
      {"product", to_double(product) * (stored_x.scale * stored_w.scale)},
      {"exact_product", double{x} * double{w}},
      {"accumulator", to_string(arithmetic.accumulator)},
      {"kernel", kernel_name(lowering.kernel)},
      {"why", lowering.reason},
  };
  return document.dump(2) + "\n";
}

}  // namespace napier
