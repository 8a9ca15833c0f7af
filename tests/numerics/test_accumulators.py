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


def splitmix64(z):
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) % 2**64
    return z ^ (z >> 31)


@pytest.mark.parametrize("name", ["bf16", "e4m3fn", "f16", "int12"])
@pytest.mark.parametrize("seed_of_sums", [0, 7])
def test_stochastic(name, seed_of_sums, seed):
    """Every sum, exactly: up where the 32 bits that its seed, step and value give are below its
    distance from the lower neighbour. What the bits are is stated in rounding.hpp and operand.hpp:
    the value is its significand, 64 bits from the first one on, xor twice its exponent, xor its
    sign."""
    random = np.random.default_rng(seed)
    whole = name.startswith("int")
    f = None if whole else oracle.Format(*BRIDGE.format(name)[0])
    for kind in ("normal", "integers"):
        terms = products(random, kind, 60) / (64 if whole else 1)
        total, moved = Fraction(0), 0
        for step, term in enumerate(terms.tolist()):
            exact = total + Fraction(term)
            if exact == 0:
                total = exact
                continue
            magnitude = abs(exact)
            exponent = oracle.floor_log2(magnitude)
            significand = magnitude * Fraction(2) ** (63 - exponent)
            assert significand.denominator == 1
            value = int(significand) ^ ((exponent << 1) % 2**64) ^ int(exact < 0)
            key = ((seed_of_sums << 32) + 0x9E3779B97F4A7C15) % 2**64
            bits = splitmix64(splitmix64(splitmix64(key) ^ step) ^ value) >> 32
            if whole:
                low, gap, largest = magnitude // 1, 1, 2047 + (exact < 0)
            else:
                low = abs(f.round_exact(magnitude, False, "rtz", "sat")[0])
                above = f.round_exact(magnitude, False, "rup", "sat")[0]
                gap, largest = above - low, f.exact(f.max_code)
            if low != magnitude and low < largest:
                up = bits < int((magnitude - low) / gap * 2**32)
                moved += up
                low += gap * up
            total = min(low, largest) * (-1 if exact < 0 else 1)
        tail = f":sr({seed_of_sums})" if seed_of_sums else ":sr"
        assert BRIDGE.sum(f"{name}{tail}:sat", terms).exact(0)[0] == total
        assert moved > 0 or whole


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


def shared_exponent(values):
    """DFP-16's exponent of exact values, and their int16 mantissas: half-even, the least exponent
    under which the largest magnitude is at most 32767. All in integers."""
    largest = max(map(abs, values))
    exponent = oracle.floor_log2(largest) - 14
    if largest > 32767 * Fraction(2) ** exponent:
        exponent += 1
    mantissas = []
    for value in values:
        quotient = value / Fraction(2) ** exponent
        mantissas.append(min(max(round(quotient), -32767), 32767))  # Python rounds ties to even
    return exponent, mantissas


@pytest.mark.parametrize("spread", [0, 6, 20])
def test_dynamic_fixed_point_algebra(spread, seed):
    """DFP-16's steps in big integers: tensors to mantissas and one exponent; products i = ia ib, E
    = Ea + Eb; pairs of products in int32, added up in f32; the sums down to int16 again by their
    leading zeros, Rs = P - LZC, E + Rs."""
    random = np.random.default_rng(seed)
    n, k = 24, 96
    a, b = (random.standard_normal((rows, k)).astype(np.float32)
            * np.exp2(random.integers(-spread, spread + 1, (rows, k))).astype(np.float32)
            for rows in (1, n))
    mantissas, exponents = [], []
    for data in (a, b):
        scales, _, _, numbers = BRIDGE.scale("int16s@tensor(e8m0:rup)", data)
        exponent, expected = shared_exponent([Fraction(v) for v in data.ravel().tolist()])
        assert [int(v) for v in numbers.ravel()] == expected
        assert (scales == np.ldexp(np.float32(1), exponent)).all()
        mantissas.append(np.array(expected, object).reshape(data.shape))
        exponents.append(exponent)
    sums = []
    for row in range(n):
        terms = mantissas[0][0] * mantissas[1][row]
        total = Fraction(0)
        for i in range(0, k, 2):
            pair = int(terms[i] + terms[i + 1])
            assert abs(pair) < 2**31
            total = rounded(F32, total + pair, total + pair < 0)
        ours = BRIDGE.sum("int32(chunk=2,outer=f32)", terms.astype(np.float64)).exact(0)[0]
        assert ours == total
        assert total.denominator == 1
        sums.append(int(total))
    # Down again: f32 holds the sums, so they are what the next tensor is made of.
    down = np.array([[float(v * Fraction(2) ** sum(exponents)) for v in sums]], np.float32)
    scales, _, _, numbers = BRIDGE.scale("int16s@tensor(e8m0:rup)", down)
    shift = max(map(abs, sums)).bit_length() - 15
    assert shift > 0
    shift += max(map(abs, sums)) > 32767 << shift
    shorter = [(v + (1 << (shift - 1)) - 1 + ((v >> shift) & 1)) >> shift for v in sums]
    assert (scales == np.ldexp(np.float32(1), sum(exponents) + shift)).all()
    assert [int(v) for v in numbers.ravel()] == shorter
