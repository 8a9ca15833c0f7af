// Numbers as the Number Cookbook (arXiv 2411.03766) writes them: 123, 12.5, 7/13, 1.25e10. None is
// negative.
#pragma once

#include <string>
#include <vector>

#include "eval/workloads/drawing.hpp"
#include "eval/workloads/natural.hpp"

namespace napier {

struct Number {
  Notation notation = Notation::integer;
  Natural value;            // of a fraction the numerator
  int scale = 0;            // times 10^scale, but for fractions
  Natural denominator = 1;  // of a fraction

  std::string text() const;
  // Its digits, of each part: before and after the point, and the exponent's.
  std::vector<std::string> parts() const;
  std::string all_digits() const;
  // The paper's measure of length: of an integer its digits, of a fraction those of its longer
  // part, else the digits after the point.
  int length() const;
  // Of scientific notation.
  int exponent() const;
};

// In lowest terms; of decimal and scientific notation without zeros at the end.
Number integer(Natural value);
Number fraction(const Natural& numerator, const Natural& denominator);
Number decimal(Natural value, int scale);
Number scientific(Natural value, int scale);
// The number of this notation whose parts (of decimals two) these are.
Number from_parts(Notation notation, const std::vector<std::string>& parts);

// Of the length that is asked for. Exponents lie below 100.
Number random_number(Random& random, Notation notation, int length);

// Of numbers of one notation. Differences are of a >= b.
Number operator+(const Number& a, const Number& b);
Number operator-(const Number& a, const Number& b);
Number operator*(const Number& a, const Number& b);
std::strong_ordering compare(const Number& a, const Number& b);

// Its first `figures` significant digits, rounded half to even, all written: "1.20e3".
std::string significant(const Number& number, int figures);

}  // namespace napier
