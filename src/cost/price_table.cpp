#include "cost/price_table.hpp"

#include <fmt/format.h>

#include <toml++/toml.h>
#include <algorithm>
#include <array>
#include <cmath>

#include "napier/error.hpp"
#include "napier/multiplier.hpp"
#include "numerics/input_file.hpp"
#include "numerics/toml_text.hpp"

namespace napier {
namespace {

constexpr std::array k_texts = {
#include "price_tables.inc"
};

struct OperationName {
  Operation operation;
  std::string_view name;
};
constexpr std::array k_operations = {
    OperationName{Operation::multiply, "multiply"},
    OperationName{Operation::add, "add"},
    OperationName{Operation::step, "step"},
    OperationName{Operation::convert, "convert"},
    OperationName{Operation::requantise, "requantise"},
    OperationName{Operation::dram, "dram"},
    OperationName{Operation::sram, "sram"},
    OperationName{Operation::register_file, "register"},
};

bool moves_bytes(Operation operation) { return operation >= Operation::dram; }

bool multiplies(Operation operation) {
  return operation == Operation::multiply || operation == Operation::step;
}

// "e4m3fn:rtz:inf": what is not the usual rounding or overflow is written.
std::string rounded_name(const Cast& cast) {
  std::string name = format_name(cast.format);
  for (const RoundingName& rounding : k_rounding_names) {
    if (rounding.rounding == cast.rounding && cast.rounding != Rounding::nearest_even)
      name += ":" + std::string(rounding.name);
  }
  if (cast.overflow != default_overflow(cast.format)) {
    name += cast.overflow == Overflow::infinity   ? ":inf"
            : cast.overflow == Overflow::saturate ? ":sat"
                                                  : ":wrap";
  }
  return name;
}

// The canonical spelling of a format, perhaps with a colon and more behind it, of two with a star
// between, or of these and an accumulator with a plus between; what this build does not know stays
// as it is written.
std::string canonical(const std::string& format) {
  const size_t plus = format.find('+');
  if (plus != format.npos) {
    std::string sum = format.substr(plus + 1);
    try {
      sum = to_string(parse_arithmetic("acc=" + sum).accumulator);
    } catch (const ParseError&) {
    }
    return canonical(format.substr(0, plus)) + "+" + sum;
  }
  const size_t star = format.find('*');
  if (star != format.npos) {
    return canonical(format.substr(0, star)) + "*" + canonical(format.substr(star + 1));
  }
  const size_t colon = format.find(':');
  try {
    if (colon != format.npos) {
      const Operand operand = parse_arithmetic("x=" + format).x;
      if (operand.scaling.empty() && operand.subnormals == Subnormals::keep) {
        return rounded_name(operand.cast);
      }
    }
  } catch (const ParseError&) {
  }
  if (colon != format.npos) return canonical(format.substr(0, colon)) + format.substr(colon);
  try {
    return format_name(parse_format(format));
  } catch (const ParseError&) {
    return format;
  }
}

std::string text_in(const toml::table& entry, std::string_view key, const std::string& fallback,
                    const std::string& where) {
  const toml::node* node = entry.get(key);
  if (node && !node->is_string()) {
    throw Error(where + ": '" + std::string(key) + "' is to be a text in quotes");
  }
  return entry[key].value_or(fallback);
}

// What is misspelt would be left out without a word.
void check_keys(const toml::table& entry, std::initializer_list<std::string_view> known,
                const std::string& of, const std::string& where) {
  for (const auto& [key, node] : entry) {
    if (std::find(known.begin(), known.end(), key.str()) != known.end()) continue;
    throw Error(where + ": " + of + " has no '" + std::string(key.str()) +
                fmt::format("': it has {}", fmt::join(known, ", ")));
  }
}

// A family of the registry, or L-Mul's formula.
void check_family(const std::string& family, const std::string& where) {
  std::string names;
  for (const MultiplierFamily* known : multiplier_families()) {
    const std::string name(known->name);
    if (family == name || family == "lmul-formula") return;
    names += name + ", ";
  }
  throw Error(where + ": '" + family + "' is no family of multipliers: give " + names +
              "or lmul-formula");
}

Price parse_price(const toml::table& entry, const PriceTable& table, const std::string& where) {
  constexpr double k_most = 1e12;  // pJ, a joule: a token's sum stays a number
  check_keys(entry, {"operation", "family", "format", "pj", "spread", "source", "note"}, "a price",
             where);
  const auto text_of = [&](std::string_view key, const std::string& fallback) {
    return text_in(entry, key, fallback, where);
  };
  Price price;
  const std::string operation = text_of("operation", "");
  const auto found = parse_operation(operation);
  if (!found) {
    throw Error(where + ": '" + operation +
                "' is no operation: give multiply, add, step, convert, requantise, dram, "
                "sram or register");
  }
  price.key = {*found, text_of("family", ""), canonical(text_of("format", ""))};
  const std::string name = to_string(price.key);
  if (price.key.format.empty() != moves_bytes(*found)) {
    throw Error(where + ": the price of " + name +
                (moves_bytes(*found) ? " is of a byte and takes no format" : " needs a format"));
  }
  if (price.key.family.empty() == multiplies(*found)) {
    throw Error(where + ": the price of " + name +
                (multiplies(*found) ? " needs a family of multipliers"
                                    : " takes no family of multipliers"));
  }
  if (multiplies(*found)) check_family(price.key.family, where);
  price.pj = entry["pj"].value_or(-1.0);
  price.spread = entry.contains("spread") ? entry["spread"].value_or(-1.0) : 0.0;
  if (!(price.pj >= 0 && price.pj <= k_most)) {
    throw Error(where + ": the price of " + name +
                " needs pj, a number not below 0 and at most 1e12");
  }
  if (!(price.spread >= 0 && price.spread <= k_most)) {
    throw Error(where + ": the spread of the price of " + name +
                " is to be a number not below 0 and at most 1e12");
  }
  price.source = text_of("source", table.source);
  price.note = text_of("note", "");
  return price;
}

PriceTable table_named(const std::string& name) {
  std::string names;
  for (const PriceTable& table : price_tables()) {
    if (table.name == name) return table;
    names += (names.empty() ? "" : ", ") + table.name;
  }
  if (name.find_first_of("./") != name.npos) {
    PriceTable table =
        parse_price_table(read_input_file(name, "the table of prices", k_settings_limit), name);
    const auto built_in = price_tables();
    if (std::any_of(built_in.begin(), built_in.end(),
                    [&](const PriceTable& other) { return other.name == table.name; })) {
      table.name += " (" + name + ")";  // what napier hw report measures on osu018 is so called
    }
    return table;
  }
  throw Error("--prices: '" + name + "' is no table of prices: give " + names +
              ", or the path of a TOML file");
}

// What a multiplier is given: how it came to be rounded is the conversion's matter. Exact products
// of integers may leave zero points to be taken away from the sum; others are of codes less them.
std::string multiplied_name(const Operand& operand, bool is_exact) {
  const Format& format = operand.cast.format;
  if (!is_exact && operand.has_zero_point()) {
    return format_name(Format::integer(format.bits() + 1, true));
  }
  const char* const subnormals = operand.subnormals == Subnormals::flush     ? ":ftz"
                                 : operand.subnormals == Subnormals::literal ? ":literal"
                                                                             : "";
  return format_name(format) + subnormals;
}

// " as lmul(k=2,l=2)" where the multiplier is not what its name alone means for these operands.
std::string unusual_settings(const Arithmetic& arithmetic) {
  const Multiplier multiplier = arithmetic.resolved_multiplier();
  const MultiplierFamily& family = multiplier.family();
  std::vector<int> usual;
  for (size_t i = 0; i < family.parameters.size(); ++i) {
    const bool is_named = family.parameters[i].name == "reading";  // by the family's name
    usual.push_back(is_named ? multiplier.settings()[i] : family.parameters[i].fallback);
  }
  const Multiplier plain = Multiplier(family, usual).resolved(arithmetic.x, arithmetic.w);
  if (std::ranges::equal(plain.settings(), multiplier.settings())) return "";
  const std::vector<int> settings(multiplier.settings().begin(), multiplier.settings().end());
  return " as " + to_string(Multiplier(family, settings));
}

double f32_step(const PriceTable& table) {
  const Price* multiply = table.find({Operation::multiply, "exact", "f32"});
  const Price* add = table.find({Operation::add, "", "f32"});
  if (!multiply || !add) {
    throw Error("--prices: the table " + table.name +
                " has no f32 multiplication and addition to be scaled by");
  }
  if (multiply->pj + add->pj < 1e-12) {
    throw Error("--prices: the table " + table.name +
                " has an f32 multiplication and addition of 0 pJ: nothing can be scaled by it");
  }
  return multiply->pj + add->pj;
}

}  // namespace

std::string_view operation_name(Operation operation) {
  for (const OperationName& entry : k_operations) {
    if (entry.operation == operation) return entry.name;
  }
  return "";
}

std::optional<Operation> parse_operation(std::string_view name) {
  for (const OperationName& entry : k_operations) {
    if (entry.name == name) return entry.operation;
  }
  return std::nullopt;
}

std::string to_string(const PriceKey& key) {
  std::string text(operation_name(key.operation));
  if (!key.family.empty()) text += " " + key.family;
  if (!key.format.empty()) text += " " + key.format;
  return text;
}

PriceKey convert_key(const Cast& cast) { return {Operation::convert, "", rounded_name(cast)}; }

PriceKey add_key(const Cast& sum) { return {Operation::add, "", rounded_name(sum)}; }

PriceKey requantise_key(const Cast& result, const Accumulator& sum) {
  return {Operation::requantise, "", rounded_name(result) + "+" + to_string(sum)};
}

PriceKey multiply_key(const Arithmetic& arithmetic) {
  const Multiplier multiplier = arithmetic.resolved_multiplier();
  const bool is_exact = multiplier.form().kind == ProductForm::Kind::exact;
  const std::string x = multiplied_name(arithmetic.x, is_exact);
  const std::string w = multiplied_name(arithmetic.w, is_exact);
  // L-Mul's formula is another circuit than its adder.
  const bool is_formula = multiplier.form().kind == ProductForm::Kind::bilinear;
  const std::string family(multiplier.family().name);
  return {Operation::multiply, family + (is_formula ? "-formula" : ""),
          (x == w ? x : x + "*" + w) + unusual_settings(arithmetic)};
}

PriceKey step_key(const Arithmetic& arithmetic) {
  PriceKey key = multiply_key(arithmetic);
  key.operation = Operation::step;
  key.format += "+" + to_string(arithmetic.accumulator);
  return key;
}

const Price* PriceTable::find(const PriceKey& key) const {
  const PriceKey wanted = {key.operation, key.family, canonical(key.format)};
  const auto found = std::find_if(prices.begin(), prices.end(),
                                  [&](const Price& price) { return price.key == wanted; });
  return found == prices.end() ? nullptr : &*found;
}

PriceTable parse_price_table(std::string_view text, const std::string& where) {
  refuse_beyond_ascii(text, where);
  toml::table document;
  try {
    document = toml::parse(text);
  } catch (const toml::parse_error& error) {
    throw Error(
        fmt::format("{}: line {}: {}", where, error.source().begin.line, error.description()));
  }
  PriceTable table;
  check_keys(document, {"name", "title", "source", "price"}, "a table of prices", where);
  table.name = text_in(document, "name", "", where);
  table.title = text_in(document, "title", "", where);
  table.source = text_in(document, "source", "", where);
  if (table.name.empty() || table.source.empty()) {
    throw Error(where + ": a table of prices needs 'name' and 'source'");
  }
  if (const toml::node* price = document.get("price")) {
    const toml::array* entries = price->as_array();
    if (!entries) throw Error(where + ": 'price' is to be written [[price]]");
    for (const toml::node& node : *entries) {
      const toml::table* entry = node.as_table();
      if (!entry) throw Error(where + ": 'price' is to be written [[price]]");
      Price price = parse_price(*entry, table, where);
      if (table.find(price.key)) throw Error(where + ": two prices of " + to_string(price.key));
      table.prices.push_back(std::move(price));
    }
  }
  if (table.prices.empty()) throw Error(where + ": a table without prices");
  return table;
}

std::span<const PriceTable> price_tables() {
  static const std::vector<PriceTable> tables = [] {
    std::vector<PriceTable> parsed;
    for (const char* text : k_texts) parsed.push_back(parse_price_table(text, "built-in table"));
    return parsed;
  }();
  return tables;
}

Prices::Prices(std::string_view list) {
  for (const std::string& name : split_list(list, "a table of prices")) {
    const size_t at = name.find('@');
    if (at == name.npos) {
      tables_.push_back(table_named(name));
      continue;
    }
    PriceTable table = table_named(name.substr(0, at));
    const PriceTable measure = table_named(name.substr(at + 1));
    const double factor = f32_step(measure) / f32_step(table);
    table.name = name;
    for (Price& price : table.prices) {
      price.pj *= factor;
      price.spread *= factor;
      price.note += fmt::format("{}times {:.4g}", price.note.empty() ? "" : "; ", factor);
    }
    tables_.push_back(std::move(table));
  }
}

const PriceTable* Prices::first_with(std::initializer_list<PriceKey> keys) const {
  for (const PriceTable& table : tables_) {
    for (const PriceKey& key : keys) {
      if (table.find(key)) return &table;
    }
  }
  return nullptr;
}

const Price& Prices::operator()(const PriceKey& key) const {
  std::string names;
  for (const PriceTable& table : tables_) {
    if (const Price* price = table.find(key)) return *price;
    names += (names.empty() ? "" : ", ") + table.name;
  }
  throw Error(
      "no price of '" + to_string(key) + "' in " + names +
      ": name a further table with --prices that has one, or leave such operations out with "
      "--free " +
      std::string(
          operation_name(key.operation == Operation::step ? Operation::add : key.operation)));
}

}  // namespace napier
