// A number format: a finite set of values with a code for each.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "napier/codebook.hpp"
#include "napier/dyadic.hpp"
#include "napier/rounding.hpp"

namespace napier {

// How the special values are encoded. `ieee`: the largest exponent field holds infinity and NaNs.
// `fn`: finite values only, but for one NaN at the largest code of each sign (OCP's e4m3).
// `fnuz`: finite values, one NaN in place of -0. `none`: every code is a number (OCP's e2m1).
// `p3109`: a NaN in place of -0 (at the largest code where there is no sign), infinity at the
// largest code of each sign but for that NaN (IEEE P3109's extended formats; its finite ones are
// fnuz and fn).
enum class Specials : uint8_t { ieee, fn, fnuz, none, p3109 };

// How a format's codes stand for its values.
enum class Coding : uint8_t {
  floating,   // sign | exponent field | mantissa field
  integer,    // two's complement, or the plain binary number where there is no sign
  symmetric,  // the same without the number that has no opposite; its code reads as the next
  listed,     // a codebook
};

// A finite set of values and a code for each: a binary floating-point format, an integer, or a list
// of values. Codes of floating formats are sign | exponent field | mantissa field, from the top;
// values are (-1)^sign (1 + mantissa / 2^M) 2^(field - bias), and with subnormals, in field 0,
// (-1)^sign (mantissa / 2^M) 2^(1 - bias). With 0 exponent bits every value is of the latter kind
// (a fixed-point format). Without subnormals field 0 is a normal exponent; code 0 alone is zero,
// unless the format has neither sign nor mantissa (e8m0): that one has no zero at all.
// An integer's layout is that of the fixed-point format with its magnitudes.
//
// Everything is pure and thread safe, and constexpr but for codebooks. Example:
//   constexpr Format e4m3{4, 3, 7, Specials::fn};         // = parse_format("e4m3fn"), a look-up
//   e4m3.decode(0b0'1111'110)                                         // 448
//   e4m3.encode(Dyadic::from_float(460), Rounding::nearest_even, Overflow::saturate)  // 0x7E
struct Format {
  uint8_t exponent_bits = 8;
  uint8_t mantissa_bits = 23;
  int16_t bias = 127;
  Specials specials = Specials::ieee;
  bool has_subnormals = true;
  bool is_signed = true;
  Coding coding = Coding::floating;
  const Codebook* codebook = nullptr;  // where listed

  // An integer of 1 to 62 bits; `symmetric`: -max..max.
  static constexpr Format integer(int bits, bool is_signed, bool symmetric = false) {
    const int magnitude = bits - (is_signed ? 1 : 0);
    return {0,
            static_cast<uint8_t>(magnitude),
            static_cast<int16_t>(1 - magnitude),
            Specials::none,
            true,
            is_signed,
            symmetric ? Coding::symmetric : Coding::integer};
  }
  static Format listed(const Codebook& values) {
    return {
        0,      static_cast<uint8_t>(values.bits()), 0, Specials::none, true, false, Coding::listed,
        &values};
  }

  constexpr bool operator==(const Format&) const = default;

  constexpr bool is_float() const { return coding == Coding::floating; }
  constexpr bool is_integer() const {
    return coding == Coding::integer || coding == Coding::symmetric;
  }
  constexpr bool is_listed() const { return coding == Coding::listed; }
  constexpr int bits() const { return exponent_bits + mantissa_bits + (is_signed ? 1 : 0); }
  constexpr uint64_t code_count() const { return uint64_t{1} << bits(); }  // bits() < 64
  constexpr bool has_zero() const {
    if (is_listed()) return codebook->has_zero();
    return is_signed || has_subnormals || mantissa_bits != 0;
  }
  constexpr bool has_negative_zero() const {
    return is_float() && is_signed && has_zero() && specials != Specials::fnuz &&
           specials != Specials::p3109;
  }
  constexpr bool has_infinity() const {
    return specials == Specials::ieee || specials == Specials::p3109;
  }
  constexpr bool has_nan() const {
    return specials == Specials::ieee ? mantissa_bits > 0 : specials != Specials::none;
  }
  // All numbers are powers of two, as scales may be.
  constexpr bool is_power_of_two() const { return is_float() && mantissa_bits == 0; }

  // The sign bit in a code; 0 in unsigned formats.
  constexpr uint64_t sign_mask() const {
    return is_signed ? uint64_t{1} << (exponent_bits + mantissa_bits) : 0;
  }
  constexpr uint64_t magnitude_mask() const {
    return (uint64_t{1} << (exponent_bits + mantissa_bits)) - 1;
  }
  // Of the largest number.
  constexpr uint64_t max_code() const {
    if (is_listed()) return codebook->max_code();
    switch (specials) {
      case Specials::ieee: return (magnitude_mask() >> mantissa_bits << mantissa_bits) - 1;
      case Specials::fn: return magnitude_mask() - 1;
      case Specials::p3109: return magnitude_mask() - (is_signed ? 1 : 2);
      default: return magnitude_mask();
    }
  }
  constexpr uint64_t min_positive_code() const {
    if (is_listed()) return codebook->min_positive_code();
    return has_zero() ? 1 : 0;
  }
  constexpr uint64_t infinity_code() const { return max_code() + 1; }  // has_infinity() only
  constexpr uint64_t nan_code() const {                                // has_nan() only
    if (specials == Specials::fnuz) return sign_mask();
    if (specials == Specials::fn) return magnitude_mask();
    if (specials == Specials::p3109) return is_signed ? sign_mask() : magnitude_mask();
    return infinity_code() | (uint64_t{1} << (mantissa_bits - 1));
  }

  // Limits, computed from the layout.
  constexpr Dyadic max_finite() const { return decode(max_code()); }
  constexpr Dyadic min_positive() const { return decode(min_positive_code()); }
  constexpr Dyadic lowest() const {
    if (is_listed()) return decode(codebook->lowest_code());
    if (!is_signed) return decode(0);
    return decode(coding == Coding::integer ? sign_mask()
                  : is_integer()            ? sign_mask() + 1
                                            : sign_mask() | max_code());
  }
  // Of the normal numbers. (Where code 0 is a zero and there is no mantissa, field 0 holds none.)
  constexpr int min_exponent() const {
    if (is_listed()) return codebook->min_exponent();
    return has_subnormals ? 1 - bias : min_positive().exponent;
  }
  // Of the largest magnitude: an integer's is its lowest number's.
  constexpr int max_exponent() const {
    if (is_listed()) return codebook->max_exponent();
    return coding == Coding::integer && is_signed ? mantissa_bits : max_finite().exponent;
  }
  // No value has more bits from its first to its last one.
  constexpr int significand_bits() const {
    if (is_listed()) return codebook->significand_bits();
    return mantissa_bits + (is_integer() ? 0 : 1);
  }
  // Every value is a multiple of 2^least_bit().
  constexpr int least_bit() const {
    if (is_listed()) return codebook->least_bit();
    return (has_subnormals ? 1 : 0) - bias - mantissa_bits;
  }

  // The value of a code. Bits above bits() are ignored. `literal` takes a subnormal's bits as a
  // normal number's, see Subnormals.
  constexpr Dyadic decode(uint64_t code, Subnormals subnormals = Subnormals::keep) const {
    if (is_listed()) return codebook->decode(code);
    if (is_integer()) return decode_integer(code);
    const bool negative = (code & sign_mask()) != 0;
    const uint64_t magnitude = code & magnitude_mask();
    if (negative && magnitude == 0 && has_nan() && nan_code() == sign_mask()) return Dyadic::nan();
    if (magnitude > max_code()) {
      return has_infinity() && magnitude == infinity_code() ? Dyadic::infinity(negative)
                                                            : Dyadic::nan();
    }
    if (magnitude == 0 && has_zero()) return Dyadic::zero(negative);
    const int field = static_cast<int>(magnitude >> mantissa_bits);
    const uint64_t implicit = uint64_t{1} << mantissa_bits;
    const uint64_t mantissa = magnitude & (implicit - 1);
    if (has_subnormals && (field == 0 || exponent_bits == 0)) {
      if (subnormals == Subnormals::flush) return Dyadic::zero(negative);
      if (subnormals == Subnormals::keep || exponent_bits == 0) {
        return Dyadic::make(negative, magnitude, 1 - bias - mantissa_bits);
      }
    }
    return Dyadic::make(negative, implicit | mantissa, field - bias - mantissa_bits);
  }

  // The code of the number that `value` rounds to. NaN gives the NaN's code (without a sign), or
  // that of the smallest code where the format has no NaN: test has_nan(), or use round(). In
  // formats without a negative zero -0 becomes 0; in unsigned ones a negative number, and in
  // formats without zero a zero, is out of range: the smallest code under `saturate`, NaN under
  // `infinity`.
  constexpr uint64_t encode(const Dyadic& value, Rounding rounding, Overflow overflow,
                            uint32_t random = 0) const {
    const uint64_t nan = has_nan() ? nan_code() : 0;
    if (is_listed()) return value.is_nan() ? 0 : codebook->encode(value, rounding, random);
    if (is_integer()) return encode_integer(value, rounding, overflow, random);
    if (value.is_nan()) return nan;
    if (value.negative && !is_signed && !value.is_zero()) {
      return overflow == Overflow::infinity ? nan : 0;
    }
    if (value.is_zero()) {
      if (!has_zero()) return overflow == Overflow::infinity ? nan : 0;
      return value.negative && has_negative_zero() ? sign_mask() : 0;
    }
    const uint64_t sign = value.negative ? sign_mask() : 0;
    if (value.is_infinite()) return overflowed(sign, false, overflow);

    uint64_t code = 0;
    uint64_t fraction = 0;
    truncate(value, code, fraction);
    if (code <= max_code() &&
        rounds_up(rounding, value.negative, (code & 1) != 0, fraction, random)) {
      ++code;
    }
    if (code > max_code()) {
      // IEEE 754-2019 7.4: roundings away from infinity stop at the largest finite number.
      const bool inward = rounding == Rounding::toward_zero || rounding == Rounding::to_odd ||
                          (rounding == Rounding::up && value.negative) ||
                          (rounding == Rounding::down && !value.negative);
      return overflowed(sign, inward, overflow);
    }
    if (code == 0 && has_zero() && !has_negative_zero()) return 0;
    return sign | code;
  }

  // The value that `value` rounds to; as decode(encode(value)), but NaN stays NaN in every format.
  constexpr Dyadic round(const Dyadic& value, Rounding rounding, Overflow overflow,
                         uint32_t random = 0) const {
    if (value.is_nan()) return value;
    return decode(encode(value, rounding, overflow, random));
  }

 private:
  constexpr Dyadic decode_integer(uint64_t code) const {
    const bool negative = (code & sign_mask()) != 0;
    const uint64_t positive = code & magnitude_mask();
    if (!negative) return Dyadic::make(false, positive, 0);
    const uint64_t magnitude = sign_mask() - positive;
    return Dyadic::make(true, magnitude == sign_mask() ? -integer_lowest() : magnitude, 0);
  }

  // As a two's complement number of 64 bits.
  constexpr uint64_t integer_lowest() const {
    return !is_signed ? 0 : ~uint64_t{0} - magnitude_mask() + (coding == Coding::symmetric ? 1 : 0);
  }

  constexpr uint64_t encode_integer(const Dyadic& value, Rounding rounding, Overflow overflow,
                                    uint32_t random) const {
    if (value.is_nan() || value.is_zero()) return 0;
    const uint64_t all = sign_mask() | magnitude_mask();
    const uint64_t limit = value.negative ? -integer_lowest() : max_code();
    if (value.is_infinite()) return (value.negative ? -limit : limit) & all;
    // magnitude = integer + fraction, the integer modulo 2^64 where it is larger.
    const int drop = 63 - value.exponent;
    uint64_t integer = 0;
    uint64_t fraction = 0;
    if (drop <= 0) {
      integer = drop <= -64 ? 0 : value.significand << -drop;
    } else if (drop < 64) {
      integer = value.significand >> drop;
      fraction = value.significand << (64 - drop);
    } else if (drop == 64) {
      fraction = value.significand;
    } else {
      fraction = drop >= 128 ? 1
                             : (value.significand >> (drop - 64)) |
                                   (value.significand << (128 - drop) != 0 ? 1 : 0);
    }
    if (rounds_up(rounding, value.negative, (integer & 1) != 0, fraction, random)) ++integer;
    if (overflow != Overflow::wrap && (value.exponent >= 63 || integer > limit)) integer = limit;
    return (value.negative ? -integer : integer) & all;
  }

  constexpr uint64_t overflowed(uint64_t sign, bool inward, Overflow overflow) const {
    if (inward || overflow != Overflow::infinity) return sign | max_code();
    if (has_infinity()) return sign | infinity_code();
    return has_nan() ? nan_code() : sign | max_code();
  }

  // Splits |value| into the code below it and its distance to the next one (see rounds_up).
  constexpr void truncate(const Dyadic& value, uint64_t& code, uint64_t& fraction) const {
    const Dyadic smallest = min_positive();
    if (!has_subnormals && compare_magnitude(value, smallest) < 0) {
      // Between zero (if there is one) and the smallest normal number.
      code = 0;
      fraction = 0;
      if (!has_zero()) return;
      // fraction = value / smallest as a 64-bit fraction; both significands have bit 63 set.
      const int shift = smallest.exponent - value.exponent;  // >= 0
      if (shift > 64) {
        fraction = 1;
        return;
      }
      const uint128 numerator = uint128{value.significand} << (64 - shift);
      fraction = static_cast<uint64_t>(numerator / smallest.significand);
      if (numerator % smallest.significand != 0) fraction |= 1;
      return;
    }
    const bool fixed = has_subnormals && (exponent_bits == 0 || value.exponent < 1 - bias);
    const int quantum = (fixed ? 1 - bias : value.exponent) - mantissa_bits;
    // value = significand * 2^(exponent - 63); integer part in units of 2^quantum.
    const int drop = 63 - (value.exponent - quantum);
    uint64_t integer = 0;
    if (drop <= 0) {
      // Only a fixed-point format sees so large a value: it is beyond every code.
      code = magnitude_mask() + 1;
      fraction = 0;
      return;
    }
    if (drop >= 128) {
      fraction = 1;
    } else if (drop > 64) {
      const uint64_t lost = value.significand & ((uint64_t{1} << (drop - 64)) - 1);
      fraction = (value.significand >> (drop - 64)) | (lost != 0 ? 1 : 0);
    } else if (drop == 64) {
      fraction = value.significand;
    } else {
      integer = value.significand >> drop;
      fraction = value.significand << (64 - drop);
    }
    if (fixed) {
      code = integer > magnitude_mask() ? magnitude_mask() + 1 : integer;
      return;
    }
    const int64_t field = int64_t{value.exponent} + bias;
    if (field >= int64_t{1} << exponent_bits) {
      code = magnitude_mask() + 1;
      fraction = 0;
      return;
    }
    code = (static_cast<uint64_t>(field) << mantissa_bits) +
           (integer - (uint64_t{1} << mantissa_bits));
  }
};

inline constexpr Format k_f64{11, 52, 1023, Specials::ieee, true, true};
inline constexpr Format k_f32{8, 23, 127, Specials::ieee, true, true};
inline constexpr Format k_f16{5, 10, 15, Specials::ieee, true, true};
inline constexpr Format k_bf16{8, 7, 127, Specials::ieee, true, true};

constexpr float to_float(const Dyadic& value) {
  const uint64_t code = k_f32.encode(value, Rounding::nearest_even, Overflow::infinity);
  return std::bit_cast<float>(static_cast<uint32_t>(code));
}

constexpr double to_double(const Dyadic& value) {
  return std::bit_cast<double>(k_f64.encode(value, Rounding::nearest_even, Overflow::infinity));
}

// A format that the field has a name for. `aliases` are other spellings that are accepted, parted
// by spaces.
struct NamedFormat {
  std::string_view name;
  Format format;
  std::string_view aliases;
  std::string_view summary;
};

// The registry of formats: one line each, in src/numerics/formats.cpp.
std::span<const NamedFormat> named_formats();

// Reads a name of the registry or a shape: e<E>m<M>[b<bias>][ieee|fn|fnuz|none|fnnan][nosub][u],
// with E 0..11 and M 0..23, or int<b>, int<b>s (symmetric: -max..max), uint<b> with b up to 62. A
// bare shape has IEEE's bias and specials (no specials where E is 0).
// `fn` is ml_dtypes' suffix: in OCP's 4- and 6-bit shapes it means no specials at all, and the NaN
// variant of these is spelt `fnnan`. Throws ParseError.
Format parse_format(std::string_view text);

// The canonical spelling: parse_format(format_name(f)) == f.
std::string format_name(const Format& format);

// IEEE's bias of a shape: 2^(E-1) - 1; 0 where E is 0; one more for fnuz, as ml_dtypes has it, and
// for P3109.
constexpr int default_bias(int exponent_bits, Specials specials) {
  const int bias = exponent_bits == 0 ? 0 : (1 << (exponent_bits - 1)) - 1;
  return specials == Specials::fnuz || specials == Specials::p3109 ? bias + 1 : bias;
}

}  // namespace napier
