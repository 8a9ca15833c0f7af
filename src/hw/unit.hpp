// A circuit for an arithmetic: its Verilog, and what it must compute.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "napier/arithmetic.hpp"
#include "napier/dyadic_number.hpp"

namespace napier {

enum class UnitKind : uint8_t {
  raw,   // the bare addition of two patterns, no case told apart: what L-Mul's paper counts
  same,  // product rounded to nearest even and saturated into the written product format, else x's
  wide,  // product in a format that holds every product
  step,  // a processing element's work: product, exact, added to a sum that is rounded once, or
         // to a fixed-point sum that holds all (of acc=exact)
  dot,  // as many products as the accumulator aligns, and the sum so far, added as tensor cores do;
        // of a fixed-point sum, 16
  add,  // two numbers of the accumulator's format, into it
  convert,     // an f32 into x's format
  round,       // a fixed-point sum, read out: into f32
  requantise,  // an int32 times a number m 2^-e into integers of another scale (dyadic's, HAWQ-V3)
  terms,       // a weight's code, of a list of numbers, into the powers of two whose sum it is, the
               // largest lowest: what a bit-serial unit's elements take one a cycle
};

std::string_view unit_kind_name(UnitKind kind);
UnitKind parse_unit_kind(std::string_view text);  // throws Error

enum class Timing : uint8_t {
  combinational,
  pipelined,  // registers before and after, and between multiplier, alignment, addition
};

// One Verilog file whose top module is `unit`: inputs x (of terms, which of the lists w's group has
// taken; of requantise the sum) and w (unused by convert and round; of requantise m, e above it,
// and of unsigned integers the code of zero above that) of all lanes, the first lane lowest, and,
// for a step and a dot, sum; the output is out; of a pipelined one clock, with a new operation
// every cycle. Codes are Format's, of integers two's complement.
class HardwareUnit {
 public:
  // Throws Error for an arithmetic that no circuit here computes: operands without sign, mantissa
  // or exponent, but for powers of two, lists of at most 2^8 numbers (a table turns their codes,
  // below the number of the list that the group has taken, into numbers) and integers (of two of
  // them products that are not exact alone; with a zero point they are a bit wider, codes less it);
  // roundings other than rne and rtz, chunked sums, multipliers that are neither exact, nor sums of
  // patterns, nor L-Mul's formula; a raw unit of what is no bare addition; a dot of what is not
  // aligned; a fixed-point sum beyond 64 bits. Scales are left to what surrounds the unit. Example:
  //   HardwareUnit(parse_arithmetic("lmul-m4"), UnitKind::step).verilog()
  HardwareUnit(const Arithmetic& arithmetic, UnitKind kind, Timing timing = Timing::combinational);

  // Integers of 2 to 16 bits, one of the two unsigned at most: wide, step, dot (16 lanes), add, and
  // convert and requantise (into x's format, to nearest even, saturated; of an unsigned one w has
  // the code that stands for zero) there are; sums have 32 bits and wrap.
  static HardwareUnit integer(const Format& x, const Format& w, UnitKind kind,
                              Timing timing = Timing::combinational);

  const std::string& name() const { return name_; }  // of arithmetic and kind, a Verilog word
  UnitKind kind() const { return kind_; }
  bool is_integer() const { return is_integer_; }
  // What is computed, to the last bit (not for raw units; of integers the formats alone). A step's
  // products are not rounded: L-Mul's, which are f32 by default, are here in the wide format.
  const Arithmetic& arithmetic() const { return arithmetic_; }
  const std::string& verilog() const { return verilog_; }
  int lanes() const { return lanes_; }    // products at a time
  int x_bits() const { return x_bits_; }  // of a lane
  int w_bits() const { return w_bits_; }
  // Ranks of registers from input to output; 0: none, and no clock.
  int latency() const { return latency_; }
  int sum_bits() const { return sum_bits_; }  // 0 where there is no sum
  int out_bits() const { return out_bits_; }

  // By the C++ arithmetic. Codes in, by lane, code out.
  uint64_t evaluate(std::span<const uint64_t> x, std::span<const uint64_t> w, uint64_t sum) const;
  // Of one lane.
  uint64_t evaluate(uint64_t x, uint64_t w, uint64_t sum) const {
    return evaluate(std::span(&x, 1), std::span(&w, 1), sum);
  }

 private:
  HardwareUnit() = default;
  void build();
  void build_raw(const ProductForm& form);
  void build_add();
  void build_convert();
  void build_round(int bits);
  void build_terms();
  uint64_t terms_of(uint64_t list, uint64_t code) const;
  uint64_t evaluate_integer(std::span<const uint64_t> x, std::span<const uint64_t> w,
                            uint64_t sum) const;
  uint64_t add_fixed(uint64_t sum, const Dyadic& product) const;

  // Pieces of Verilog.
  std::string module(const std::string& body);
  std::string held(const std::string& name, int bits);
  std::string held_number(const std::string& name, int mantissa, int width);

  std::string name_;
  UnitKind kind_ = UnitKind::wide;
  Arithmetic arithmetic_;
  std::string verilog_;
  Cast out_;
  Timing timing_ = Timing::combinational;
  bool is_integer_ = false;
  int terms_ = 0;      // of a number
  int fixed_low_ = 0;  // a fixed-point sum is in units of 2^fixed_low_
  uint64_t raw_offset_ = 0;
  int lanes_ = 1;
  int x_bits_ = 0;
  int w_bits_ = 0;
  int sum_bits_ = 0;
  int out_bits_ = 0;
  int latency_ = 0;
};

// m and e of a number, and the code of zero, as a requantise takes them for w. An e beyond what it
// holds is the nearest that it does: the integers, at most 16 bits of them, come out the same.
uint64_t requantise_code(const DyadicNumber& number, uint64_t zero = 0);

// "int8", "uint8*int4" and "int16s" (-32767 to 32767) are integer units, all else an arithmetic.
HardwareUnit make_unit(std::string_view arithmetic, UnitKind kind,
                       Timing timing = Timing::combinational);

}  // namespace napier
