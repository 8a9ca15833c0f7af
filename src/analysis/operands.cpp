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

// The regularised incomplete beta function I_x(a, b), by its continued fraction (Abramowitz and
// Stegun 26.5.8, evaluated as Lentz does), which converges fast below (a + 1) / (a + b + 2).
double incomplete_beta(double a, double b, double x) {
  if (x <= 0 || x >= 1) return x <= 0 ? 0 : 1;
  if (x > (a + 1) / (a + b + 2)) return 1 - incomplete_beta(b, a, 1 - x);
  constexpr double tiny = 1e-300;
  const auto not_zero = [](double value) { return std::fabs(value) < tiny ? tiny : value; };
  double c = 1;
  double d = 1 / not_zero(1 - (a + b) * x / (a + 1));
  double fraction = d;
  for (int m = 1; m < 10000; ++m) {
    const double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
    const double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
    double step = 1;
    for (const double term : {even, odd}) {
      d = 1 / not_zero(1 + term * d);
      c = not_zero(1 + term / c);
      step = c * d;
      fraction *= step;
    }
    if (std::fabs(step - 1) < 1e-16) break;
  }
  const double front = std::exp(std::lgamma(a + b) - std::lgamma(a) - std::lgamma(b) +
                                a * std::log(x) + b * std::log1p(-x));
  return front * fraction / a;
}

// How likely Student's t is beyond t >= 0.
double student_tail(double t, double freedom) {
  return incomplete_beta(freedom / 2, 0.5, freedom / (freedom + t * t)) / 2;
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
    case Kind::codes: break;
  }
  throw Error("codes are enumerated, not drawn: give another law of operands");
}

double OperandLaw::cumulative(double number) const {
  switch (kind) {
    case Kind::mantissa: {  // 1 + i/2^23
      const double steps = std::floor((std::clamp(number, 0.0, 2.0) - 1) * 0x1p23) + 1;
      return std::clamp(steps * 0x1p-23, 0.0, 1.0);
    }
    case Kind::uniform: return std::clamp((number + 1) / 2, 0.0, 1.0);
    case Kind::loguniform: {
      const double part =
          std::clamp((std::log2(std::max(std::fabs(number), 0x1p-100)) + 4) / 8, 0.0, 1.0);
      return number < 0 ? (1 - part) / 2 : (1 + part) / 2;
    }
    case Kind::gaussian: return std::erfc(-number / std::numbers::sqrt2) / 2;
    case Kind::student: {  // of what is not drawn again, see draw()
      const double most = std::numeric_limits<float>::max();
      const double lost = student_tail(most, freedom);
      const double tail = student_tail(std::min(std::fabs(number), most), freedom);
      const double beyond = (tail - lost) / (1 - 2 * lost);
      return number < 0 ? beyond : 1 - beyond;
    }
    case Kind::codes: break;
  }
  throw Error("codes have no distribution of their own: give another law of operands");
}

OperandLaw parse_operand_law(std::string_view text) {
  using Kind = OperandLaw::Kind;
  if (text == "mantissa") return {Kind::mantissa, 0};
  if (text == "uniform") return {Kind::uniform, 0};
  if (text == "loguniform") return {Kind::loguniform, 0};
  if (text == "gaussian") return {Kind::gaussian, 0};
  if (text == "codes") return {Kind::codes, 0};
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
              "' is no law of operands: give mantissa, uniform, loguniform, gaussian, student(N) "
              "with N degrees of freedom, above 0, or codes");
}

std::string to_string(const OperandLaw& law) {
  switch (law.kind) {
    case OperandLaw::Kind::mantissa: return "mantissa";
    case OperandLaw::Kind::uniform: return "uniform";
    case OperandLaw::Kind::loguniform: return "loguniform";
    case OperandLaw::Kind::gaussian: return "gaussian";
    case OperandLaw::Kind::codes: return "codes";
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
