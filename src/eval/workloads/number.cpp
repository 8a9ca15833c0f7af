#include "eval/workloads/number.hpp"

#include <algorithm>
#include <utility>

namespace napier {
namespace {

// "12", "5": before and after the point.
std::pair<std::string, std::string> around_point(const Natural& value, int scale) {
  std::string digits = value.digits();
  if (scale >= 0) return {(value * power(10, scale)).digits(), "0"};
  const auto decimals = static_cast<size_t>(-scale);
  if (digits.size() <= decimals) digits.insert(0, decimals + 1 - digits.size(), '0');
  return {digits.substr(0, digits.size() - decimals), digits.substr(digits.size() - decimals)};
}

Number scaled(Notation notation, Natural value, int scale) {
  if (value.is_zero()) return {notation, 0, 0, 1};
  std::string digits = value.digits();
  while (digits.back() == '0') {
    digits.pop_back();
    ++scale;
  }
  return {notation, Natural(digits), scale, 1};
}

// Both as multiples of 10^scale.
struct Aligned {
  Natural a, b;
  int scale;
};
Aligned aligned(const Number& a, const Number& b) {
  const int scale = std::min(a.scale, b.scale);
  return {a.value * power(10, a.scale - scale), b.value * power(10, b.scale - scale), scale};
}

Number like(const Number& model, Natural value, int scale) {
  if (model.notation == Notation::integer) return integer(std::move(value));
  return scaled(model.notation, std::move(value), scale);
}

}  // namespace

std::vector<std::string> Number::parts() const {
  switch (notation) {
    case Notation::fraction: return {value.digits(), denominator.digits()};
    case Notation::decimal: {
      auto [whole, decimals] = around_point(value, scale);
      return {std::move(whole), std::move(decimals)};
    }
    case Notation::scientific: {
      const std::string digits = value.digits();
      return {digits.substr(0, 1), digits.size() == 1 ? "0" : digits.substr(1),
              std::to_string(exponent())};
    }
    default: return {value.digits()};
  }
}

std::string Number::text() const {
  const std::vector<std::string> all = parts();
  switch (notation) {
    case Notation::fraction: return all[0] + "/" + all[1];
    case Notation::decimal: return all[0] + "." + all[1];
    case Notation::scientific: return all[0] + "." + all[1] + "e" + all[2];
    default: return all[0];
  }
}

std::string Number::all_digits() const {
  std::string text;
  for (const std::string& part : parts()) text += part;
  return text;
}

int Number::length() const {
  const std::vector<std::string> all = parts();
  switch (notation) {
    case Notation::fraction: return static_cast<int>(std::max(all[0].size(), all[1].size()));
    case Notation::integer: return static_cast<int>(all[0].size());
    default: return static_cast<int>(all[1].size());
  }
}

int Number::exponent() const {
  return value.is_zero() ? 0 : static_cast<int>(value.digits().size()) - 1 + scale;
}

Number integer(Natural value) { return {Notation::integer, std::move(value), 0, 1}; }

Number fraction(const Natural& numerator, const Natural& denominator) {
  const Natural divisor = greatest_divisor(numerator, denominator);
  return {Notation::fraction, numerator / divisor, 0, denominator / divisor};
}

Number decimal(Natural value, int scale) {
  return scaled(Notation::decimal, std::move(value), scale);
}
Number scientific(Natural value, int scale) {
  return scaled(Notation::scientific, std::move(value), scale);
}

Number from_parts(Notation notation, const std::vector<std::string>& parts) {
  if (notation == Notation::integer) return integer(Natural(parts[0]));
  return scaled(notation, Natural(parts[0] + parts[1]), -static_cast<int>(parts[1].size()));
}

Number random_number(Random& random, Notation notation, int length) {
  const auto decimals = [&] {  // the last is no zero
    std::string digits;
    while (static_cast<int>(digits.size()) < length - 1) {
      digits += static_cast<char>('0' + random.below(10));
    }
    return digits + static_cast<char>('0' + random.between(1, 9));
  };
  switch (notation) {
    case Notation::fraction:
      for (;;) {
        std::string digits(1, '0');
        for (int i = 0; i < length; ++i) digits += static_cast<char>('0' + random.below(10));
        Number number = fraction(Natural(digits), Natural(random_digits(random, length, true)));
        if (static_cast<int>(number.denominator.digits().size()) == length) return number;
      }
    case Notation::decimal: {
      const std::string whole = random_digits(random, random.between(1, length), true);
      return from_parts(notation, {whole, decimals()});
    }
    case Notation::scientific: {
      const std::string whole = random_digits(random, 1, true);
      Number number = from_parts(notation, {whole, decimals()});
      number.scale += random.below(100);
      return number;
    }
    default: return integer(Natural(random_digits(random, length)));
  }
}

Number operator+(const Number& a, const Number& b) {
  if (a.notation == Notation::fraction) {
    return fraction(a.value * b.denominator + b.value * a.denominator,
                    a.denominator * b.denominator);
  }
  const Aligned both = aligned(a, b);
  return like(a, both.a + both.b, both.scale);
}

Number operator-(const Number& a, const Number& b) {
  if (a.notation == Notation::fraction) {
    return fraction(a.value * b.denominator - b.value * a.denominator,
                    a.denominator * b.denominator);
  }
  const Aligned both = aligned(a, b);
  return like(a, both.a - both.b, both.scale);
}

Number operator*(const Number& a, const Number& b) {
  if (a.notation == Notation::fraction) {
    return fraction(a.value * b.value, a.denominator * b.denominator);
  }
  return like(a, a.value * b.value, a.scale + b.scale);
}

std::strong_ordering compare(const Number& a, const Number& b) {
  if (a.notation == Notation::fraction) {
    return a.value * b.denominator <=> b.value * a.denominator;
  }
  const Aligned both = aligned(a, b);
  return both.a <=> both.b;
}

std::string significant(const Number& number, int figures) {
  std::string digits = number.value.digits();
  int exponent = number.exponent();
  const auto count = static_cast<size_t>(figures);
  if (digits.size() > count) {
    const std::string rest = digits.substr(count);
    digits.resize(count);
    const bool tie = rest.find_first_not_of('0', 1) == rest.npos && rest[0] == '5';
    const bool odd = (digits.back() - '0') % 2 == 1;
    if (rest[0] > '5' || (rest[0] == '5' && (!tie || odd))) {
      const size_t before = digits.size();
      digits = (Natural(digits) + Natural(1)).digits();
      exponent += static_cast<int>(digits.size() - before);
    }
  }
  digits.resize(count, '0');
  return digits.substr(0, 1) + "." + digits.substr(1) + "e" + std::to_string(exponent);
}

}  // namespace napier
