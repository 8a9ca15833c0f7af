// A circuit for an arithmetic: its Verilog, and what it must compute.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "napier/arithmetic.hpp"

namespace napier {

enum class UnitKind : uint8_t {
  raw,   // the bare addition of two patterns, no case told apart: what L-Mul's paper counts
  same,  // product rounded to nearest even and saturated into the written product format, else x's
  wide,  // product in a format that holds every product
  step,  // a processing element's work: product, exact, added to a sum that is rounded once
  add,   // two numbers of the accumulator's format, into it
  convert,  // an f32 into x's format
};

std::string_view unit_kind_name(UnitKind kind);
UnitKind parse_unit_kind(std::string_view text);  // throws Error

// Combinational, one Verilog file whose top module is `unit`: inputs x, w (unused by
// convert) and, for a step, sum; the output is out. Codes are Format's, of integers two's
// complement.
class HardwareUnit {
 public:
  // Throws Error for an arithmetic that no circuit here computes: operands without sign, mantissa
  // or exponent, roundings other than rne and rtz, chunked sums, multipliers that are neither
  // exact, nor sums of patterns, nor L-Mul's formula; and a raw unit of what is no bare addition.
  // Scales are left to what surrounds the unit. Example:
  //   HardwareUnit(parse_arithmetic("lmul-m4"), UnitKind::step).verilog()
  HardwareUnit(const Arithmetic& arithmetic, UnitKind kind);

  // Integers of `bits` (2 to 16): wide, step and add there are; sums have 32 bits and wrap.
  static HardwareUnit integer(int bits, UnitKind kind);

  const std::string& name() const { return name_; }  // of arithmetic and kind, a Verilog word
  UnitKind kind() const { return kind_; }
  bool is_integer() const { return integer_bits_ > 0; }
  // What is computed, to the last bit (not for raw and integer units). A step's products are not
  // rounded: L-Mul's, which are f32 by default, are here in the wide format.
  const Arithmetic& arithmetic() const { return arithmetic_; }
  const std::string& verilog() const { return verilog_; }
  int x_bits() const { return x_bits_; }
  int w_bits() const { return w_bits_; }
  int sum_bits() const { return sum_bits_; }  // 0 where there is no sum
  int out_bits() const { return out_bits_; }

  // By the C++ arithmetic. Codes in, code out.
  uint64_t evaluate(uint64_t x, uint64_t w, uint64_t sum) const;

 private:
  HardwareUnit() = default;
  void build();
  void build_raw(const ProductForm& form);
  void build_add();
  void build_convert();

  std::string name_;
  UnitKind kind_ = UnitKind::wide;
  Arithmetic arithmetic_;
  std::string verilog_;
  Cast out_;
  int integer_bits_ = 0;
  uint64_t raw_offset_ = 0;
  int x_bits_ = 0;
  int w_bits_ = 0;
  int sum_bits_ = 0;
  int out_bits_ = 0;
};

// "int8" is an integer unit, all else an arithmetic.
HardwareUnit make_unit(std::string_view arithmetic, UnitKind kind);

}  // namespace napier
