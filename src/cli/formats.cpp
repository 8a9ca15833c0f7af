// napier formats: what there is, from the registries.
#include <fmt/format.h>

#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "cli/command.hpp"
#include "napier/arithmetic.hpp"
#include "napier/format.hpp"
#include "napier/multiplier.hpp"
#include "napier/rounding.hpp"
#include "report/text_table.hpp"

namespace napier::cli {
namespace {

using Json = nlohmann::ordered_json;

struct FormatsArguments {
  bool json = false;
};

const char* specials_name(Specials specials) {
  switch (specials) {
    case Specials::ieee: return "infinity, NaN";
    case Specials::fn: return "NaN";
    case Specials::fnuz: return "NaN, no -0";
    case Specials::none: return "none";
    case Specials::p3109: return "infinity, NaN, no -0";
  }
  return "";
}

std::string shape_text(const Format& format) {
  if (format.is_integer()) return "integer";
  if (format.is_listed()) return "list";
  return fmt::format("{}{} + {}", format.is_signed ? "1 + " : "", format.exponent_bits,
                     format.mantissa_bits);
}

std::string range_text(const Parameter& parameter) {
  if (parameter.intern != nullptr) return std::string(parameter.placeholder);
  if (parameter.words.empty()) return fmt::format("{}..{}", parameter.min, parameter.max);
  return fmt::format("{}", fmt::join(parameter.words, "|"));
}

// "format(chunk=n)"
std::string written(const AccumulatorFamily& family) {
  if (!family.has_format) return std::string(family.name);
  if (family.name.empty()) return "format";
  if (family.parameters.empty()) return fmt::format("format({})", family.name);
  return fmt::format("format({}={})", family.name, family.parameters[0].placeholder);
}

void print_parameters(std::span<const Parameter> parameters) {
  for (const Parameter& parameter : parameters) {
    fmt::print("    {}={}  {}\n", parameter.name, range_text(parameter), parameter.summary);
  }
}

void print_tables() {
  TextTable formats({"format", "bits", "sign+exp+mant", "bias", "largest", "smallest normal",
                     "smallest", "specials", "also"});
  for (const NamedFormat& named : named_formats()) {
    const Format& format = named.format;
    const double normal = std::ldexp(1.0, format.min_exponent());
    formats.add({std::string(named.name), std::to_string(format.bits()), shape_text(format),
                 format.is_float() ? std::to_string(format.bias) : "-",
                 fmt::format("{:.6g}", to_double(format.max_finite())),
                 format.exponent_bits == 0 ? "-" : fmt::format("{:.6g}", normal),
                 fmt::format("{:.6g}", to_double(format.min_positive())),
                 specials_name(format.specials), std::string(named.aliases)});
  }
  fmt::print(
      "Formats, and any shape eXmY with X 0..11 and Y 0..23, int<b>, int<b>s, uint<b>, "
      "pow<b>a<hundredths>:\n\n{}\n",
      formats.text());

  fmt::print("Roundings:\n");
  for (const RoundingName& rounding : k_rounding_names) {
    fmt::print("  {:4} {}\n", rounding.name, rounding.summary);
  }
  fmt::print("\nMultipliers:\n");
  for (const MultiplierFamily* family : multiplier_families()) {
    fmt::print("  {:9} {}\n", family->name, family->summary);
    print_parameters(family->parameters);
  }
  fmt::print("\nAccumulators:\n");
  for (const AccumulatorFamily* family : accumulator_families()) {
    fmt::print("  {:15} {}\n", written(*family), family->summary);
    print_parameters(family->parameters);
  }
  fmt::print("\nPresets (a rounding as suffix sets that of both operands, as in lmul-m4-rne):\n\n");
  for (const Preset& preset : presets()) {
    fmt::print("  {:16} {}\n", preset.name, preset.summary);
    fmt::print("  {:16} {}\n", "", to_string(parse_arithmetic(preset.name)));
  }
  fmt::print("\nnapier explain ARITH works an example of any of them.\n");
}

Json parameters_json(std::span<const Parameter> parameters) {
  Json result = Json::array();
  for (const Parameter& parameter : parameters) {
    Json words = Json::array();
    for (const std::string_view word : parameter.words) words.push_back(word);
    result.push_back({{"name", parameter.name},
                      {"min", parameter.min},
                      {"max", parameter.max},
                      {"words", words},
                      {"summary", parameter.summary}});
  }
  return result;
}

void print_json() {
  Json document;
  Json& formats = document["formats"] = Json::array();
  for (const NamedFormat& named : named_formats()) {
    const Format& format = named.format;
    formats.push_back({{"name", named.name},
                       {"aliases", named.aliases},
                       {"summary", named.summary},
                       {"bits", format.bits()},
                       {"exponent_bits", format.exponent_bits},
                       {"mantissa_bits", format.mantissa_bits},
                       {"bias", format.bias},
                       {"signed", format.is_signed},
                       {"subnormals", format.has_subnormals},
                       {"infinity", format.has_infinity()},
                       {"nan", format.has_nan()},
                       {"max", to_double(format.max_finite())},
                       {"min_positive", to_double(format.min_positive())}});
  }
  Json& roundings = document["roundings"] = Json::array();
  for (const RoundingName& rounding : k_rounding_names) {
    roundings.push_back({{"name", rounding.name}, {"summary", rounding.summary}});
  }
  Json& multipliers = document["multipliers"] = Json::array();
  for (const MultiplierFamily* family : multiplier_families()) {
    multipliers.push_back({{"name", family->name},
                           {"summary", family->summary},
                           {"parameters", parameters_json(family->parameters)}});
  }
  Json& accumulators = document["accumulators"] = Json::array();
  for (const AccumulatorFamily* family : accumulator_families()) {
    accumulators.push_back({{"name", family->name},
                            {"written", written(*family)},
                            {"summary", family->summary},
                            {"parameters", parameters_json(family->parameters)}});
  }
  Json& list = document["presets"] = Json::array();
  for (const Preset& preset : presets()) {
    list.push_back({{"name", preset.name},
                    {"written", to_string(parse_arithmetic(preset.name))},
                    {"summary", preset.summary}});
  }
  fmt::print("{}\n", document.dump(2));
}

}  // namespace

void add_formats(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("formats", "List formats, roundings, multipliers and presets");
  auto arguments = std::make_shared<FormatsArguments>();
  command->add_flag("--json", arguments->json, "print JSON");
  command->footer("Example: napier formats --json");
  command->callback([arguments] { arguments->json ? print_json() : print_tables(); });
}

}  // namespace napier::cli
