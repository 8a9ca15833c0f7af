"""Shapes without a name: E0-E11, M0-M23, every encoding of specials, with and without subnormals
and sign, up to 32 bits, against gfloat and exact rounding. All of them in the long tier; otherwise
ten an exponent width, chosen by the printed seed.

Where gfloat 0.5.2 cannot be the oracle, and what stands in:
 - without subnormals it rounds as if exponents went on below the smallest number: below it, exact
   rounding alone;
 - a signed format without mantissa and subnormals has no zero there; format.hpp gives it code 0;
 - without exponent bits its array decoder misses the NaN of positive sign: its scalar one is asked;
 - it raises for NaN or overflow where the format has nothing for them;
 - it divides by the spacing in float64, where float64's own subnormals vanish if that is above 1;
 - a top binade beyond float64 (11 exponent bits without IEEE's specials): bias 1024 brings it in.
"""
from fractions import Fraction

import bridge as bridge_module
import gfloat
import numpy as np
import oracle
import pytest
from gfloat import RoundMode

BRIDGE = bridge_module.load()
MODES = {"rne": RoundMode.TiesToEven, "rna": RoundMode.TiesToAway, "rtz": RoundMode.TowardZero,
         "rup": RoundMode.TowardPositive, "rdn": RoundMode.TowardNegative}


def is_possible(e, m, specials, subnormals, signed):
    """What format.hpp's definition leaves as a format with a positive number."""
    if e + m + signed > 32 or (e == 0 and (specials in ("ieee", "p3109") or not subnormals)):
        return False
    if specials == "fnuz" and not signed:
        return False
    f = oracle.Format(e, m, 0, specials, subnormals, signed)
    return e + m > 0 and f.max_code >= (1 if f.has_zero else 0)


def shape(e, m, specials, subnormals, signed):
    bias = 2 ** (e - 1) - 1 + (specials in ("fnuz", "p3109")) if e else int(specials == "fnuz")
    if e == 11 and specials != "ieee":
        bias = 1024
    return oracle.Format(e, m, bias, specials, subnormals, signed)


SHAPES = [shape(e, m, specials, subnormals, signed) for e in range(12) for m in range(24)
          for specials in bridge_module.SPECIALS for subnormals in (True, False)
          for signed in (True, False) if is_possible(e, m, specials, subnormals, signed)]


def same(ours, theirs):
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    return (ours.view(np.uint64) == theirs.view(np.uint64)) | (np.isnan(ours) & np.isnan(theirs))


def sampled_codes(f, random):
    if f.bits <= 12:
        return np.arange(2**f.bits)
    edges = np.concatenate([np.arange(40), 2**f.m + np.arange(-20, 20), f.max_code
                            + np.arange(-20, 20), 2 ** (f.e + f.m) - 1 - np.arange(5)])
    codes = np.concatenate([edges, edges + 2 ** (f.bits - 1),
                            random.integers(0, 2**f.bits, 1000)])
    return np.unique(codes[(codes >= 0) & (codes < 2**f.bits)])


def check_decode(f, codes):
    ours = BRIDGE.decode(f.shape(), codes).doubles()
    theirs = gfloat.decode_ndarray(f.gfloat(), codes)
    if f.e == 0:
        theirs = np.array([gfloat.decode_float(f.gfloat(), int(c)).fval for c in codes])
    ok = same(ours, theirs)
    if f.signed and f.m == 0 and not f.subnormals:
        zeros = codes % 2 ** f.e == 0
        assert (np.isnan(ours) if f.nan_replaces_zero else ours == 0)[zeros & (codes != 0)].all()
        assert ours[0] == 0
        ok |= zeros
    assert ok.all(), f"{f.shape()}: {codes[~ok][:5]}: {ours[~ok][:5]}, not {theirs[~ok][:5]}"
    return ours


def inputs_of(f, decoded, random):
    """Numbers of the format, points between them and their float64 neighbours, and beyond."""
    magnitudes = np.unique(np.abs(decoded[np.isfinite(decoded)]))
    if magnitudes.size > 300:
        magnitudes = np.concatenate([magnitudes[:40], magnitudes[-40:],
                                     random.choice(magnitudes, 220)])
    with np.errstate(over="ignore"):
        # Half a unit in the last place of the number above, whichever it is.
        exponent = np.frexp(magnitudes)[1] - 1
        if f.subnormals:
            exponent = np.maximum(exponent, 1 - f.bias)
        unit = np.ldexp(1.0, exponent - f.m)
        points = np.concatenate([magnitudes + unit * part for part in (0, 0.25, 0.5, 0.75)])
        points = np.concatenate([points, np.nextafter(points, np.inf), np.nextafter(points, 0),
                                 [np.ldexp(1.0, -f.bias) * x for x in (0.3, 0.5, 0.9, 1.1)],
                                 # Far below the smallest number, where 64-bit fractions end.
                                 [np.ldexp(x, -f.bias - n) for n in range(58, 72)
                                  for x in (1.0, 1.01, 1.9)],
                                 magnitudes[-1:] * 1.7, magnitudes[-1:] * 1e5, [0.0, np.inf]])
    points = points[~np.isnan(points)]
    return np.concatenate([points, -points])


def check_round(f, values, exact_count, random):
    words = random.integers(0, 2**32, values.size, dtype=np.uint32)
    name = f.shape()
    for rounding in [*oracle.ROUNDINGS, "sr"]:
        for overflow in ("sat", "inf"):
            codes = BRIDGE.encode(name, values, rounding, overflow, words)
            where = f"{name}:{rounding}:{overflow}"
            if f.bits <= 16:
                expected = f.encode(values, rounding, overflow, words)
                wrong = np.flatnonzero((codes.astype(np.int64) != expected) & (expected >= 0))
                assert wrong.size == 0, (f"{where} of {values[wrong[0]].hex()}: "
                                         f"{codes[wrong[0]]:#x}, not {expected[wrong[0]]:#x}")
            if rounding == "sr":
                continue
            rounded = BRIDGE.decode(name, codes)
            if f.bits > 16:
                for i in random.choice(values.size, exact_count, replace=False):
                    if not np.isfinite(values[i]):
                        continue
                    expected = f.round_exact(Fraction(values[i]), bool(np.signbit(values[i])),
                                             rounding, overflow)
                    assert rounded.exact(i) == expected, f"{where} {values[i].hex()}"
            if rounding not in MODES:
                continue
            least = f.exact(1 if f.has_zero else 0)
            tried = np.full(values.shape, True) if f.subnormals else (
                np.abs(values) >= float(least)) | (f.has_zero & (values == 0))
            if f.signed and f.m == 0 and not f.subnormals:
                tried &= values != 0
            if 1 - f.bias - f.m > 0:
                tried &= (values == 0) | (np.abs(values) >= 2.0**-1022)
            if not f.signed:
                tried &= ~np.signbit(values)
            if overflow == "inf" and not f.has_nan and not f.has_infinity:
                tried &= np.abs(values) <= float(f.exact(f.max_code))
            with np.errstate(over="ignore"):
                theirs = gfloat.round_ndarray(f.gfloat(), values[tried], MODES[rounding],
                                              sat=overflow == "sat")
            ok = same(rounded[tried].doubles(), theirs)
            assert ok.all(), f"{where}: {values[tried][~ok][:3]} to {theirs[~ok][:3]} in gfloat"


def test_all_kinds_are_there():
    assert len(SHAPES) > 2500


@pytest.mark.parametrize("e", range(12))
def test_shapes(e, seed, full_tier):
    random = np.random.default_rng([seed, e])
    shapes = [f for f in SHAPES if f.e == e]
    if not full_tier:
        shapes = [shapes[i] for i in random.choice(len(shapes), 10, replace=False)]
    for f in shapes:
        assert BRIDGE.format(f.shape())[0] == (f.e, f.m, f.bias, f.specials, f.subnormals, f.signed)
        decoded = check_decode(f, sampled_codes(f, random))
        check_round(f, inputs_of(f, decoded, random), 40 if full_tier else 12, random)


@pytest.mark.parametrize("text", ["e11m4none", "e11m4fn", "e11m8nonenosub", "e11m3noneu"])
def test_beyond_float64(text):
    """The binade that float64 has not, by the definition."""
    f = oracle.Format(*BRIDGE.format(text)[0])
    codes = np.arange(f.max_code - 100, f.max_code + 1)
    ours = BRIDGE.decode(text, codes)
    for i, code in enumerate(codes.tolist()):
        assert ours.exact(i) == (f.exact(code), False)
    assert f.exact(f.max_code) > Fraction(2) ** 1024
