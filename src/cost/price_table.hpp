// What an operation costs, and who says so.
#pragma once

#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "napier/arithmetic.hpp"

namespace napier {

enum class Operation : uint8_t {
  multiply,       // two operands of a format, by a family of multipliers
  add,            // into a sum of a format
  step,           // a product and its addition to a sum, in one circuit
  convert,        // an f32 into a format
  requantise,     // a sum of integers into integers of another scale
  dram,           // a byte read or written
  sram,           // a byte, of a large on-chip memory (L2)
  register_file,  // a byte
};

std::string_view operation_name(Operation operation);
std::optional<Operation> parse_operation(std::string_view name);

// What is asked of a table: a format for all but bytes, a family for multiplications.
struct PriceKey {
  Operation operation = Operation::multiply;
  std::string family;  // "exact", "lmul", "lmul-formula", "mitchell"
  // "f32", or "e4m3fn*e2m1fn" where the operands differ; of a step with the accumulator:
  // "e4m3fn+f32(align=16,extra=2)". What makes another circuit of it is written too: a rounding
  // other than to nearest even of a conversion or a sum ("e8m4:rtz"), what overflows become where
  // it is not what the format usually does ("e5m2:inf"), subnormals that are not kept
  // ("e4m3fn:ftz"), settings that are not the usual ones ("e8m4 as lmul(k=2,l=2)").
  // Of a requantisation with the accumulator too: "int8+int32".
  std::string format;

  bool operator==(const PriceKey&) const = default;
};

std::string to_string(const PriceKey& key);
// A conversion of an f32, and an addition to a sum.
PriceKey convert_key(const Cast& cast);
PriceKey add_key(const Cast& sum);
// A sum of integers times a number m 2^-e, into a format (dyadic's).
PriceKey requantise_key(const Cast& result, const Accumulator& sum);
// The multiplication that an arithmetic does, its product's rounding aside.
PriceKey multiply_key(const Arithmetic& arithmetic);
// The same and its accumulation.
PriceKey step_key(const Arithmetic& arithmetic);

struct Price {
  PriceKey key;
  double pj = 0;      // an operation, or a byte
  double spread = 0;  // standard deviation over repeated measurements; 0 where none are known
  std::string source;
  std::string note;
};

struct PriceTable {
  std::string name;
  std::string title;
  std::string source;
  std::vector<Price> prices;

  // Formats match by what they are, not by their spelling.
  const Price* find(const PriceKey& key) const;
};

// A table in TOML: name, title, source, and [[price]] entries with operation, family, format, pj
// and perhaps spread, source, note. `where` begins every message. Throws Error.
PriceTable parse_price_table(std::string_view toml, const std::string& where);

// The built-in tables: src/cost/tables/*.toml.
std::span<const PriceTable> price_tables();

// What is asked unless others are named.
inline constexpr std::string_view k_default_prices = "osu018@horowitz45,horowitz45";

// Tables asked in order; the first that has a row gives it.
class Prices {
 public:
  // A comma-separated list of names, paths of TOML files, or A@B: table A times the one factor that
  // makes its f32 multiplication and addition cost together what B's do, which carries ratios
  // measured in one technology over to another. Throws Error.
  explicit Prices(std::string_view list);

  // Throws Error, saying what is missing where, if no table has it: nothing is guessed.
  const Price& operator()(const PriceKey& key) const;
  // The first table that has a price of any of the keys; null if none has.
  const PriceTable* first_with(std::initializer_list<PriceKey> keys) const;
  std::span<const PriceTable> tables() const { return tables_; }

 private:
  std::vector<PriceTable> tables_;
};

}  // namespace napier
