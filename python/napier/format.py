"""Number formats: a finite set of values and a code for each."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from napier import _core
from napier._arrays import as_numpy
from napier._core import rounding_names

# The NumPy dtype of a format: the same codes for the same numbers.
_DTYPES: dict[str, np.dtype[Any]] = {
    name: np.dtype(dtype)
    for name, dtype in {
        "f64": np.float64, "f32": np.float32, "f16": np.float16, "bf16": ml_dtypes.bfloat16,
        "e3m4": ml_dtypes.float8_e3m4, "e4m3ieee": ml_dtypes.float8_e4m3,
        "e4m3b11fnuz": ml_dtypes.float8_e4m3b11fnuz, "e4m3fn": ml_dtypes.float8_e4m3fn,
        "e4m3fnuz": ml_dtypes.float8_e4m3fnuz, "e5m2": ml_dtypes.float8_e5m2,
        "e5m2fnuz": ml_dtypes.float8_e5m2fnuz, "e8m0": ml_dtypes.float8_e8m0fnu,
        "e2m3fn": ml_dtypes.float6_e2m3fn, "e3m2fn": ml_dtypes.float6_e3m2fn,
        "e2m1fn": ml_dtypes.float4_e2m1fn, "int2": ml_dtypes.int2, "int4": ml_dtypes.int4,
        "uint2": ml_dtypes.uint2, "uint4": ml_dtypes.uint4, "int8": np.int8, "uint8": np.uint8,
        "int16": np.int16, "uint16": np.uint16, "int32": np.int32, "uint32": np.uint32,
    }.items()
}  # fmt: skip

_LARGEST_INTEGER = 2**53  # float64 holds all integers up to here


class Format(_core.Format):
    """A number format by its name ("e4m3fn", "bf16", "int8", "nf4") or shape ("e8m4", "e2m1fn").

    Raises ParseError for what is neither. Immutable.

        >>> f = napier.Format("e4m3fn")
        >>> f.largest
        448.0
        >>> f.encode([460.0, 0.3])
        array([126,  42], dtype=uint8)
        >>> f.decode(np.uint8([126, 42]))
        array([4.480e+02, 3.125e-01], dtype=float32)
    """

    @property
    def dtype(self) -> np.dtype[Any] | None:
        """The dtype of NumPy or ml_dtypes with the same codes, or None."""
        return _DTYPES.get(self.name)

    @property
    def code_dtype(self) -> np.dtype[Any]:
        """The smallest unsigned integers that hold the codes."""
        size = next(size for size in (1, 2, 4, 8) if self.bits <= 8 * size)
        return np.dtype(f"uint{8 * size}")

    def decode(self, codes: Any) -> NDArray[Any]:
        """The numbers of codes, an array of the same shape: float32 where that holds every number
        of the format, else float64.

        `codes` are integers, or an array of the format's own dtype. Raises TypeError for others,
        Error for a code that the format does not have.
        """
        array = as_numpy(codes, "codes")
        if self.dtype is not None and array.dtype == self.dtype:
            array = _codes_of(array, self)
        if array.size == 0:
            array = array.astype(np.uint64)
        if array.dtype.kind not in "iu":
            raise TypeError(
                f"codes have dtype {array.dtype}: give integers"
                + (f" or an array of {self.dtype}" if self.dtype is not None else "")
            )
        if array.size and array.min() < 0:
            raise _core.Error(f"a code is {array.min()}: codes are not negative")
        out = np.empty(array.shape, np.float64)
        _core.decode(self, np.ascontiguousarray(array, np.uint64).reshape(-1), out.reshape(-1))
        return out.astype(np.float32) if self.fits_float32 else out

    def encode(
        self, values: Any, rounding: str = "rne", saturate: bool = True, seed: int = 0
    ) -> NDArray[Any]:
        """The codes of the numbers that `values` round to, of `code_dtype` and the same shape.

        `rounding` is one of rounding_names(); `seed` and an element's position (in C order) decide
        stochastic rounding, "sr". What is beyond the largest number becomes that, or, with
        saturate=False, infinity (NaN where there is none, the largest where there is neither).
        Raises Error for NaN in a format that has none, TypeError for what float64 does not hold.
        """
        if not isinstance(seed, int) or not 0 <= seed < 2**32:
            raise ValueError(f"seed is {seed!r}: give an integer from 0 to 2**32 - 1")
        if not isinstance(rounding, str):
            raise TypeError(f"rounding is {rounding!r}: give one of {', '.join(rounding_names())}")
        numbers = _as_float64(values)
        codes = np.empty(numbers.size, np.uint64)
        _core.encode(self, numbers.reshape(-1), rounding, bool(saturate), seed, codes)
        return codes.astype(self.code_dtype).reshape(numbers.shape)

    def cast(
        self, values: Any, rounding: str = "rne", saturate: bool = True, seed: int = 0
    ) -> NDArray[Any]:
        """As encode(), but an array of the format's own dtype. Raises TypeError without one."""
        if self.dtype is None:
            raise TypeError(f"NumPy and ml_dtypes have no dtype of {self.name}: take encode()")
        codes = self.encode(values, rounding, saturate, seed)
        return _array_of(codes, self, self.dtype)

    def round(
        self, values: Any, rounding: str = "rne", saturate: bool = True, seed: int = 0
    ) -> NDArray[Any]:
        """The numbers that `values` round to: decode(encode(values))."""
        return self.decode(self.encode(values, rounding, saturate, seed))

    def __repr__(self) -> str:
        return f"napier.Format('{self.name}')"

    def __reduce__(self) -> tuple[type[Format], tuple[str]]:
        return Format, (self.name,)


def _as_float64(values: Any) -> NDArray[np.float64]:
    array = as_numpy(values, "values")
    if array.dtype.kind in "iu" and array.dtype.itemsize == 8 and array.size:
        if max(int(array.max()), -int(array.min())) > _LARGEST_INTEGER:
            raise TypeError("values hold integers beyond 2**53, which float64 does not hold")
    elif array.dtype.kind == "c" or (array.dtype.kind == "f" and array.dtype.itemsize > 8):
        raise TypeError(f"values have dtype {array.dtype}: give real numbers of at most float64")
    elif array.dtype.kind not in "fiubV":
        raise TypeError(f"values have dtype {array.dtype}: give numbers")
    return np.asarray(array, np.float64, order="C")


def _codes_of(array: NDArray[Any], form: Format) -> NDArray[Any]:
    # ml_dtypes keeps a byte for an element; of negative 2- and 4-bit integers all of it is used.
    codes = np.asarray(array, order="C").view(f"uint{8 * array.dtype.itemsize}")
    kept: NDArray[Any] = codes & np.array((1 << form.bits) - 1, codes.dtype)
    return kept


def _array_of(codes: NDArray[Any], form: Format, dtype: np.dtype[Any]) -> NDArray[Any]:
    if dtype.itemsize * 8 == form.bits:
        return codes.view(dtype)
    return form.decode(codes).astype(dtype)  # narrower than a byte: no number is changed
