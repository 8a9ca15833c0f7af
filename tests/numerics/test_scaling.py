"""choose_scale against the rules as they are written: OCP MX 1.0 section 6.3, and absmax."""
import math
from fractions import Fraction

import bridge as bridge_module
import numpy as np
import oracle
import pytest

BRIDGE = bridge_module.load()


@pytest.fixture(scope="module")
def absmaxes(seed):
    """f32 magnitudes of every exponent, powers of two and their neighbours."""
    random = np.random.default_rng(seed)
    powers = np.ldexp(np.float32(1), np.arange(-149, 128)).astype(np.float32)
    beside = np.concatenate([np.nextafter(powers, np.float32(np.inf)),
                             np.nextafter(powers, np.float32(0))])
    bits = random.integers(1, 0x7F800000, 3000, dtype=np.uint32).view(np.float32)
    values = np.concatenate([powers, beside, bits]).astype(np.float64)
    return values[values > 0]


# The largest magnitudes of the element formats; emax of OCP MX table 1 in brackets: e4m3 (8),
# e5m2 (15), e3m2 (4), e2m3 (2), e2m1 (2).
@pytest.mark.parametrize("element_max, emax", [(448, 8), (57344, 15), (28, 4), (7.5, 2), (6, 2)])
def test_ocp_mx(absmaxes, element_max, emax):
    """X = 2^(floor(log2 max|V|) - emax), clamped to what e8m0 holds."""
    ours = BRIDGE.choose_scale("e8m0", absmaxes, element_max).doubles()
    for value, scale in zip(absmaxes.tolist(), ours.tolist()):
        shared = oracle.floor_log2(Fraction(value)) - emax
        assert scale == math.ldexp(1, min(max(shared, -127), 127)), value.hex()


@pytest.mark.parametrize("name", ["f32", "e4m3fn", "f16", "bf16", "e5m2"])
@pytest.mark.parametrize("element_max", [448.0, 6.0, 127.0])
def test_absmax(absmaxes, name, element_max):
    """absmax / element_max to nearest even, saturating; 1 where that would be 0. The quotient is
    a float64, whose own rounding can only show where it falls on a tie of the scale's format:
    there are none among these."""
    f = oracle.Format(*BRIDGE.format(name)[0])
    ours = BRIDGE.choose_scale(name, absmaxes, element_max)
    for i, value in enumerate(absmaxes.tolist()):
        expected, _ = f.round_exact(Fraction(value) / Fraction(element_max), False, "rne")
        assert ours.exact(i) == (expected or Fraction(1), False), value.hex()


@pytest.mark.parametrize("name", list(BRIDGE.formats()))
def test_zero_groups(name):
    """A group of zeros has scale 1, or the number nearest to it."""
    if oracle.Format(*BRIDGE.format(name)[0]).bits > 32:
        return
    assert BRIDGE.choose_scale(name, [0.0], 448.0).doubles()[0] == 1.0


@pytest.mark.parametrize("name", list(BRIDGE.formats()))
def test_scaled_elements_fit(name, absmaxes):
    """With an f32 scale the largest element becomes the format's largest number, to within f32's
    rounding of the scale."""
    f = oracle.Format(*BRIDGE.format(name)[0])
    if f.bits > 16:
        return
    largest = float(f.exact(f.max_code))
    normal = absmaxes[(absmaxes / largest > 2.0**-126) & (absmaxes / largest < 2.0**127)]
    scales = BRIDGE.choose_scale("f32", normal, largest).doubles()
    assert (np.abs(normal / scales - largest) <= largest * 2.0**-23).all()
