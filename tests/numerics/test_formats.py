"""Every named format of up to 16 bits, over all its codes, against ml_dtypes, gfloat and the list
of its values; encoding under every rounding over all f16 and bf16 values and random f32 ones."""
import math
from fractions import Fraction

import bridge as bridge_module
import gfloat
import ml_dtypes
import numpy as np
import oracle
import pytest
from gfloat import Domain, RoundMode, Signedness, formats

BRIDGE = bridge_module.load()
NAMES = [name for name in BRIDGE.formats() if oracle.Format(*BRIDGE.format(name)[0]).bits <= 16]

# ml_dtypes (and NumPy) spell our names so; a name that is not here is looked up as it is.
DTYPES = {"f16": np.float16, "bf16": ml_dtypes.bfloat16, "e4m3ieee": ml_dtypes.float8_e4m3,
          "e8m0": ml_dtypes.float8_e8m0fnu}
# What gfloat has a description of, of its own.
GFLOAT = {"f16": formats.format_info_binary16, "bf16": formats.format_info_bfloat16,
          "e5m2": formats.format_info_ocp_e5m2,
          "e4m3fn": formats.format_info_ocp_e4m3,
          "e3m2fn": formats.format_info_ocp_e3m2,
          "e2m3fn": formats.format_info_ocp_e2m3,
          "e2m1fn": formats.format_info_ocp_e2m1,
          "e8m0": formats.format_info_ocp_e8m0,
          "e3m0none": oracle.Format(3, 0, 3, "none").gfloat()}
# IEEE P3109's, by gfloat's names: binary8p3se is p3109_k8p3se there.
P3109 = [formats.format_info_p3109(8, precision, signedness, domain)
         for precision in range(1, 9) for signedness in Signedness for domain in Domain
         if precision < 8 or signedness == Signedness.Unsigned]
GFLOAT |= {name: info for info in P3109
           for name, aliases in BRIDGE.formats().items()
           if info.name.replace("p3109_k8", "binary8") in [name, *aliases]}
MODES = {"rne": RoundMode.TiesToEven, "rna": RoundMode.TiesToAway, "rtz": RoundMode.TowardZero,
         "rup": RoundMode.TowardPositive, "rdn": RoundMode.TowardNegative}


def dtype_of(name):
    """ml_dtypes' type of a format, or None."""
    if name in DTYPES:
        return DTYPES[name]
    for prefix in ("float8_", "float6_", "float4_"):
        if hasattr(ml_dtypes, prefix + name):
            return getattr(ml_dtypes, prefix + name)
    return None


def format_of(name):
    return oracle.Format(*BRIDGE.format(name)[0])


def assert_same(ours, theirs, what):
    """Equal bits of float64, all NaNs being equal."""
    with np.errstate(invalid="ignore"):
        ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    same = (ours.view(np.uint64) == theirs.view(np.uint64)) | (np.isnan(ours) & np.isnan(theirs))
    if not same.all():
        i = np.flatnonzero(~same)[0]
        pytest.fail(f"{what[i] if hasattr(what, '__getitem__') else what}: {float(ours[i])!r}, "
                    f"the oracle has {float(theirs[i])!r} ({np.count_nonzero(~same)} differ)")


def midpoints(f):
    """Every value, every point half way between neighbours, and their float64 neighbours."""
    values = np.unique(f.table[np.isfinite(f.table)])
    values = np.append(values, values[-1] + (values[-1] - values[-2] if f.m else values[-1]))
    halves = (values[1:] + values[:-1]) / 2
    points = np.concatenate([values, halves, [f.table[-1] * 2, f.table[-1] * 1e3, 0.0]])
    points = points[np.isfinite(points)]
    points = np.concatenate([points, np.nextafter(points, np.inf), np.nextafter(points, -np.inf)])
    return np.concatenate([points, -points])


@pytest.fixture(scope="module")
def inputs(seed):
    """All f16 and bf16 values, random f32 ones, specials."""
    halves = np.arange(2**16, dtype=np.uint16)
    random = np.random.default_rng(seed).integers(0, 2**32, 50000, dtype=np.uint32)
    with np.errstate(invalid="ignore"):
        return np.concatenate([halves.view(np.float16).astype(np.float64),
                               halves.view(ml_dtypes.bfloat16).astype(np.float64),
                               random.view(np.float32).astype(np.float64),
                               [0.0, -0.0, np.inf, -np.inf, np.nan, -np.nan]])


def inputs_of(f, inputs):
    """With the edges of a format: of every value up to 8 bits, of a sample above."""
    edges = midpoints(f)
    return np.concatenate([inputs, edges if f.bits <= 8 else edges[::7], edges[-2000:]])


def test_registry_is_covered():
    """A named format is known to one of the oracles at least; f32, f64 and tf32 are below."""
    for name in NAMES:
        assert dtype_of(name) is not None or name in GFLOAT, f"{name}: no oracle has it"


# gfloat's samples of P3109 with fewer bits, which are shapes here.
SMALL_P3109 = {"p3109_k3p2sf": "e1m1fnuz", "p3109_k4p2sf": "e2m1fnuz", "p3109_k6p3sf": "e3m2fnuz",
               "p3109_k6p4sf": "e2m3fnuz"}


def test_nothing_the_oracles_know_is_missing():
    """Every type of ml_dtypes is here but its complex ones and int1 (-1 and 0), every format that
    gfloat names, all of P3109's with 8 bits."""
    for kind in set(ml_dtypes.__all__) - {"__version__", "finfo", "iinfo", "bcomplex32",
                                          "complex32", "int1"}:
        dtype = getattr(ml_dtypes, kind)
        if "int" in kind:  # all codes: test_lists.py
            assert BRIDGE.decode(kind, [0]).doubles()[0] == 0
        else:
            assert any(dtype_of(name) is dtype for name in NAMES), kind
    known = {info.name: name for name, info in GFLOAT.items()} | SMALL_P3109
    assert {info.name for info in P3109} <= set(known)
    for info in formats.sample_formats:
        if info.k > 16:
            continue  # test_decode_wide
        codes = np.arange(2**info.k)
        theirs = gfloat.decode_ndarray(info, codes)
        if info.name == "ocp_int8":  # 64ths: MX's element, int8 here
            assert_same(BRIDGE.decode("int8", codes).doubles() / 64, theirs, codes)
        else:
            assert_same(BRIDGE.decode(known[info.name], codes).doubles(), theirs, codes)


@pytest.mark.parametrize("name", NAMES)
def test_decode(name):
    f = format_of(name)
    codes = np.arange(2**f.bits)
    ours = BRIDGE.decode(name, codes).doubles()
    assert_same(ours, f.decode(codes), codes)
    assert_same(ours, gfloat.decode_ndarray(f.gfloat(), codes), codes)
    if name in GFLOAT:
        assert_same(ours, gfloat.decode_ndarray(GFLOAT[name], codes), codes)
    if dtype_of(name):
        packed = codes.astype(np.uint8 if f.bits <= 8 else np.uint16)
        with np.errstate(invalid="ignore"):
            assert_same(ours, packed.view(dtype_of(name)).astype(np.float64), codes)
    # Every alias reads the same; every number encodes to its code under every rounding.
    for alias in BRIDGE.formats()[name]:
        assert BRIDGE.format(alias) == BRIDGE.format(name)
    numbers = np.flatnonzero(~np.isnan(ours))
    for rounding in oracle.ROUNDINGS:
        assert (BRIDGE.encode(name, ours[numbers], rounding, "inf") == numbers).all()


@pytest.mark.parametrize("name", ["f32", "tf32", "f64"])
def test_decode_wide(name, seed):
    """f32 and f64 as the machine has them, tf32 by gfloat: random codes and the edges."""
    f = format_of(name)
    random = np.random.default_rng(seed)
    codes = np.concatenate([random.integers(0, 2**f.bits, 200000, dtype=np.uint64),
                            np.arange(100, dtype=np.uint64),
                            np.uint64(f.max_code) + np.arange(100, dtype=np.uint64)])
    ours = BRIDGE.decode(name, codes).doubles()
    if name == "tf32":
        assert_same(ours, gfloat.decode_ndarray(f.gfloat(), codes.astype(np.int64)), codes)
    else:
        packed = codes.astype({"f32": np.uint32, "f64": np.uint64}[name])
        assert_same(ours, packed.view({"f32": np.float32, "f64": np.float64}[name]), codes)


@pytest.mark.parametrize("name", NAMES)
def test_limits(name):
    f = format_of(name)
    finite = f.table[f.table > 0]
    _, (max_code, _, max_exponent) = BRIDGE.format(name)
    assert max_code == f.max_code
    assert math.frexp(finite[-1])[1] - 1 == max_exponent
    if dtype_of(name):
        info = ml_dtypes.finfo(dtype_of(name))
        assert finite[-1] == float(info.max)
        assert finite[0] == float(info.smallest_subnormal)


@pytest.mark.parametrize("name", NAMES)
def test_encode_by_list(name, inputs, seed):
    """Every rounding and overflow rule, the stochastic one with random words."""
    f = format_of(name)
    values = inputs_of(f, inputs)
    random = np.random.default_rng(seed).integers(0, 2**32, values.size, dtype=np.uint32)
    for rounding in BRIDGE.roundings():
        for overflow in ("sat", "inf"):
            ours = BRIDGE.encode(name, values, rounding, overflow, random).astype(np.int64)
            theirs = f.encode(values, rounding, overflow, random)
            wrong = np.flatnonzero((ours != theirs) & (theirs >= 0))
            assert wrong.size == 0, (
                f"{name}:{rounding}:{overflow} of {values[wrong[0]].hex()}: code "
                f"{ours[wrong[0]]:#x}, the list says {theirs[wrong[0]]:#x}")


def test_the_two_references_agree(seed):
    """oracle.Format.encode and round_exact, which later tests lean on."""
    random = np.random.default_rng(seed)
    for f in [format_of("e4m3fn"), format_of("e2m1fn"), oracle.Format(3, 0, 3),
              oracle.Format(0, 5, 0, "none"), oracle.Format(4, 2, 7, "fnuz", False),
              oracle.Format(1, 4, 0), oracle.Format(4, 0, 7, "none", False)]:
        values = random.choice(midpoints(f), 400)
        for rounding in oracle.ROUNDINGS:
            for overflow in ("sat", "inf"):
                codes = f.encode(values, rounding, overflow)
                for value, ours in zip(values, f.decode(codes)):
                    number, negative = f.round_exact(Fraction(value), bool(np.signbit(value)),
                                                     rounding, overflow)
                    expected = float(number) if number != 0 else 0.0
                    expected = -expected if negative and expected >= 0 else expected
                    assert_same([ours], [expected], f"{f} {rounding} {overflow} {value!r}")


@pytest.mark.parametrize("name", NAMES)
def test_round_as_gfloat(name, inputs):
    """gfloat's five deterministic modes, saturating and not.

    Where gfloat differs from what format.hpp states, and why the case is left out here (all are in
    test_encode_by_list): it raises for NaN, and for overflow, where the format has nothing for
    them (ours: NaN stays NaN, overflow saturates); its unsigned formats take -x for x, ours for
    out of range; it knows no smallest number in a format without zero or subnormals (e8m0) and
    returns powers below it, and 0 for 0.
    """
    f = format_of(name)
    values = inputs_of(f, inputs)
    if not f.has_nan:
        values = values[~np.isnan(values)]
    if not f.signed:
        values = values[~np.signbit(values)]
    if not f.has_zero:
        values = values[~(values < f.table[0])]
    for rounding, mode in MODES.items():
        for overflow in ("sat", "inf"):
            tried = values
            if overflow == "inf" and not f.has_nan and not f.has_infinity:
                tried = values[np.abs(values) <= f.table[-1]]
            ours = BRIDGE.decode(name, BRIDGE.encode(name, tried, rounding, overflow)).doubles()
            theirs = gfloat.round_ndarray(f.gfloat(), tried, mode, sat=overflow == "sat")
            assert_same(ours, theirs, tried)
            codes = gfloat.encode_ndarray(f.gfloat(), theirs[~np.isnan(theirs)])
            assert (codes == BRIDGE.encode(name, tried, rounding, overflow)[~np.isnan(theirs)]
                    ).all()


@pytest.mark.parametrize("name", [name for name in NAMES if dtype_of(name)])
def test_encode_as_ml_dtypes(name, inputs):
    """ml_dtypes rounds to nearest even and overflows to infinity or NaN. Its casts start at f32.

    Exact differences: NaN keeps its sign there (ours has none), so NaNs are compared as such; the
    formats without NaN give -0 for NaN there (ours: the code of 0, and Format::round keeps NaN).
    For e8m0 see test_e8m0_of_ml_dtypes.
    """
    f = format_of(name)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        single = np.concatenate([inputs, midpoints(f)]).astype(np.float32)
        edges = np.concatenate([np.nextafter(single[-4096:], np.float32(np.inf)),
                                np.nextafter(single[-4096:], np.float32(-np.inf))])
        values = np.concatenate([single, edges])
        theirs = values.astype(dtype_of(name)).astype(np.float64)
    ours = BRIDGE.decode(name, BRIDGE.encode(name, values, "rne", "inf")).doubles()
    keep = np.full(values.shape, True)
    if not f.has_nan:
        keep &= ~np.isnan(values)
    if name == "e8m0":
        keep &= np.frexp(values)[0] != 0.75
        keep &= ~((values > 2.0**-127) & (values < 1.5 * 2.0**-127))
    assert_same(ours[keep], theirs[keep], values[keep])


@pytest.mark.parametrize("name", NAMES)
def test_stochastic_as_gfloat(name, seed):
    """StochasticFastest with 32 bits r rounds up where delta + r 2^-32 >= 1. Ours rounds up where
    r < floor(delta 2^32): the same with r mirrored, for a delta of at most 32 bits."""
    f = format_of(name)
    random = np.random.default_rng(seed)
    low = random.integers(0, f.max_code, 20000)
    step = f.table[low + 1] - f.table[low]
    delta = random.integers(0, 2**20, low.size) * 2.0**-20
    values = f.table[low] + step * delta
    if f.signed:
        values = np.where(random.random(values.size) < 0.5, -values, values)
    words = random.integers(0, 2**32, low.size, dtype=np.uint32)
    ours = BRIDGE.decode(name, BRIDGE.encode(name, values, "sr", "sat", words)).doubles()
    theirs = gfloat.round_ndarray(f.gfloat(), values, RoundMode.StochasticFastest, True,
                                  2**32 - 1 - words.astype(np.int64), 32)
    assert_same(ours, theirs, values)


def test_stochastic_probability():
    """Exactly: of all thresholds on a grid as fine as the distance, so many round up."""
    name, f = "e4m3fn", format_of("e4m3fn")
    words = (np.arange(2**16, dtype=np.uint32) << np.uint32(16))
    for code in (0, 1, 7, 8, 0x37, 0x7D):
        for sixteenths in range(16):
            gap = f.table[code + 1] - f.table[code]
            value = f.table[code] + gap * sixteenths / 16
            for sign in (1, -1):
                codes = BRIDGE.encode(name, np.full(words.size, sign * value), "sr", "sat", words)
                ups = np.count_nonzero((codes & np.uint64(0x7F)) == code + 1)
                assert ups == words.size * sixteenths // 16


def test_e8m0_of_ml_dtypes():
    """Where ml_dtypes 0.6.0 differs. 1.5 2^n, ties: gfloat and ours go to the even code, ml_dtypes
    up. The f32 subnormals between 2^-127 and 1.5 2^-127: nearest is 2^-127, ml_dtypes goes up."""
    low = np.array([2.0**-127 + 2.0**-149, 1.25 * 2.0**-127, 1.5 * 2.0**-127 - 2.0**-149])
    assert (BRIDGE.encode("e8m0", low) == 0).all()
    assert (low.astype(np.float32).astype(ml_dtypes.float8_e8m0fnu).view(np.uint8) == 1).all()
    ties = np.ldexp(1.5, np.arange(-127, 127))
    theirs = ties.astype(np.float32).astype(ml_dtypes.float8_e8m0fnu).view(np.uint8)
    ours = BRIDGE.encode("e8m0", ties)
    assert (theirs == np.arange(1, 255)).all()
    assert (ours == np.arange(1, 255) // 2 * 2).all()
    assert (ours == gfloat.encode_ndarray(GFLOAT["e8m0"],
                                          gfloat.round_ndarray(GFLOAT["e8m0"], ties))).all()


def test_e8m0_outside_its_range():
    """No zero, no sign. ml_dtypes gives NaN for zero and for negative numbers, as ours does where
    overflow goes to infinity; saturating, both become the smallest number, 2^-127."""
    values = np.array([0.0, -0.0, -1.0, -np.inf, 2.0**-140, 2.0**-127, 2.0**130, np.inf, np.nan])
    theirs = values[[0, 1, 2, 3]].astype(np.float32).astype(ml_dtypes.float8_e8m0fnu)
    assert np.isnan(theirs.astype(np.float64)).all()
    assert list(BRIDGE.encode("e8m0", values, "rne", "inf")) == [255, 255, 255, 255, 0, 0, 255, 255,
                                                                 255]
    assert list(BRIDGE.encode("e8m0", values, "rne", "sat")) == [0, 0, 0, 0, 0, 0, 254, 254, 255]
