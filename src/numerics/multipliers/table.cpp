// Products from a file: any approximate multiplier of two 8-bit integers, as EvoApprox8b's or
// tf-approximate's tables. The file holds the product of codes x and w (two's complement or
// unsigned, as the operands are) at place 256 x + w, in one of these ways:
//   131072 bytes: 16-bit integers, little endian, signed where an operand is
//   262144 bytes: f32, little endian
//   text: 65536 numbers, parted by white space or commas
#include <array>
#include <charconv>
#include <cmath>
#include <cstring>
#include <deque>
#include <mutex>

#include "families.hpp"
#include "napier/error.hpp"
#include "numerics/input_file.hpp"

namespace napier {
namespace {

constexpr size_t k_codes = 256;
constexpr size_t k_products = k_codes * k_codes;

struct Table {
  std::string path;
  std::vector<float> as_signed;
  std::vector<float> as_unsigned;  // the same, but for 16-bit integers
};

bool is_text(const std::string& bytes) {
  for (const char c : bytes) {
    const bool space = c == ' ' || c == '\n' || c == '\r' || c == '\t';
    if (!space && (c < ' ' || c > '~')) return false;
  }
  return true;
}

std::vector<float> read_numbers(const std::string& path, const std::string& bytes) {
  std::vector<float> numbers;
  const char* at = bytes.data();
  const char* const end = at + bytes.size();
  const auto is_gap = [](char c) {
    return c == ' ' || c == ',' || c == '\n' || c == '\r' || c == '\t';
  };
  for (;;) {
    while (at != end && is_gap(*at)) ++at;
    if (at == end) return numbers;
    float value = 0;
    const auto [next, error] = std::from_chars(at, end, value);
    if (error != std::errc{} || (next != end && !is_gap(*next))) {
      const char* stop = at;
      while (stop != end && !is_gap(*stop) && stop - at < 20) ++stop;
      throw Error(path + ": number " + std::to_string(numbers.size() + 1) + " of the table is '" +
                  std::string(at, stop) +
                  (error == std::errc::result_out_of_range ? "', which f32 does not hold"
                                                           : "': expected 65536 numbers"));
    }
    numbers.push_back(value);
    at = next;
  }
}

Table read_table(const std::string& path) {
  const std::string bytes = read_input_file(path, "the table of products", k_settings_limit);
  Table table{path, {}, {}};
  if (!bytes.empty() && is_text(bytes)) {
    table.as_signed = read_numbers(path, bytes);
  } else if (bytes.size() == k_products * sizeof(uint16_t)) {
    for (size_t i = 0; i < k_products; ++i) {
      const auto low = static_cast<uint8_t>(bytes[2 * i]);
      const auto high = static_cast<uint8_t>(bytes[2 * i + 1]);
      const auto code = static_cast<uint16_t>(low | high << 8);
      table.as_unsigned.push_back(code);
      table.as_signed.push_back(static_cast<int16_t>(code));
    }
  } else if (bytes.size() == k_products * sizeof(float)) {
    table.as_signed.resize(k_products);
    std::memcpy(table.as_signed.data(), bytes.data(), bytes.size());
  } else {
    throw Error(path +
                ": a table of products has 65536 numbers: 131072 bytes of 16-bit integers, " +
                "262144 of f32, or text; this has " + std::to_string(bytes.size()) + " bytes");
  }
  if (table.as_signed.size() != k_products) {
    throw Error(path + ": the table of products has " + std::to_string(table.as_signed.size()) +
                " numbers: expected 65536, 256 rows of 256");
  }
  for (size_t i = 0; i < k_products; ++i) {
    if (std::isfinite(table.as_signed[i])) continue;
    throw Error(path + ": the product of codes " + std::to_string(i / k_codes) + " and " +
                std::to_string(i % k_codes) + " is not a finite number");
  }
  if (table.as_unsigned.empty()) table.as_unsigned = table.as_signed;
  return table;
}

// Read once each, never moved, never destroyed.
struct Tables {
  std::mutex mutex;
  std::deque<Table> all;
};
Tables& tables() {
  static auto& instance = *new Tables;
  return instance;
}

const Table& table_at(int index) {
  const std::lock_guard lock(tables().mutex);
  return tables().all[static_cast<size_t>(index)];
}

int intern(std::string_view path) {
  const std::lock_guard lock(tables().mutex);
  std::deque<Table>& all = tables().all;
  for (size_t i = 0; i < all.size(); ++i) {
    if (all[i].path == path) return static_cast<int>(i);
  }
  all.push_back(read_table(std::string(path)));
  return static_cast<int>(all.size()) - 1;
}

enum Setting { k_file, k_signed };
constexpr std::array<std::string_view, 2> k_signs = {"no", "yes"};

constexpr std::array k_parameters = {
    Parameter{.name = "file",
              .fallback = -1,
              .summary = "65536 products: text, 16-bit integers or f32",
              .intern = intern,
              .text = [](int index) { return table_at(index).path; },
              .placeholder = "PATH",
              .required = true},
    Parameter{.name = "signed",
              .fallback = -1,
              .words = k_signs,
              .summary = "whether 16-bit products are signed; default: if an operand is"},
};

size_t code_of(const Dyadic& value) {
  return static_cast<size_t>(static_cast<int>(to_float(value)) & 0xFF);
}

bool is_byte(const Operand& operand) {
  return operand.cast.format.is_integer() && operand.cast.format.bits() <= 8 &&
         !operand.has_zero_point();
}

}  // namespace

const MultiplierFamily k_table_multiplier = {
    .name = "table",
    .summary = "the product of two 8-bit integers as a file has it",
    .parameters = k_parameters,
    .resolve =
        [](std::span<int> settings, const Operand& x, const Operand& w) {
          if (settings[k_signed] < 0) {
            settings[k_signed] = x.cast.format.is_signed || w.cast.format.is_signed ? 1 : 0;
          }
        },
    .multiply =
        [](std::span<const int> settings, const Dyadic& x, const Dyadic& w) {
          const Table& table = table_at(settings[k_file]);
          const std::vector<float>& products =
              settings[k_signed] != 0 ? table.as_signed : table.as_unsigned;
          return Dyadic::from_float(products[k_codes * code_of(x) + code_of(w)]);
        },
    .form = [](std::span<const int>) { return ProductForm{}; },
    .rounds_by_default = false,
    .takes_zeros = true,
    .why_not = [](const Operand& x, const Operand& w) -> std::optional<std::string> {
      if (is_byte(x) && is_byte(w)) return std::nullopt;
      return "a table multiplies integers of at most 8 bits without zero points, such as int8 and "
             "uint8";
    },
};

}  // namespace napier
