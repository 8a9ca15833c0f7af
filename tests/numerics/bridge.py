"""bridge.cpp, over NumPy arrays. Numbers come back exactly: nothing is rounded on the way."""
import ctypes
import os
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

SPECIALS = ["ieee", "fn", "fnuz", "none", "p3109"]
CODINGS = ["floating", "integer", "symmetric", "listed"]
SUBNORMALS = ["keep", "ftz", "literal"]
ZERO, FINITE, INFINITE, NAN = range(4)


class _Numbers(ctypes.Structure):
    _fields_ = [("kind", ctypes.c_void_p), ("negative", ctypes.c_void_p),
                ("exponent", ctypes.c_void_p), ("significand", ctypes.c_void_p)]


@dataclass
class Numbers:
    """Exact numbers: (-1)^negative * significand * 2^(exponent - 63), or a special kind."""
    kind: np.ndarray
    negative: np.ndarray
    exponent: np.ndarray
    significand: np.ndarray

    @classmethod
    def empty(cls, n):
        return cls(*(np.zeros(n, t) for t in (np.int32, np.int32, np.int32, np.uint64)))

    def _struct(self):
        return _Numbers(*(a.ctypes.data for a in
                          (self.kind, self.negative, self.exponent, self.significand)))

    def doubles(self):
        """As float64; fails where that would round."""
        low = self.significand & np.uint64(2**11 - 1)
        assert not low[self.kind == FINITE].any(), "more than 53 significant bits"
        with np.errstate(over="ignore", under="ignore"):
            magnitude = np.ldexp(self.significand.astype(np.float64), self.exponent - 63)
            back = np.ldexp(np.frexp(magnitude)[0], 64)
        finite = self.kind == FINITE
        assert (back[finite] == self.significand.astype(np.float64)[finite]).all(), "out of range"
        magnitude = np.select([self.kind == ZERO, finite, self.kind == INFINITE],
                              [0.0, magnitude, np.inf], np.nan)
        return np.where(self.negative != 0, -magnitude, magnitude)

    def fits_double(self):
        """Where doubles() would be exact, for wide formats."""
        last = self.significand & (~self.significand + np.uint64(1))  # lowest set bit
        lowest = self.exponent - 63 + np.log2(np.maximum(last, 1).astype(np.float64))
        return (self.kind != FINITE) | ((self.exponent <= 1023) & (lowest >= -1074))

    def __getitem__(self, where):
        return Numbers(self.kind[where], self.negative[where], self.exponent[where],
                       self.significand[where])

    def exact(self, i):
        """(value, is negative): a Fraction, or "inf" or "nan"."""
        kind, negative = int(self.kind[i]), bool(self.negative[i])
        if kind == NAN:
            return "nan", False
        if kind == INFINITE:
            return "inf", negative
        if kind == ZERO:
            return Fraction(0), negative
        power = int(self.exponent[i]) - 63
        value = Fraction(int(self.significand[i])) * Fraction(2) ** power
        return (-value if negative else value), negative


class Bridge:
    def __init__(self, path):
        self.library = ctypes.CDLL(str(path))
        for name in ("error", "formats", "presets", "multipliers", "roundings"):
            getattr(self.library, "bridge_" + name).restype = ctypes.c_char_p

    def _call(self, name, *arguments):
        if getattr(self.library, "bridge_" + name)(*arguments) != 0:
            raise ValueError(self.library.bridge_error().decode())

    def _table(self, name):
        text = getattr(self.library, "bridge_" + name)().decode()
        return [line.split("\t") for line in text.splitlines()]

    def formats(self, coding="floating"):
        """{name: aliases} of the registry."""
        return {name: aliases.split() for name, aliases, kind in self._table("formats")
                if CODINGS[int(kind)] == coding}

    def presets(self):
        return dict(self._table("presets"))

    def multipliers(self):
        """{family: {parameter: the values it may have}}."""
        families = {}
        for name, *parameters in self._table("multipliers"):
            families[name] = {}
            for parameter in parameters:
                key, *rest = parameter.split(":")
                families[name][key] = (rest[0].split("|") if len(rest) == 1 else
                                       [str(v) for v in range(int(rest[0]), int(rest[1]) + 1)])
        return families

    def roundings(self):
        return [line[0] for line in self._table("roundings")]

    def format(self, text):
        """The layout of a format: an oracle.Format's fields, and the limits computed from it."""
        fields = (ctypes.c_int64 * 9)()
        self._call("format", text.encode(), fields)
        e, m, bias, specials, subnormals, signed, *limits = fields
        return (e, m, bias, SPECIALS[specials], bool(subnormals), bool(signed)), limits

    def decode(self, text, codes, subnormals="keep"):
        codes = np.ascontiguousarray(codes, np.uint64)
        out = Numbers.empty(codes.size)
        self._call("decode", text.encode(), SUBNORMALS.index(subnormals),
                   ctypes.c_void_p(codes.ctypes.data), ctypes.c_int64(codes.size), out._struct())
        return out

    def encode(self, text, values, rounding="rne", overflow="sat", random=None):
        values = np.ascontiguousarray(values, np.float64)
        codes = np.zeros(values.size, np.uint64)
        if random is not None:
            random = np.ascontiguousarray(np.broadcast_to(random, values.shape), np.uint32)
        self._call("encode", text.encode(), rounding.encode(), int(overflow == "inf"),
                   ctypes.c_void_p(random.ctypes.data if random is not None else None),
                   ctypes.c_void_p(values.ctypes.data), ctypes.c_int64(values.size),
                   ctypes.c_void_p(codes.ctypes.data))
        return codes

    def _pair(self, name, text, dtype, x, w):
        x, w = (np.ascontiguousarray(a, dtype) for a in np.broadcast_arrays(x, w))
        out = Numbers.empty(x.size)
        self._call(name, text.encode(), ctypes.c_void_p(x.ctypes.data),
                   ctypes.c_void_p(w.ctypes.data), ctypes.c_int64(x.size), out._struct())
        return out

    def multiply(self, arithmetic, x_codes, w_codes):
        return self._pair("multiply", arithmetic, np.uint64, x_codes, w_codes)

    def accumulate(self, arithmetic, sums, terms):
        return self._pair("accumulate", arithmetic, np.float64, sums, terms)

    def quantise(self, arithmetic, operand, values):
        values = np.ascontiguousarray(values, np.float64)
        out = Numbers.empty(values.size)
        self._call("quantise", arithmetic.encode(), int(operand == "w"),
                   ctypes.c_void_p(values.ctypes.data), ctypes.c_int64(values.size), out._struct())
        return out

    def scale(self, operand, values):
        """(scales, zero points, lists, numbers) of a matrix as an operand makes it."""
        values = np.ascontiguousarray(values, np.float32)
        rows, k = values.shape
        scales = np.zeros(values.shape, np.float32)
        zeros, lists = (np.zeros(values.shape, np.int32) for _ in range(2))
        out = Numbers.empty(values.size)
        self._call("scale", f"x={operand}".encode(), 0, ctypes.c_void_p(values.ctypes.data),
                   ctypes.c_int64(rows), ctypes.c_int64(k), ctypes.c_void_p(scales.ctypes.data),
                   ctypes.c_void_p(zeros.ctypes.data), ctypes.c_void_p(lists.ctypes.data),
                   out._struct())
        return scales, zeros, lists, out.doubles().reshape(values.shape)

    def choose_scale(self, text, absmax, element_max):
        absmax = np.ascontiguousarray(absmax, np.float64)
        out = Numbers.empty(absmax.size)
        self._call("choose_scale", text.encode(), ctypes.c_void_p(absmax.ctypes.data),
                   ctypes.c_double(element_max), ctypes.c_int64(absmax.size), out._struct())
        return out

    def form(self, arithmetic):
        """(kind, kept mantissa bits, offset) of ProductForm."""
        out = (ctypes.c_double * 3)()
        self._call("form", arithmetic.encode(), out)
        kinds = ["exact", "pattern_add", "bilinear", "other"]
        return kinds[int(out[0])], int(out[1]), Fraction(out[2])

    def glob_matches(self, pattern, name):
        return bool(self.library.bridge_glob_matches(pattern.encode(), name.encode()))


def load():
    """The bridge of the build under test; skips where it is built with sanitizers."""
    root = Path(__file__).resolve().parents[2]
    build = Path(os.environ.get("NAPIER_BUILD_DIR", root / "build"))
    cache = (build / "CMakeCache.txt").read_text()
    if any(line.startswith("NAPIER_SANITIZE:") and line.split("=", 1)[1]
           for line in cache.splitlines()):
        pytest.skip("SKIPPED: Python cannot load a library built with sanitizers",
                    allow_module_level=True)
    return Bridge(build / "tests" / "napier_numerics_bridge.so")
