// The written form of arithmetics: reading and printing.
#include "napier/arithmetic.hpp"

#include <array>
#include <optional>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "cursor.hpp"
#include "written.hpp"

namespace napier {
namespace {

std::vector<std::string> rounding_names() {
  std::vector<std::string> names;
  for (const RoundingName& rounding : k_rounding_names) names.emplace_back(rounding.name);
  return names;
}

std::vector<std::string> multiplier_names() {
  std::vector<std::string> names;
  for (const MultiplierFamily* family : multiplier_families()) names.emplace_back(family->name);
  return names;
}

std::vector<std::string> preset_names() {
  std::vector<std::string> names;
  for (const Preset& preset : presets()) names.emplace_back(preset.name);
  return names;
}

const RoundingName* find_rounding(std::string_view name) {
  for (const RoundingName& rounding : k_rounding_names) {
    if (rounding.name == name) return &rounding;
  }
  return nullptr;
}

struct OverflowName {
  std::string_view name;
  Overflow overflow;
};
constexpr std::array k_overflow_names = {OverflowName{"sat", Overflow::saturate},
                                         OverflowName{"inf", Overflow::infinity},
                                         OverflowName{"wrap", Overflow::wrap}};

const OverflowName* find_overflow(std::string_view name) {
  for (const OverflowName& overflow : k_overflow_names) {
    if (overflow.name == name) return &overflow;
  }
  return nullptr;
}

const AccumulatorFamily* find_accumulator(std::string_view name) {
  for (const AccumulatorFamily* family : accumulator_families()) {
    if (family->has_format && !family->name.empty() && family->name == name) return family;
  }
  return nullptr;
}

// "(seed)" behind sr. A parenthesis may be the accumulator's instead: sr(chunk=16).
uint32_t take_seed(Cursor& cursor, Rounding rounding) {
  Cursor ahead = cursor;
  if (rounding != Rounding::stochastic || !ahead.take('(')) return 0;
  if (find_accumulator(ahead.word()) != nullptr) return 0;
  cursor.take('(');
  const uint32_t seed = cursor.number(0, 0xFFFFFFFF, "the seed of sr(seed)");
  cursor.expect(')', "after the seed");
  return seed;
}

// What `read` makes of a part of the text that begins at `begin`; its errors placed in the whole.
template <class Read>
auto placed(Cursor& cursor, size_t begin, std::string_view part, const Read& read) {
  try {
    return read(part);
  } catch (const ParseError& error) {
    const std::string sentence = error.what();
    cursor.fail_at(begin + error.offset(), sentence.substr(sentence.find(": ") + 2));
  }
}

Format take_format(Cursor& cursor, const std::string& what) {
  const size_t begin = cursor.offset();
  std::string_view name = cursor.word();
  // A negative bias: e4m3b-2.
  if (name.ends_with('b') && cursor.peek() == '-') {
    cursor.take('-');
    cursor.word();
    name = cursor.text().substr(begin, cursor.offset() - begin);
  }
  if (name.empty()) cursor.fail("expected " + what + cursor.found());
  return placed(cursor, begin, name, parse_format);
}

// format[:rounding][:sat|inf]; stops at a ':' word that is none of these, which it leaves.
Cast take_cast(Cursor& cursor, const std::string& what, std::optional<Overflow> overflow = {}) {
  Cast cast;
  cast.format = take_format(cursor, what);
  cast.overflow = overflow.value_or(default_overflow(cast.format));
  bool has_rounding = false;
  bool has_overflow = false;
  while (cursor.peek() == ':') {
    Cursor ahead = cursor;
    ahead.take(':');
    const std::string_view word = ahead.word();
    if (const RoundingName* rounding = find_rounding(word)) {
      if (has_rounding) cursor.fail("the rounding is given twice");
      has_rounding = true;
      cast.rounding = rounding->rounding;
      cast.seed = take_seed(ahead, cast.rounding);
    } else if (const OverflowName* found = find_overflow(word)) {
      if (has_overflow) cursor.fail("the overflow rule is given twice");
      has_overflow = true;
      cast.overflow = found->overflow;
      if (cast.overflow == Overflow::wrap && !cast.format.is_integer()) {
        cursor.fail("only integers wrap, " + format_name(cast.format) + " does not");
      }
    } else {
      break;
    }
    cursor = ahead;
  }
  return cast;
}

[[noreturn]] void fail_modifier(Cursor& cursor, std::vector<std::string> names) {
  cursor.take(':');
  const size_t begin = cursor.offset();
  const std::string word(cursor.word());
  cursor.fail_at(begin, "unknown setting '" + word + "': expected " + alternatives(names) +
                            suggestion(word, names));
}

std::vector<std::string> cast_modifiers() {
  std::vector<std::string> names = rounding_names();
  for (const OverflowName& overflow : k_overflow_names) names.emplace_back(overflow.name);
  return names;
}

struct MethodName {
  std::string_view name;
  ScaleMethod method;
  enum Argument : uint8_t { none, optional, required } argument = none;
  double max = 0;  // of the argument
};
constexpr std::array k_methods = {
    MethodName{"absmax", ScaleMethod::absmax},
    MethodName{"ocp", ScaleMethod::ocp},
    MethodName{"full", ScaleMethod::full},
    MethodName{"minmax", ScaleMethod::minmax},
    MethodName{"percentile", ScaleMethod::percentile, MethodName::required, 100},
    MethodName{"mse", ScaleMethod::mse},
    MethodName{"mean", ScaleMethod::mean, MethodName::optional, 3e38},
    MethodName{"given", ScaleMethod::given, MethodName::required, 3e38},
};

void take_method(Cursor& cursor, ScaleLevel& level) {
  const size_t begin = cursor.offset();
  const std::string word(cursor.word());
  std::vector<std::string> names;
  for (const MethodName& method : k_methods) {
    names.emplace_back(method.name);
    if (method.name != word) continue;
    level.method = method.method;
    if (method.method == ScaleMethod::ocp && !level.format.is_power_of_two()) {
      cursor.fail_at(begin, "ocp gives powers of two: the scale's format must be e8m0 or the like");
    }
    if (method.argument != MethodName::none && cursor.take('=')) {
      const size_t number_begin = cursor.offset();
      level.parameter = cursor.real(method.max, word);
      if (method.method == ScaleMethod::given) {
        const Dyadic given = Dyadic::from_double(level.parameter);
        const Cast cast{level.format, level.rounding, 0, Overflow::saturate};
        if (cast(given).is_zero() || compare(given, level.format.max_finite()) > 0) {
          cursor.fail_at(number_begin, "a scale of " + shortest(level.parameter) +
                                           " is out of the range of " + format_name(level.format));
        }
        if (cursor.take(':')) {
          const int sign = cursor.take('-') ? -1 : 1;
          level.zero = sign * static_cast<int32_t>(cursor.number(0, 1u << 30, "the code of zero"));
        }
      }
    } else if (method.argument == MethodName::required) {
      cursor.fail("expected " + word + "=number" + cursor.found());
    }
    return;
  }
  cursor.fail_at(begin, "unknown scale method '" + word + "': expected " + alternatives(names) +
                            suggestion(word, names));
}

ScaleLevel take_scale_level(Cursor& cursor) {
  ScaleLevel level;
  const size_t begin = cursor.offset();
  const std::string word(cursor.word());
  if (word == "tensor") {
    level.granularity = Granularity::tensor;
  } else if (word == "row") {
    level.granularity = Granularity::row;
  } else if (word == "column") {
    level.granularity = Granularity::column;
  } else if (word.starts_with("block")) {
    level.granularity = Granularity::block;
    Cursor size(cursor.text(), begin + 5, cursor.offset());
    level.block = size.number(1, 1 << 20, "the block size");
  } else {
    cursor.fail_at(begin, "unknown granularity '" + word +
                              "': expected tensor, row, column or block<n>" +
                              suggestion(word, {"tensor", "row", "column", "block"}));
  }
  if (!cursor.take('(')) return level;
  const size_t at = cursor.offset();
  level.format = take_format(cursor, "the scale's format");
  if (level.format.bits() > 32 || level.format.is_listed()) {
    cursor.fail_at(at, "a scale's format is a float or an integer of at most 32 bits");
  }
  if (cursor.take(':')) {
    const size_t rounding_begin = cursor.offset();
    const std::string word_of(cursor.word());
    const RoundingName* rounding = find_rounding(word_of);
    if (!rounding || rounding->rounding == Rounding::stochastic) {
      cursor.fail_at(rounding_begin, "unknown rounding '" + word_of +
                                         "' of a scale: expected rne, rna, rtz, rup, rdn or rto");
    }
    level.rounding = rounding->rounding;
  }
  level.method = ScaleLevel::default_method(level.format, level.rounding);
  if (cursor.take(',')) take_method(cursor, level);
  cursor.expect(')', "after the scale's format");
  return level;
}

// Levels go from fine to coarse: a coarser one scales the scales of the one before.
void check_scaling(Cursor& cursor, size_t at, const Operand& operand) {
  const std::vector<ScaleLevel>& scaling = operand.scaling;
  const Format& format = operand.cast.format;
  const auto rank = [](const ScaleLevel& level) {
    switch (level.granularity) {
      case Granularity::block: return 0;
      case Granularity::row:
      case Granularity::column: return 1;
      case Granularity::tensor: break;
    }
    return 2;
  };
  for (size_t i = 1; i < scaling.size(); ++i) {
    if (rank(scaling[i]) <= rank(scaling[i - 1]) || scaling[i].granularity == Granularity::column) {
      cursor.fail_at(at,
                     "scales go from fine to coarse, each once: block<n>, row, tensor, or "
                     "column, tensor");
    }
  }
  for (size_t i = 0; i < scaling.size(); ++i) {
    const ScaleMethod method = scaling[i].method;
    const bool of_integers = method == ScaleMethod::full || method == ScaleMethod::minmax;
    if (of_integers && !format.is_integer()) {
      cursor.fail_at(at,
                     "full and minmax are of integers, and " + format_name(format) + " is none");
    }
    if (i > 0 && (method == ScaleMethod::minmax || method == ScaleMethod::mse)) {
      cursor.fail_at(at, "minmax and mse look at the elements: they are of the finest level");
    }
    if (const int32_t zero = scaling[i].zero; zero != 0) {
      if (!format.is_integer() || i > 0) {
        cursor.fail_at(at, "a code of zero is of integers and of the finest level");
      }
      if (zero < to_double(format.lowest()) || zero > to_double(format.max_finite())) {
        cursor.fail_at(at, "the code of zero, " + std::to_string(zero) + ", is none of " +
                               format_name(format));
      }
    }
    if ((method == ScaleMethod::minmax || scaling[i].zero != 0) &&
        operand.cast.overflow == Overflow::wrap) {
      cursor.fail_at(at, "numbers with a zero point saturate, they do not wrap");
    }
  }
  if (operand.has_alternatives() && scaling.empty()) {
    cursor.fail_at(at, "each group chooses its list of " + format_name(format) +
                           ": it needs a scale, such as @block128");
  }
}

Operand take_operand(Cursor& cursor) {
  Operand operand;
  const size_t begin = cursor.offset();
  operand.cast = take_cast(cursor, "a format");
  if (operand.cast.format.bits() > 32) {
    cursor.fail_at(begin, "an operand has at most 32 bits; " + format_name(operand.cast.format) +
                              " can only be an accumulator");
  }
  if (cursor.take(":ftz")) {
    operand.subnormals = Subnormals::flush;
  } else if (cursor.take(":literal")) {
    operand.subnormals = Subnormals::literal;
  }
  if (operand.subnormals != Subnormals::keep && !operand.cast.format.is_float()) {
    cursor.fail_at(begin, format_name(operand.cast.format) + " has no subnormals");
  }
  if (cursor.peek() == ':') {
    if (operand.subnormals != Subnormals::keep)
      cursor.fail("nothing may follow ftz or literal but a scale");
    std::vector<std::string> names = cast_modifiers();
    names.insert(names.end(), {"ftz", "literal"});
    fail_modifier(cursor, names);
  }
  const size_t scaling_begin = cursor.offset();
  while (cursor.take('@')) operand.scaling.push_back(take_scale_level(cursor));
  check_scaling(cursor, scaling_begin, operand);
  return operand;
}

// key=value of what is named `name`; `given` are the settings already read.
void take_setting(Cursor& cursor, std::string_view name, std::span<const Parameter> parameters,
                  std::vector<int>& settings, std::vector<bool>& given) {
  const size_t begin = cursor.offset();
  const std::string key(cursor.word());
  std::vector<std::string> names;
  size_t index = parameters.size();
  for (size_t i = 0; i < parameters.size(); ++i) {
    names.emplace_back(parameters[i].name);
    if (parameters[i].name == key) index = i;
  }
  if (index == parameters.size()) {
    cursor.fail_at(begin,
                   std::string(name) + " has no setting '" + key + "'" +
                       (names.empty() ? ": it has none" : ": expected " + alternatives(names)) +
                       suggestion(key, names));
  }
  if (given[index]) cursor.fail_at(begin, "'" + key + "' is given twice");
  given[index] = true;
  cursor.expect('=', "after '" + key + "'");
  const Parameter& parameter = parameters[index];
  const size_t value_begin = cursor.offset();
  if (parameter.intern != nullptr) {
    const std::string_view rest = cursor.rest();
    const std::string_view text = rest.substr(0, rest.find_first_of(",)"));
    if (text.empty()) {
      cursor.fail("expected " + key + "=" + std::string(parameter.placeholder) + cursor.found());
    }
    settings[index] = placed(cursor, value_begin, text, parameter.intern);
    cursor.take(text);
    return;
  }
  if (parameter.words.empty()) {
    settings[index] = static_cast<int>(cursor.number(static_cast<uint32_t>(parameter.min),
                                                     static_cast<uint32_t>(parameter.max), key));
    return;
  }
  const std::string value(cursor.word());
  std::vector<std::string> words(parameter.words.begin(), parameter.words.end());
  for (size_t i = 0; i < words.size(); ++i) {
    if (words[i] == value) {
      settings[index] = static_cast<int>(i);
      return;
    }
  }
  cursor.fail_at(value_begin, key + " must be " + alternatives(words) + ", not '" + value + "'");
}

std::vector<int> fallbacks(std::span<const Parameter> parameters) {
  std::vector<int> settings;
  for (const Parameter& parameter : parameters) settings.push_back(parameter.fallback);
  return settings;
}

Multiplier take_multiplier(Cursor& cursor) {
  const size_t begin = cursor.offset();
  const std::string name(cursor.word());
  const MultiplierFamily* family = nullptr;
  for (const MultiplierFamily* candidate : multiplier_families()) {
    if (candidate->name == name) family = candidate;
  }
  if (!family) {
    cursor.fail_at(begin, "unknown multiplier '" + name + "': expected " +
                              alternatives(multiplier_names()) +
                              suggestion(name, multiplier_names()));
  }
  std::vector<int> settings = fallbacks(family->parameters);
  std::vector<bool> given(settings.size());
  if (cursor.take('(')) {
    do {
      take_setting(cursor, name, family->parameters, settings, given);
    } while (cursor.take(','));
    cursor.expect(')', "after the settings of " + name);
  }
  for (size_t i = 0; i < settings.size(); ++i) {
    const Parameter& parameter = family->parameters[i];
    if (!parameter.required || given[i]) continue;
    cursor.fail(name + " needs its " + std::string(parameter.name) + ": write " + name + "(" +
                std::string(parameter.name) + "=...)");
  }
  std::optional<Cast> product;
  if (cursor.take(':')) {
    const size_t product_begin = cursor.offset();
    product = take_cast(cursor, "the product's format", Overflow::saturate);
    if (product->format.is_listed()) {
      cursor.fail_at(product_begin, "products are floats or integers");
    }
    if (cursor.peek() == ':') fail_modifier(cursor, cast_modifiers());
  }
  return Multiplier(*family, std::move(settings), product);
}

Accumulator take_accumulator(Cursor& cursor) {
  Accumulator accumulator;
  const size_t begin = cursor.offset();
  Cursor ahead = cursor;
  const std::string_view word = ahead.word();
  for (const AccumulatorFamily* family : accumulator_families()) {
    if (family->has_format || family->name != word) continue;
    cursor = ahead;
    accumulator.family = family;
    return accumulator;
  }
  accumulator.cast = take_cast(cursor, "the accumulator's format");
  if (cursor.peek() == ':') fail_modifier(cursor, cast_modifiers());
  if (accumulator.cast.format.is_listed()) {
    cursor.fail("sums are floats or integers, not " + format_name(accumulator.cast.format));
  }
  if (!accumulator.cast.format.has_zero()) {
    cursor.fail("a sum starts at zero, which " + format_name(accumulator.cast.format) +
                " does not have");
  }
  if (!cursor.take('(')) return accumulator;

  ahead = cursor;
  const std::string name(ahead.word());
  const AccumulatorFamily* const family = find_accumulator(name);
  if (family == nullptr) {
    std::vector<std::string> names;
    std::vector<std::string> forms;
    for (const AccumulatorFamily* candidate : accumulator_families()) {
      if (!candidate->has_format || candidate->name.empty()) continue;
      names.emplace_back(candidate->name);
      forms.push_back(names.back());
      if (!candidate->parameters.empty()) {
        forms.back() += "=" + std::string(candidate->parameters[0].placeholder);
      }
    }
    cursor.fail("expected " + alternatives(forms) + cursor.found() + suggestion(name, names));
  }
  accumulator.family = family;
  accumulator.settings = fallbacks(family->parameters);
  std::vector<bool> given(accumulator.settings.size());
  if (family->parameters.empty()) cursor = ahead;
  for (bool more = !family->parameters.empty(); more; more = cursor.take(',')) {
    take_setting(cursor, name, family->parameters, accumulator.settings, given);
  }
  cursor.expect(')', "after the settings of " + name);
  if (family->why_not != nullptr) {
    if (const auto why = family->why_not(accumulator)) cursor.fail_at(begin, *why);
  }
  if (family->normalise != nullptr) family->normalise(accumulator);
  return accumulator;
}

enum class Field { none, x, w, multiplier, accumulator };

Field take_field(Cursor& cursor) {
  if (cursor.take("x=")) return Field::x;
  if (cursor.take("w=")) return Field::w;
  if (cursor.take("mul=")) return Field::multiplier;
  if (cursor.take("acc=")) return Field::accumulator;
  return Field::none;
}

Arithmetic take_arithmetic(Cursor& cursor);

// A preset's name, then perhaps "-rounding" for both operands.
Arithmetic take_preset(Cursor& cursor) {
  const size_t begin = cursor.offset();
  const std::string name(cursor.word("-"));
  if (name.empty()) {
    cursor.fail_at(begin, "expected a preset or x=, w=, mul=, acc=" + cursor.found());
  }
  const auto find = [](std::string_view wanted) -> const Preset* {
    for (const Preset& preset : presets()) {
      if (preset.name == wanted) return &preset;
    }
    return nullptr;
  };
  const RoundingName* rounding = nullptr;
  const Preset* preset = find(name);
  if (!preset) {
    const size_t dash = name.rfind('-');
    if (dash != std::string::npos) {
      rounding = find_rounding(std::string_view(name).substr(dash + 1));
      if (rounding) preset = find(std::string_view(name).substr(0, dash));
    }
  }
  if (!preset) {
    cursor.fail_at(begin, "unknown preset '" + name + "': expected one of " +
                              alternatives(preset_names()) + ", or fields such as x=e4m3" +
                              suggestion(name, preset_names()));
  }
  Cursor written(preset->written);
  Arithmetic arithmetic = take_arithmetic(written);
  if (rounding) {
    const uint32_t seed = take_seed(cursor, rounding->rounding);
    for (Operand* operand : {&arithmetic.x, &arithmetic.w}) {
      operand->cast.rounding = rounding->rounding;
      operand->cast.seed = seed;
    }
  }
  return arithmetic;
}

Arithmetic take_arithmetic(Cursor& cursor) {
  Arithmetic arithmetic;
  bool given[5] = {};
  bool first = true;
  do {
    const size_t begin = cursor.offset();
    const Field field = take_field(cursor);
    if (field == Field::none) {
      if (!first) {
        cursor.fail_at(begin, "expected x=, w=, mul= or acc= after '/'" + cursor.found());
      }
      arithmetic = take_preset(cursor);
    } else {
      if (given[static_cast<int>(field)]) cursor.fail_at(begin, "this field is given twice");
      given[static_cast<int>(field)] = true;
    }
    switch (field) {
      case Field::x: arithmetic.x = take_operand(cursor); break;
      case Field::w: arithmetic.w = take_operand(cursor); break;
      case Field::multiplier: arithmetic.multiplier = take_multiplier(cursor); break;
      case Field::accumulator: arithmetic.accumulator = take_accumulator(cursor); break;
      case Field::none: break;
    }
    first = false;
  } while (cursor.take('/'));
  return arithmetic;
}

std::string rounding_name(const Cast& cast) {
  for (const RoundingName& rounding : k_rounding_names) {
    if (rounding.rounding != cast.rounding) continue;
    std::string name(rounding.name);
    if (cast.seed != 0) name += "(" + std::to_string(cast.seed) + ")";
    return name;
  }
  return {};
}

std::string cast_text(const Cast& cast, Overflow default_overflow) {
  std::string text = format_name(cast.format);
  if (cast.rounding != Rounding::nearest_even) text += ":" + rounding_name(cast);
  if (cast.overflow != default_overflow) {
    for (const OverflowName& overflow : k_overflow_names) {
      if (overflow.overflow == cast.overflow) text += ":" + std::string(overflow.name);
    }
  }
  return text;
}

// [begin, end) without spaces at either end.
std::pair<size_t, size_t> trimmed(std::string_view text, size_t begin, size_t end) {
  const auto is_space = [&](size_t i) {
    return text[i] == ' ' || text[i] == '\t' || text[i] == '\n' || text[i] == '\r';
  };
  while (begin < end && is_space(begin)) ++begin;
  while (end > begin && is_space(end - 1)) --end;
  return {begin, end};
}

std::vector<std::pair<size_t, size_t>> list_parts(std::string_view text, std::string_view what) {
  std::vector<std::pair<size_t, size_t>> parts;
  int depth = 0;
  size_t begin = 0;
  for (size_t i = 0; i <= text.size(); ++i) {
    if (i < text.size()) {
      if (text[i] == '(') ++depth;
      if (text[i] == ')') --depth;
      if (text[i] != ',' || depth > 0) continue;
    }
    parts.push_back(trimmed(text, begin, i));
    if (parts.back().first == parts.back().second) {
      throw ParseError(text, begin, "expected " + std::string(what) + " here, found nothing");
    }
    begin = i + 1;
  }
  return parts;
}

}  // namespace

Arithmetic parse_arithmetic(std::string_view text, size_t begin, size_t end) {
  std::tie(begin, end) = trimmed(text, begin, end);
  Cursor cursor(text, begin, end);
  Arithmetic arithmetic = take_arithmetic(cursor);
  if (!cursor.done()) cursor.fail("expected '/' and a field, or the end" + cursor.found());
  const MultiplierFamily& family = arithmetic.multiplier.family();
  if (family.why_not != nullptr) {
    if (const auto why = family.why_not(arithmetic.x, arithmetic.w)) cursor.fail_at(begin, *why);
  }
  return arithmetic;
}

Operand parse_operand(std::string_view text, size_t begin, size_t end) {
  std::tie(begin, end) = trimmed(text, begin, end);
  Cursor cursor(text, begin, end);
  const Operand operand = take_operand(cursor);
  if (!cursor.done()) cursor.fail("expected '@' and a scale, or the end" + cursor.found());
  return operand;
}

Arithmetic parse_arithmetic(std::string_view text) {
  return parse_arithmetic(text, 0, text.size());
}

std::vector<std::string> split_list(std::string_view text, std::string_view what) {
  std::vector<std::string> result;
  for (const auto& [begin, end] : list_parts(text, what)) {
    result.emplace_back(text.substr(begin, end - begin));
  }
  return result;
}

std::vector<Arithmetic> parse_arithmetic_list(std::string_view text) {
  std::vector<Arithmetic> result;
  for (const auto& [begin, end] : list_parts(text, "an arithmetic")) {
    result.push_back(parse_arithmetic(text, begin, end));
  }
  return result;
}

namespace {

// "(format[:rounding][,method[=parameter]])", or nothing where it says nothing.
std::string level_text(const ScaleLevel& level) {
  const Cast cast{level.format, level.rounding, 0, Overflow::saturate};
  const std::string format = cast_text(cast, Overflow::saturate);
  const bool is_default = level.method == ScaleLevel::default_method(level.format, level.rounding);
  if (is_default) return format == "f32" ? "" : "(" + format + ")";
  std::string text = "(" + format;
  for (const MethodName& method : k_methods) {
    if (method.method != level.method) continue;
    text += "," + std::string(method.name);
    if (level.parameter != 0) text += "=" + shortest(level.parameter);
    if (level.zero != 0) text += ":" + std::to_string(level.zero);
  }
  return text + ")";
}

}  // namespace

std::string to_string(const Operand& operand) {
  std::string text = cast_text(operand.cast, default_overflow(operand.cast.format));
  if (operand.subnormals == Subnormals::flush) text += ":ftz";
  if (operand.subnormals == Subnormals::literal) text += ":literal";
  for (const ScaleLevel& level : operand.scaling) {
    switch (level.granularity) {
      case Granularity::tensor: text += "@tensor"; break;
      case Granularity::row: text += "@row"; break;
      case Granularity::column: text += "@column"; break;
      case Granularity::block: text += "@block" + std::to_string(level.block); break;
    }
    text += level_text(level);
  }
  return text;
}

namespace {

// "key=value,key=value" of the settings that are not their fallback.
std::string settings_text(std::span<const Parameter> parameters, std::span<const int> settings) {
  std::string text;
  for (size_t i = 0; i < parameters.size(); ++i) {
    const Parameter& parameter = parameters[i];
    const int value = settings[i];
    if (value == parameter.fallback) continue;
    if (!text.empty()) text += ",";
    text += std::string(parameter.name) + "=";
    text += parameter.text != nullptr ? parameter.text(value)
            : parameter.words.empty() ? std::to_string(value)
                                      : std::string(parameter.words[static_cast<size_t>(value)]);
  }
  return text;
}

}  // namespace

std::string to_string(const Multiplier& multiplier) {
  const MultiplierFamily& family = multiplier.family();
  std::string text(family.name);
  const std::string settings = settings_text(family.parameters, multiplier.settings());
  if (!settings.empty()) text += "(" + settings + ")";
  if (const auto& product = multiplier.written_product()) {
    text += ":" + cast_text(*product, Overflow::saturate);
  }
  return text;
}

std::string to_string(const Accumulator& accumulator) {
  const AccumulatorFamily& family = *accumulator.family;
  if (!family.has_format) return std::string(family.name);
  const Cast& cast = accumulator.cast;
  const std::string text = cast_text(cast, default_overflow(cast.format));
  if (family.name.empty()) return text;
  const std::string settings = settings_text(family.parameters, accumulator.settings);
  return text + "(" + (settings.empty() ? std::string(family.name) : settings) + ")";
}

std::string to_string(const Arithmetic& arithmetic) {
  return "x=" + to_string(arithmetic.x) + "/w=" + to_string(arithmetic.w) +
         "/mul=" + to_string(arithmetic.multiplier) + "/acc=" + to_string(arithmetic.accumulator);
}

std::string display_name(const Arithmetic& arithmetic) {
  for (const Preset& preset : presets()) {
    Arithmetic candidate = parse_arithmetic(preset.written);
    if (candidate == arithmetic) return std::string(preset.name);
    if (arithmetic.x.cast.rounding != arithmetic.w.cast.rounding ||
        arithmetic.x.cast.seed != arithmetic.w.cast.seed) {
      continue;
    }
    for (Operand* operand : {&candidate.x, &candidate.w}) {
      operand->cast.rounding = arithmetic.x.cast.rounding;
      operand->cast.seed = arithmetic.x.cast.seed;
    }
    if (candidate == arithmetic) {
      return std::string(preset.name) + "-" + rounding_name(arithmetic.x.cast);
    }
  }
  return to_string(arithmetic);
}

}  // namespace napier
