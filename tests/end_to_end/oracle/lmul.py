"""L-Mul as its paper writes it (arXiv 2410.00907), in NumPy, one product after the other.

    x = (1 + xm) 2^xe, y = (1 + ym) 2^ye, mantissas cut to k bits; s = xm + ym + 2^-l(k)
    formula reading (Eq. 1)    2^(xe+ye) (1 + s)
    adder reading (Fig. 2)     2^(xe+ye) max(1 + s, 2 s, 4 (s - 1)): carries of the patterns'
                               sum run into the exponent

Zero times anything is zero; products are rounded to f32. Shares no code with Napier.
"""
from dataclasses import dataclass

import numpy as np

F32_MAX = float(np.finfo(np.float32).max)


def truncate(values, kept):
    """f32 values with all but the first `kept` of their 23 mantissa bits cleared."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return (bits & np.uint32((0xFFFFFFFF << (23 - kept)) & 0xFFFFFFFF)).view(np.float32)


def split(values):
    """(+-2^e, m) of values +-(1 + m) 2^e as f64; (0, 0) of zeros. Subnormals are normalised."""
    half, exponent = np.frexp(values.astype(np.float64))  # half in [0.5, 1)
    power = np.where(half == 0, 0.0, np.copysign(np.ldexp(1.0, exponent - 1), half))
    return power, np.where(half == 0, 0.0, 2 * np.abs(half) - 1)


def paper_offset(kept):
    """2^-l(k): l = k up to 3, 3 for 4, 4 above."""
    return 2.0 ** -(kept if kept <= 3 else 3 if kept == 4 else 4)


@dataclass(frozen=True)
class LMul:
    kept: int
    reading: str = "adder"

    def products(self, x, w):
        """Products of f32 arrays, elementwise with broadcasting, as f32."""
        return self._products(*split(truncate(x, self.kept)), *split(truncate(w, self.kept)))

    def _products(self, x_power, x_mantissa, w_power, w_mantissa):
        s = x_mantissa + w_mantissa
        s += paper_offset(self.kept)
        factor = 1 + s
        if self.reading == "adder":
            np.maximum(factor, 2 * s, out=factor)
            if 2 * (1 - 2.0**-self.kept) + paper_offset(self.kept) > 2:
                np.maximum(factor, 4 * (s - 1), out=factor)
        factor *= x_power
        factor *= w_power
        if factor.dtype == np.float64:
            factor = np.clip(factor, -F32_MAX, F32_MAX, out=factor).astype(np.float32)
        return factor

    def matmul(self, x, w, sums="f64"):
        """out[..., m, n] = sum over k of x[..., m, k] (*) w[..., n, k].

        `sums`: "f64" (rounded to f32 once, at the end), "f32" (in order of k) or "f32 reversed".
        """
        x, w = split(truncate(x, self.kept)), split(truncate(w, self.kept))
        if is_middling(x[0]) and is_middling(w[0]):  # f32 is as exact as f64 there, and faster
            x, w = ([a.astype(np.float32) for a in operand] for operand in (x, w))
        xp, xm = (k_first(a)[..., :, None] for a in x)
        wp, wm = (k_first(a)[..., None, :] for a in w)
        return summed(lambda k: self._products(xp[k], xm[k], wp[k], wm[k]), len(xp), sums)


def is_middling(powers):
    """Whether products of two such powers of two, or zeros, stay far from the ends of f32."""
    size = np.abs(powers[powers != 0])
    return size.size == 0 or (size.min() >= 2.0**-60 and size.max() <= 2.0**60)


def k_first(a):
    """The last axis first: a step of the sum is then one outer product of neighbouring numbers."""
    return np.ascontiguousarray(np.moveaxis(a, -1, 0))


def summed(term, count, sums):
    """The sum of term(k) for k < count, as f32."""
    total = np.float64(0)
    for k in reversed(range(count)) if sums == "f32 reversed" else range(count):
        total = total + term(k)
        if sums != "f64":
            total = total.astype(np.float32)
    return total.astype(np.float32)


def exact_matmul(x, w, sums="f64"):
    """The ordinary product of f32 matrices. `sums` as above; a product is not rounded by itself."""
    x, w = np.asarray(x, np.float64), np.asarray(w, np.float64)
    if sums == "f64":
        return np.matmul(x, np.swapaxes(w, -1, -2)).astype(np.float32)
    x, w = k_first(x)[..., :, None], k_first(w)[..., None, :]
    return summed(lambda k: x[k] * w[k], len(x), sums)
