// Turning rows of f32 into the numbers that multipliers see, a vector at a time.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "napier/gemm.hpp"
#include "napier/operand.hpp"

namespace napier {

// A Cast in the terms of round_to-inl.h: all are values or powers of two in f64.
struct RoundSpec {
  Rounding rounding = Rounding::nearest_even;
  bool is_common = false;  // signed, with subnormals, to nearest even: nearly all formats
  bool is_fixed = false;   // one gap between all values: no exponent
  bool has_gap = false;    // no subnormals: nothing between zero and `smallest`
  bool is_signed = true;
  bool keeps_negative_zero = true;
  bool sides_differ = false;      // positive and negative numbers overflow differently
  bool infinity_differs = false;  // an infinity does not become what overflows become
  double floor = 0;               // 2^e of the lowest binade with its own gap
  double gap = 0;                 // of neighbours at 2^e: gap * 2^e
  double magic = 0;               // 2^52 * gap
  double smallest = 0;
  double largest = 0;
  double limit = 0;            // what is larger may be taken as this; > largest
  double beyond = 0;           // what a finite magnitude above the largest becomes
  double beyond_negative = 0;  // the same for a negative number, without its sign
  double infinite = 0;         // what an infinity becomes
  double below = 0;            // what a negative number becomes in an unsigned format
};

// Nothing for what round_to() does not do: stochastic rounding, f64, exponents that leave f64's
// middle, and ties by code where codes of the same parity follow each other (no mantissa).
std::optional<RoundSpec> round_spec(const Cast& cast);

// How one operand's elements are computed. The fast ways give the bits of Operand::quantise.
struct Quantiser {
  enum class Way : uint8_t {
    copy,      // f32 kept: infinities saturate or not
    truncate,  // f32 with fewer mantissa bits, toward zero
    nearest,   // the same, to nearest even
    round_to,  // anything round_to() does
    listed,    // a codebook, to nearest
    scalar,    // anything
  };

  explicit Quantiser(const Operand& operand, int kept_bits = 52);

  // Every value and its exponent's neighbourhood is exact in f32.
  bool fits_float() const { return fits_float_; }

  // Writes the elements of `in`, all of one group. `position` is that of in[0] in its row. Exact:
  // for T = float only if fits_float().
  void operator()(const float* in, int64_t count, const Group& group, int64_t position,
                  float* out) const;
  void operator()(const float* in, int64_t count, const Group& group, int64_t position,
                  double* out) const;

  Operand operand;
  Way way = Way::scalar;
  RoundSpec spec;
  uint64_t keep_mask = ~uint64_t{0};  // of an f64 pattern: mantissas cut to the kept bits
  int least_bit = 0;                  // every element is a multiple of 2^least_bit
  double normal_min = 0;              // smallest normal number, 0 where there are no subnormals
  double literal_base = 0;            // the value of a zero code taken as a normal number
  float infinity = 0;                 // what an f32 infinity becomes, for the f32 ways
  double lowest = 0;                  // the format's ends, for numbers with a zero point
  double largest = 0;

 private:
  bool fits_float_ = false;
};

// Whether f32 holds every value of both operands, and why not.
bool fit_float(const Arithmetic& arithmetic);
inline constexpr const char* k_not_in_float =
    "f32 does not hold every value of the operands' formats";

// The smallest and largest magnitude bits of f32 numbers other than zero.
struct MagnitudeRange {
  uint32_t min = 0x7FFFFFFF;
  uint32_t max = 0;
  bool has_zero = false;

  void include(const MagnitudeRange& other) {
    min = other.min < min ? other.min : min;
    max = other.max > max ? other.max : max;
    has_zero = has_zero || other.has_zero;
  }
  bool is_empty() const { return max == 0; }
  // No subnormal, infinity or NaN.
  bool is_normal() const { return is_empty() || (min >= 0x00800000 && max < 0x7F800000); }
  int min_exponent() const { return is_empty() ? 0 : static_cast<int>(min >> 23) - 127; }
  int max_exponent() const { return is_empty() ? 0 : static_cast<int>(max >> 23) - 127; }
};

MagnitudeRange magnitude_range(const float* values, int64_t count);

// What rows of an operand have in common.
struct CommonGroups {
  Group tensor;
  std::vector<Group> columns;  // of each column, where columns have scales
};

// The scales of one operand's rows.
class Scaler {
 public:
  Scaler(const Operand& operand, int64_t k);

  bool is_scaled() const { return !operand_.scaling.empty(); }
  int64_t group() const { return group_; }  // consecutive elements that share all scales
  int64_t groups() const { return group_ == 0 ? 1 : k_ / group_; }

  // What the levels of the whole tensor and of its columns give, `read` as in gemm.hpp. Reads
  // nothing where there is no such level.
  CommonGroups common_groups(int64_t rows, const RowReader& read, ThreadPool& pool) const;
  // What each group of a row has in common.
  void choose(const float* row, const CommonGroups& common, Group* groups) const;

 private:
  Operand operand_;
  int64_t k_;
  int64_t group_;
  bool has_tensor_level_ = false;
  bool has_column_level_ = false;
};

}  // namespace napier
