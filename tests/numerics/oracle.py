"""What formats and multipliers mean, in exact arithmetic, written from their definitions
(format.hpp's comment, IEEE 754, arXiv 2410.00907) and sharing no code with what is tested.

Two ways round a number, and test_formats.py holds them against each other: by the list of a
format's values (up to 16 bits, over arrays), and by a Fraction's quotient (any width, one by one).
"""
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache

import gfloat
import numpy as np

ROUNDINGS = ["rne", "rna", "rtz", "rup", "rdn", "rto"]  # but sr, which needs random words


@lru_cache(maxsize=None)
def two_to(power):
    return Fraction(2) ** power


@dataclass(frozen=True)
class Format:
    e: int
    m: int
    bias: int
    specials: str = "ieee"
    subnormals: bool = True
    signed: bool = True

    @property
    def bits(self):
        return self.e + self.m + self.signed

    @property
    def max_code(self):
        """Of the positive numbers: those above are infinity and NaN."""
        every = 2 ** (self.e + self.m) - 1
        return every - {"ieee": 2 ** self.m, "fn": 1, "fnuz": 0, "none": 0,
                        "p3109": 1 if self.signed else 2}[self.specials]

    @property
    def has_zero(self):
        return self.signed or self.subnormals or self.m > 0

    @property
    def has_negative_zero(self):
        return self.signed and self.specials not in ("fnuz", "p3109")

    @property
    def has_nan(self):
        return self.specials in ("fn", "fnuz", "p3109") or (self.specials == "ieee" and self.m > 0)

    @property
    def has_infinity(self):
        return self.specials in ("ieee", "p3109")

    @property
    def nan_replaces_zero(self):
        return self.specials == "fnuz" or (self.specials == "p3109" and self.signed)

    def shape(self):
        """The written shape, all of it spelt out."""
        specials = self.specials
        if specials == "fn" and (self.e, self.m) in {(2, 1), (2, 3), (3, 2)}:
            specials = "fnnan"
        return (f"e{self.e}m{self.m}b{self.bias}{specials}"
                f"{'' if self.subnormals else 'nosub'}{'' if self.signed else 'u'}")

    def magnitude(self, code):
        """The value of a positive code as (integer, power of two); codes above max_code go on as
        if the exponent had one more bit: the scale on which overflow is decided."""
        if code == 0 and self.has_zero:
            return 0, 0
        field, mantissa = divmod(code, 2 ** self.m)
        if self.e == 0:
            return code, 1 - self.bias - self.m
        if field == 0 and self.subnormals:
            return mantissa, 1 - self.bias - self.m
        return 2 ** self.m + mantissa, field - self.bias - self.m

    def exact(self, code):
        integer, power = self.magnitude(code)
        return integer * Fraction(2) ** power

    @cached_property
    def largest(self):
        return self.exact(self.max_code)

    @cached_property
    def smallest(self):
        """Of the positive numbers."""
        return self.exact(1 if self.has_zero else 0)

    @cached_property
    def table(self):
        """The magnitudes of codes 0..max_code as float64, which holds them (inf where not)."""
        assert self.bits <= 17
        codes = np.arange(self.max_code + 1)
        field, mantissa = np.divmod(codes, 2 ** self.m)
        below = (field == 0) & self.subnormals if self.e else np.full(codes.shape, True)
        integer = np.where(below, codes, 2 ** self.m + mantissa)
        power = np.where(below, 1, field) - self.bias - self.m
        if self.has_zero:
            integer[0] = 0
        with np.errstate(over="ignore"):
            return np.ldexp(integer.astype(np.float64), power)

    def decode(self, codes):
        """float64 values of codes, by the table."""
        codes = np.asarray(codes).astype(np.int64)
        magnitude = codes % 2 ** (self.e + self.m)
        negative = codes // 2 ** (self.e + self.m) % 2 == 1
        value = self.table[np.minimum(magnitude, self.max_code)]
        value = np.where(magnitude > self.max_code, np.nan, value)
        if self.has_infinity:
            value = np.where(magnitude == self.max_code + 1, np.inf, value)
        if self.nan_replaces_zero:
            value = np.where(negative & (magnitude == 0), np.nan, value)
        return np.where(negative, -value, value)

    def encode(self, values, rounding, overflow="sat", random=None):
        """Codes by the table: the neighbours of a value, its distance to both, the rule. All
        differences are exact in float64. -1 stands for a NaN where the format has none."""
        values = np.asarray(values, np.float64)
        negative = np.signbit(values) & ~np.isnan(values)
        magnitude = np.abs(np.where(np.isnan(values), 0, values))
        table = self.table
        low = np.searchsorted(table, magnitude, side="right") - 1
        under = low < 0  # below the smallest number of a format without zero
        low = np.maximum(low, 0)
        top_gap = float(self.exact(self.max_code + 1) - self.exact(self.max_code))
        gap = np.append(np.diff(table), top_gap)[low]
        with np.errstate(invalid="ignore"):
            distance = np.where(under | np.isinf(magnitude), 0, magnitude - table[low])
        odd = low % 2 == 1
        beyond = distance >= gap  # at or above the number that would follow the largest
        if rounding == "sr":
            with np.errstate(over="ignore"):
                threshold = np.floor(np.ldexp(distance / gap, 32))
            if not self.subnormals and self.has_zero:  # the one gap that is no power of two
                for i in np.flatnonzero((low == 0) & (distance > 0)):
                    threshold[i] = (Fraction(float(distance[i])) * 2**32
                                    // Fraction(float(gap[i])))
            up = random < threshold
        else:
            up = {"rne": (2 * distance > gap) | ((2 * distance == gap) & odd),
                  "rna": 2 * distance >= gap,
                  "rtz": np.zeros(low.shape, bool),
                  "rup": (distance > 0) & ~negative,
                  "rdn": (distance > 0) & negative,
                  "rto": (distance > 0) & ~odd}[rounding]
        code = low + up
        over = beyond | (code > self.max_code)
        inward = {"rtz": np.full(low.shape, True), "rto": np.full(low.shape, True),
                  "rup": negative, "rdn": ~negative}.get(rounding, np.zeros(low.shape, bool))
        sign_bit = 2 ** (self.e + self.m) if self.signed else 0
        sign = np.where(negative, sign_bit, 0)
        largest = sign + self.max_code
        if self.has_infinity:
            infinite = sign + self.max_code + 1
        else:
            infinite = np.full(low.shape, self.nan_code) if self.has_nan else largest
        if overflow == "sat":
            infinite = largest
        if not self.has_negative_zero and self.has_zero:
            sign = np.where(code == 0, 0, sign)
        result = np.where(over, np.where(inward, largest, infinite), sign + code)
        result = np.where(np.isinf(values), infinite, result)
        outside = np.zeros(low.shape, bool)
        if not self.signed:
            outside |= negative & (values != 0)
        if not self.has_zero:
            outside |= values == 0
        nan = self.nan_code if self.has_nan else -1
        result = np.where(outside, 0 if overflow == "sat" or not self.has_nan else nan, result)
        return np.where(np.isnan(values), nan, result)

    @property
    def nan_code(self):
        if self.nan_replaces_zero:
            return 2 ** (self.e + self.m)
        every = 2 ** (self.e + self.m) - 1
        # IEEE: quiet, the first mantissa bit set, no sign.
        if self.specials in ("fn", "p3109"):
            return every
        return every - 2 ** self.m + 1 + 2 ** (self.m - 1)

    def round_exact(self, value, negative, rounding, overflow="sat"):
        """(number, is negative) that a Fraction becomes, or "inf"/"nan" in place of the number.
        By quotients: the spacing of numbers at a value is 2^(max(floor(log2), least) - m)."""
        if not self.signed and value < 0:
            return ((self.exact(0), False) if overflow == "sat" or not self.has_nan
                    else ("nan", False))
        magnitude = abs(value)
        smallest = self.smallest
        if magnitude == 0:
            return Fraction(0), negative and self.has_negative_zero
        if not self.subnormals and magnitude < smallest:
            if not self.has_zero:
                return smallest, negative
            count, rest, spacing = 0, magnitude / smallest, smallest
            odd = False
        else:
            power = magnitude.numerator.bit_length() - magnitude.denominator.bit_length()
            power -= magnitude < two_to(power)
            if self.subnormals:
                power = max(power, 1 - self.bias)
            if self.e == 0:
                power = 1 - self.bias
            spacing = two_to(power - self.m)
            count, rest = divmod(magnitude / spacing, 1)
            # The code's last bit: of the mantissa, or of the exponent field where there is none.
            odd = bool(count % 2) if self.m else count != 0 and (power + self.bias) % 2 == 1
        up = rest != 0 and {"rne": rest > Fraction(1, 2) or (rest == Fraction(1, 2) and odd),
                            "rna": rest >= Fraction(1, 2), "rtz": False, "rup": value > 0,
                            "rdn": value < 0, "rto": not odd}[rounding]
        result = (count + up) * spacing
        if result > self.largest:
            inward = rounding in ("rtz", "rto") or (rounding == "rup" and value < 0) or (
                rounding == "rdn" and value > 0)
            if overflow == "sat" or inward or not (self.has_nan or self.has_infinity):
                result = self.largest
            elif self.has_infinity:
                return "inf", negative
            else:
                return "nan", False
        if result == 0:
            return Fraction(0), negative and self.has_negative_zero
        return (-result if negative else result), negative

    def gfloat(self):
        """gfloat's description of it."""
        return GfloatFormat(
            self.shape(), k=self.bits, precision=self.m + 1, bias=self.bias,
            is_signed=self.signed,
            domain=gfloat.Domain.Extended if self.has_infinity else gfloat.Domain.Finite,
            has_nz=self.has_negative_zero,
            num_high_nans={"ieee": 2 ** self.m - 1, "fn": 1,
                           "p3109": 0 if self.signed else 1}.get(self.specials, 0),
            has_subnormals=self.subnormals, is_twos_complement=False)


class GfloatFormat(gfloat.FormatInfo):
    """gfloat 0.5.2 takes the largest number for a normal one, which it is not with one exponent
    bit, IEEE's specials and subnormals, and it overflows where a power is beyond float64. Its own
    decoder says which it is."""

    @property
    def max(self):
        return gfloat.decode_float(self, self.code_of_max).fval


# --- multipliers --------------------------------------------------------------------------------

def floor_log2(magnitude):
    power = magnitude.numerator.bit_length() - magnitude.denominator.bit_length()
    return power - (magnitude < two_to(power))


@lru_cache(maxsize=None)
def split(magnitude, kept_bits):
    """(exponent, mantissa in [0, 1) cut to kept_bits) of a positive number."""
    exponent = floor_log2(magnitude)
    mantissa = magnitude / Fraction(2) ** exponent - 1
    return exponent, Fraction(mantissa * 2 ** kept_bits // 1, 2 ** kept_bits)


def paper_offset_bits(k):
    """l(k) of the paper's Eq. 1."""
    if k <= 3:
        return k
    return 3 if k == 4 else 4


def lmul(x, w, k, l, reading):
    """Of two positive numbers. The adder reading: lmul.md's max(1 + s, 2 s, 4 (s - 1)). l = 0 is
    Napier's way to say "no offset"; the paper's l(0) = 0 would be an offset of 1."""
    xe, xm = split(x, k)
    we, wm = split(w, k)
    s = xm + wm + (Fraction(1, 2 ** l) if l else 0)
    value = 1 + s if reading == "formula" else max(1 + s, 2 * s, 4 * (s - 1))
    return value * two_to(xe + we)


def mitchell(x, w, k):
    """log2(1 + m) is about m, so the antilogarithm of the sum of two such logarithms."""
    xe, xm = split(x, k)
    we, wm = split(w, k)
    exponent, mantissa = divmod(xe + we + xm + wm, 1)
    return (1 + mantissa) * two_to(int(exponent))


def of_form(form, x, w):
    """What a ProductForm says a product of two positive numbers is."""
    kind, kept, offset = form
    if kind == "exact":
        return x * w
    xe, xm = split(x, kept)
    we, wm = split(w, kept)
    if kind == "bilinear":
        return (1 + xm + wm + offset) * Fraction(2) ** (xe + we)
    # The patterns as integers with infinitely many mantissa bits: exponent + mantissa.
    exponent, mantissa = divmod(xe + we + xm + wm + offset, 1)
    return (1 + mantissa) * two_to(int(exponent))


def product(multiply, x, w):
    """(number, is negative) of two such, with the edge cases that all multipliers share."""
    (a, a_negative), (b, b_negative) = x, w
    negative = a_negative != b_negative
    if a == "nan" or b == "nan" or {a, b} == {"inf", 0}:
        return "nan", False
    if a == "inf" or b == "inf":
        return "inf", negative
    if a == 0 or b == 0:
        return Fraction(0), negative
    magnitude = multiply(abs(a), abs(b))
    return (-magnitude if negative else magnitude), negative
