// Random formats, arithmetics and plans, over whatever the registries hold.
#pragma once

#include <random>
#include <string>
#include <vector>

#include "napier/arithmetic.hpp"
#include "napier/plan.hpp"

namespace napier::test {

class RandomWritten {
 public:
  explicit RandomWritten(uint64_t seed) : random_(seed) {}

  uint64_t below(uint64_t n) { return random_() % n; }

  // Of the registry, or any shape that parse_format() takes and that has at most `bits` bits.
  Format format(int bits, bool is_sum = false) {
    for (;;) {
      Format f;
      if (below(4) == 0) {
        const bool is_signed = below(3) != 0;
        f = Format::integer(1 + is_signed + static_cast<int>(below(60)), is_signed,
                            is_signed && below(2) == 0);
      } else if (below(16) == 0) {
        f = Format::listed(
            power_codebook(2 + static_cast<int>(below(7)), 25 + static_cast<int>(below(76))));
      } else if (below(2) == 0) {
        f = named_formats()[below(named_formats().size())].format;
      } else {
        f.exponent_bits = static_cast<uint8_t>(below(12));
        f.mantissa_bits = static_cast<uint8_t>(below(24));
        f.specials = static_cast<Specials>(below(5));
        f.bias = static_cast<int16_t>(below(4) ? default_bias(f.exponent_bits, f.specials)
                                               : static_cast<int>(below(601)) - 300);
        f.has_subnormals = f.exponent_bits == 0 || below(3) != 0;
        f.is_signed = below(4) != 0;
        if (f.exponent_bits == 0 &&
            (f.specials == Specials::ieee || f.specials == Specials::p3109)) {
          continue;
        }
        if (!f.is_signed && f.specials == Specials::fnuz) continue;
        if (f.exponent_bits + f.mantissa_bits == 0 || f.bits() > 32) continue;
        if (f.max_code() > f.magnitude_mask() || f.max_code() < f.min_positive_code()) continue;
      }
      if (f.bits() <= bits && (!is_sum || (f.has_zero() && !f.is_listed()))) return f;
    }
  }

  Cast cast(Format format, Overflow overflow) {
    Cast c{format, Rounding::nearest_even, 0, overflow};
    if (below(2) == 0) c.rounding = k_rounding_names[below(k_rounding_names.size())].rounding;
    if (c.rounding == Rounding::stochastic && below(2) == 0) {
      c.seed = static_cast<uint32_t>(random_());
    }
    if (below(3) == 0) c.overflow = below(2) ? Overflow::infinity : Overflow::saturate;
    if (format.is_integer() && below(3) == 0) c.overflow = Overflow::wrap;
    return c;
  }

  Operand operand() {
    Operand o;
    const Format f = format(32);
    o.cast = cast(f, default_overflow(f));
    if (f.is_float()) o.subnormals = static_cast<Subnormals>(below(3));
    const bool has_columns = below(8) == 0;
    for (const Granularity granularity :
         {Granularity::block, Granularity::row, Granularity::column, Granularity::tensor}) {
      const bool is_column = granularity == Granularity::column;
      if (granularity != Granularity::tensor && is_column != has_columns) continue;
      if (below(4) != 0 && !is_column) continue;
      ScaleLevel level{.granularity = granularity};
      if (granularity == Granularity::block) level.block = 1 + static_cast<uint32_t>(below(1024));
      if (below(2) == 0) level.format = format(32);
      if (level.format.is_listed()) level.format = k_bf16;
      level.rounding = k_rounding_names[below(6)].rounding;  // all but the stochastic one
      level.method = ScaleLevel::default_method(level.format, level.rounding);
      if (below(2) == 0) method(level, o);
      o.scaling.push_back(level);
    }
    if (o.has_alternatives() && o.scaling.empty()) o.scaling.push_back({});
    return o;
  }

  void method(ScaleLevel& level, const Operand& o) {
    const bool finest = o.scaling.empty();
    const bool is_integer = o.cast.format.is_integer();
    const auto real = [&] { return static_cast<double>(1 + below(100000)) / 1024; };
    switch (static_cast<ScaleMethod>(below(8))) {
      case ScaleMethod::full:
        if (is_integer) level.method = ScaleMethod::full;
        break;
      case ScaleMethod::minmax:
        if (is_integer && finest && o.cast.overflow != Overflow::wrap) {
          level.method = ScaleMethod::minmax;
        }
        break;
      case ScaleMethod::percentile:
        level.method = ScaleMethod::percentile;
        level.parameter = real();
        break;
      case ScaleMethod::mse:
        if (finest) level.method = ScaleMethod::mse;
        break;
      case ScaleMethod::mean:
        level.method = ScaleMethod::mean;
        level.parameter = below(2) ? real() : 0;
        break;
      case ScaleMethod::given: {
        const Dyadic scale = Dyadic::from_double(real());
        const Cast cast{level.format, level.rounding, 0, Overflow::saturate};
        if (cast(scale).is_zero() || compare(scale, level.format.max_finite()) > 0) break;
        level.method = ScaleMethod::given;
        level.parameter = to_double(scale);
        break;
      }
      default: level.method = ScaleMethod::absmax; break;
    }
  }

  Multiplier multiplier() {
    const MultiplierFamily& family = *multiplier_families()[below(multiplier_families().size())];
    if (!family.parameters.empty() && family.parameters[0].intern != nullptr) return multiplier();
    std::optional<Cast> product;
    if (below(2) == 0) product = cast(format(64, true), Overflow::saturate);
    return Multiplier(family, settings(family.parameters), product);
  }

  std::vector<int> settings(std::span<const Parameter> parameters) {
    std::vector<int> values;
    for (const Parameter& parameter : parameters) {
      int value = parameter.fallback;
      if (parameter.required || below(2) == 0) {
        const uint64_t span = parameter.words.empty()
                                  ? static_cast<uint64_t>(parameter.max - parameter.min + 1)
                                  : parameter.words.size();
        value = (parameter.words.empty() ? parameter.min : 0) + static_cast<int>(below(span));
        if (parameter.intern != nullptr) {  // of accumulators: a format
          value = parameter.intern(format_name(format(64, true)));
        }
      }
      values.push_back(value);
    }
    return values;
  }

  Accumulator accumulator() {
    Accumulator a;
    a.family = accumulator_families()[below(accumulator_families().size())];
    if (!a.family->has_format) return a;
    const Format f = format(64, true);
    a.cast = cast(f, default_overflow(f));
    a.settings = settings(a.family->parameters);
    if (a.family->why_not != nullptr && a.family->why_not(a)) return accumulator();
    if (a.family->normalise != nullptr) a.family->normalise(a);
    return a;
  }

  Arithmetic arithmetic() {
    if (below(8) == 0) return parse_arithmetic(presets()[below(presets().size())].name);
    return {operand(), operand(), multiplier(), accumulator()};
  }

  Plan plan() {
    static constexpr std::string_view alphabet = "abk*?[]!-._0129";
    Plan p;
    for (uint64_t rules = 1 + below(4); rules > 0; --rules) {
      std::string pattern;
      for (uint64_t i = 1 + below(12); i > 0; --i) pattern += alphabet[below(alphabet.size())];
      p.rules.push_back({pattern, arithmetic(), treatments()});
    }
    return p;
  }

  std::vector<Treatment> treatments() {
    std::vector<Treatment> all;
    for (const TreatmentForm& form : treatment_forms()) {
      if (below(4) != 0) continue;
      Treatment t;
      t.kind = form.kind;
      if (form.kind == TreatmentKind::dyadic) {
        t.operand.cast =
            cast(Format::integer(2 + static_cast<int>(below(15)), true), Overflow::saturate);
        if (t.operand.cast.overflow == Overflow::wrap) t.operand.cast.overflow = Overflow::saturate;
        ScaleLevel level{.granularity = Granularity::tensor, .method = ScaleMethod::given};
        level.parameter = static_cast<double>(1 + below(1000)) / 1024;
        t.operand.scaling = {level};
      } else if (takes_operand(form.kind)) {
        t.operand = operand();
      } else if (form.form.find('(') != std::string_view::npos) {
        t.number = static_cast<double>(1 + below(50));
      }
      if (form.form.find(",f16") != std::string_view::npos) {
        t.arithmetic = parse_arithmetic(below(2) == 0 ? "bf16" : "x=int8@row/w=int8@row/mul=lmul");
      }
      all.push_back(std::move(t));
    }
    return all;
  }

 private:
  std::mt19937_64 random_;
};

}  // namespace napier::test
