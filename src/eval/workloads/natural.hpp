// Whole numbers from 0 on, of any size: OpenSSL's.
#pragma once

#include <compare>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

using BIGNUM = struct bignum_st;

namespace napier {

class Natural {
 public:
  Natural(uint64_t value = 0);
  explicit Natural(std::string_view digits);  // decimal
  Natural(const Natural& other);
  Natural(Natural&&) = default;
  Natural& operator=(Natural other);

  std::string digits() const;
  bool is_zero() const;

  friend Natural operator+(const Natural& a, const Natural& b);
  friend Natural operator-(const Natural& a, const Natural& b);  // a >= b
  friend Natural operator*(const Natural& a, const Natural& b);
  friend Natural operator/(const Natural& a, const Natural& b);  // b > 0
  friend Natural operator%(const Natural& a, const Natural& b);
  friend Natural greatest_divisor(const Natural& a, const Natural& b);
  friend std::strong_ordering operator<=>(const Natural& a, const Natural& b);
  friend bool operator==(const Natural& a, const Natural& b) { return (a <=> b) == 0; }

 private:
  struct Deleter {
    void operator()(BIGNUM* number) const;
  };
  std::unique_ptr<BIGNUM, Deleter> number_;
};

Natural power(int base, int exponent);

}  // namespace napier
