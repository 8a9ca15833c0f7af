#include "analysis/operands.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <numbers>

#include "napier/error.hpp"

namespace napier {
namespace {

// Uniform in (0, 1), of 53 bits, the same on every library.
double unit(std::mt19937_64& random) {
  return (static_cast<double>(random() >> 11) + 0.5) * 0x1p-53;
}

}  // namespace

float OperandLaw::draw(std::mt19937_64& random) const {
  switch (kind) {
    case Kind::mantissa: return std::bit_cast<float>(0x3F800000u | uint32_t(random() >> 41));
    case Kind::uniform: return static_cast<float>(2 * unit(random) - 1);
    case Kind::loguniform: {
      const double magnitude = std::exp2(8 * unit(random) - 4);
      return static_cast<float>(random() >> 63 ? -magnitude : magnitude);
    }
    case Kind::gaussian: {  // Box and Muller 1958
      const double radius = std::sqrt(-2 * std::log(unit(random)));
      return static_cast<float>(radius * std::cos(2 * std::numbers::pi * unit(random)));
    }
    case Kind::student: {  // Bailey 1994, "Polar generation of random variates with the t-dist."
      for (;;) {
        const double u = 2 * unit(random) - 1;
        const double v = 2 * unit(random) - 1;
        const double s = u * u + v * v;
        if (s > 1) continue;
        const double value = u * std::sqrt(freedom * (std::pow(s, -2 / freedom) - 1) / s);
        // With few degrees of freedom some leave f32's range: no operand is infinite.
        if (std::fabs(value) <= std::numeric_limits<float>::max()) return static_cast<float>(value);
      }
    }
  }
  return 0;
}

OperandLaw parse_operand_law(std::string_view text) {
  using Kind = OperandLaw::Kind;
  if (text == "mantissa") return {Kind::mantissa, 0};
  if (text == "uniform") return {Kind::uniform, 0};
  if (text == "loguniform") return {Kind::loguniform, 0};
  if (text == "gaussian") return {Kind::gaussian, 0};
  if (text.starts_with("student(") && text.ends_with(")")) {
    const std::string_view number = text.substr(8, text.size() - 9);
    double freedom = 0;
    const auto [end, error] =
        std::from_chars(number.data(), number.data() + number.size(), freedom);
    if (error == std::errc{} && end == number.data() + number.size() && freedom > 0 &&
        freedom <= 1e6) {
      return {Kind::student, freedom};
    }
  }
  throw Error("'" + std::string(text) +
              "' is no law of operands: give mantissa, uniform, loguniform, gaussian or student(N) "
              "with N degrees of freedom, above 0");
}

std::string to_string(const OperandLaw& law) {
  switch (law.kind) {
    case OperandLaw::Kind::mantissa: return "mantissa";
    case OperandLaw::Kind::uniform: return "uniform";
    case OperandLaw::Kind::loguniform: return "loguniform";
    case OperandLaw::Kind::gaussian: return "gaussian";
    case OperandLaw::Kind::student: return fmt::format("student({})", law.freedom);
  }
  return "";
}

std::vector<OperandBlock> draw_blocks(const OperandLaw& law, int64_t blocks, int64_t x_rows,
                                      int64_t w_rows, int64_t k, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<OperandBlock> result(static_cast<size_t>(blocks));
  for (OperandBlock& block : result) {
    block.k = k;
    block.x.resize(static_cast<size_t>(x_rows * k));
    block.w.resize(static_cast<size_t>(w_rows * k));
    for (float& value : block.x) value = law.draw(random);
    for (float& value : block.w) value = law.draw(random);
  }
  return result;
}

std::vector<OperandBlock> draw_windows(std::span<const OperandBlock> blocks, int64_t count,
                                       int64_t k, uint64_t seed) {
  std::mt19937_64 random(seed);
  const auto below = [&](int64_t n) {
    return static_cast<int64_t>(random() % static_cast<uint64_t>(n));
  };
  std::vector<size_t> order(blocks.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::vector<OperandBlock> windows;
  for (size_t i = 0; static_cast<int64_t>(windows.size()) < count; ++i) {
    if (i % order.size() == 0) {
      for (size_t j = order.size(); j > 1; --j) {
        std::swap(order[j - 1], order[static_cast<size_t>(below(static_cast<int64_t>(j)))]);
      }
    }
    const OperandBlock& block = blocks[order[i % order.size()]];
    OperandBlock window;
    window.k = std::min(k, block.k);
    const auto first = static_cast<size_t>(below(block.k - window.k + 1));
    const auto length = static_cast<size_t>(window.k);
    const auto x = block.x_row(below(block.x_rows())).subspan(first, length);
    const auto w = block.w_row(below(block.w_rows())).subspan(first, length);
    window.x.assign(x.begin(), x.end());
    window.w.assign(w.begin(), w.end());
    windows.push_back(std::move(window));
  }
  return windows;
}

}  // namespace napier
