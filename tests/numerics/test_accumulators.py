"""Every way of summing against exact rationals: plain and chunked sums in floats and integers with
saturation and wrap, exact (Kulisch) sums, aligned sums as tensor cores make them."""
from fractions import Fraction

import bridge as bridge_module
import numpy as np
import oracle
import pytest

BRIDGE = bridge_module.load()
F32 = oracle.Format(8, 23, 127)


def products(random, kind, n):
    normal = random.standard_normal(n) * random.standard_normal(n)
    if kind == "integers":
        return (random.integers(-128, 128, n) * random.integers(-128, 128, n)).astype(float)
    if kind == "wide":
        normal = normal * np.exp2(random.integers(-60, 60, n))
    if kind == "cancelling":
        half = normal[: n // 2].astype(np.float32)
        normal = np.concatenate([half, -half[::-1], [2.0**-40] * (n % 2)])
    # Products of two bf16 numbers have 16 bits.
    mantissa, exponent = np.frexp(normal)
    return np.ldexp(np.rint(mantissa * 2**16) / 2**16, exponent)


CASES = [(kind, n) for kind in ("normal", "wide", "cancelling", "integers")
         for n in (1, 2, 37, 300)]


def rounded(f, value, negative=False, rounding="rne", overflow="sat"):
    number, _ = f.round_exact(Fraction(value), negative, rounding, overflow)
    return number


@pytest.mark.parametrize("kind, n", CASES)
def test_exact(kind, n, seed):
    """The exact sum; one rounding to f32 of what comes back is one rounding of the sum."""
    terms = products(np.random.default_rng(seed), kind, n)
    total = sum(map(Fraction, terms.tolist()))
    ours, _ = BRIDGE.sum("exact", terms).exact(0)
    assert rounded(F32, ours, ours < 0) == rounded(F32, total, total < 0)
    if total.numerator.bit_length() <= 64:
        assert ours == total


def test_exact_where_f32_fails():
    """2^60 + 1 - 2^60, a thousand times, and sums that cross zero at every limb."""
    terms = np.array([2.0**60, 1, -(2.0**60)] * 1000)
    assert BRIDGE.sum("exact", terms).exact(0) == (1000, False)
    for power in range(-500, 500, 7):
        terms = np.array([2.0**power, -(2.0 ** (power - 130)), -(2.0**power)])
        assert BRIDGE.sum("exact", terms).exact(0) == (-Fraction(2) ** (power - 130), True)
    assert BRIDGE.sum("exact", [1.0, np.inf]).exact(0) == ("inf", False)
    assert BRIDGE.sum("exact", [np.inf, 1.0, -np.inf]).exact(0) == ("nan", False)
    assert BRIDGE.sum("exact", [-0.0, 0.0]).exact(0) == (0, False)


@pytest.mark.parametrize("bits", [8, 12, 16, 20, 24, 32])
@pytest.mark.parametrize("overflow", ["sat", "wrap"])
def test_integers(bits, overflow, seed):
    random = np.random.default_rng(seed)
    for n in (1, 5, 300):
        terms = products(random, "integers", n) * np.where(random.random(n) < 0.1, 100, 1)
        low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
        total = 0
        for term in terms:
            total += int(term)
            total = (min(max(total, low), high) if overflow == "sat"
                     else (total - low) % 2**bits + low)
        assert BRIDGE.sum(f"int{bits}:{overflow}", terms).exact(0)[0] == total


@pytest.mark.parametrize("name", ["bf16", "f16", "e4m3fn", "e5m2", "f32"])
@pytest.mark.parametrize("rounding", oracle.ROUNDINGS)
@pytest.mark.parametrize("chunk", [0, 7])
def test_rounded(name, rounding, chunk, seed):
    """After every addition; in chunks from zero, their sums added to a total."""
    f = oracle.Format(*BRIDGE.format(name)[0])
    random = np.random.default_rng(seed)
    tail = f"(chunk={chunk})" if chunk else ""
    for kind in ("normal", "wide"):
        terms = products(random, kind, 40)
        step = lambda a, b: rounded(f, a + b, a + b < 0, rounding)  # noqa: E731
        total = Fraction(0)
        for begin in range(0, 40, chunk or 40):
            part = Fraction(0)
            for term in terms[begin:begin + (chunk or 40)]:
                part = step(part, Fraction(term))
            total = step(total, part) if chunk else part
        assert BRIDGE.sum(f"{name}:{rounding}:sat{tail}", terms).exact(0)[0] == total


def test_stochastic_is_unbiased():
    """Sums of 1/3 ulp steps: the mean over seeds is the exact sum, within five standard errors."""
    terms = np.array([256.0] + [1 / 4] * 64)  # bf16 has steps of 2 there
    exact = 256 + 16
    sums = np.array([float(BRIDGE.sum(f"bf16:sr({s})", terms).exact(0)[0])
                     for s in range(1, 401)])
    assert abs(sums.mean() - exact) < 5 * sums.std() / 20 and sums.std() > 0


@pytest.mark.parametrize("name, rounding, align, extra", [
    ("f32", "rtz", 4, 0), ("f32", "rtz", 8, 2), ("f32", "rne", 16, 1), ("e8m13", "rtz", 32, 0),
    ("bf16", "rne", 5, 3), ("f16", "rup", 3, 0), ("e4m3fn", "rdn", 1, 4)])
@pytest.mark.parametrize("kind, n", CASES)
def test_aligned(name, rounding, align, extra, kind, n, seed):
    """Groups of products and the sum so far, cut to multiples of 2^(e - M - extra)."""
    f = oracle.Format(*BRIDGE.format(name)[0])
    terms = [Fraction(t) for t in products(np.random.default_rng(seed), kind, n).tolist()]
    total = Fraction(0)
    for begin in range(0, n, align):
        group = terms[begin:begin + align] + [total]
        largest = max(map(abs, group))
        if largest:
            quantum = Fraction(2) ** (oracle.floor_log2(largest) - f.m - extra)
            group = [(abs(t) // quantum) * quantum * (-1 if t < 0 else 1) for t in group]
        exact = sum(group)
        total = rounded(f, exact, exact < 0, rounding)
    ours = BRIDGE.sum(f"{name}:{rounding}:sat(align={align},extra={extra})",
                      np.array([float(t) for t in terms]))
    assert ours.exact(0)[0] == total


def test_dynamic_fixed_point(seed):
    """DFP-16 (arXiv 1802.00930): int16 mantissas with one exponent a tensor, chosen so that the
    largest fits; products and their exponents' sum are exact integers."""
    random = np.random.default_rng(seed)
    data = (random.standard_normal((4, 64)) * 2.0 ** random.integers(-20, 20)).astype(np.float32)
    scales, _, _, numbers = BRIDGE.scale("int16s@tensor(e8m0:rup)", data)
    largest = np.abs(data).max()
    exponent = int(np.floor(np.log2(np.float64(largest))))  # 15 bits: 2^14 <= |i| < 2^15
    if largest / 2.0 ** (exponent - 14) > 32767:
        exponent += 1
    assert (scales == 2.0 ** (exponent - 14)).all()
    assert (numbers == np.rint(data.astype(np.float64) / 2.0 ** (exponent - 14))).all()
    integers = [[int(v) for v in row] for row in numbers]
    exact = sum(a * b for a, b in zip(integers[0], integers[1]))
    terms = numbers[0] * numbers[1]
    assert BRIDGE.sum("int48", terms).exact(0)[0] == exact
    pairs = sum(terms[i] + terms[i + 1] for i in range(0, 64, 2))
    assert BRIDGE.sum("int32(chunk=2,outer=f64)", terms).exact(0)[0] == Fraction(pairs)
