"""Integers and codebooks: all codes and their neighbourhoods against ml_dtypes, NumPy and the lists
of values as their sources print them, written here a second time."""
import bridge as bridge_module
import ml_dtypes
import numpy as np
import pytest

BRIDGE = bridge_module.load()

INTEGERS = [f"{kind}{bits}{tail}" for bits in (2, 3, 4, 5, 8, 11, 16)
            for kind, tail in (("int", ""), ("int", "s"), ("uint", ""))]

# By code. bitsandbytes' tables: functional.py's NF4 map and kernels.cu's dDequantizeFP4.
NF4 = [-1.0, -0.6961928, -0.5250731, -0.3949175, -0.2844414, -0.1847734, -0.0910500, 0.0,
       0.0795803, 0.1609302, 0.2461123, 0.3379152, 0.4407098, 0.5626170, 0.7229568, 1.0]
FP4 = [0, 0.00520833, 2 / 3, 1, 1 / 3, 1 / 2, 1 / 6, 1 / 4]
# What dQuantizeFP4 there compares |x| with, as f32: more than one is the next number.
FP4_PIVOTS = np.array(["0.00260417", "0.0859375", "0.20833333", "0.29166667", "0.4166667",
                       "0.583333", "0.8333333"], np.float32).astype(np.float64)
BITMOD3, BITMOD4 = [0, 1, 2, 4], [0, 1, 2, 3, 4, 6, 8, 12]
FLINT4, INT4 = [0, 1, 2, 3, 4, 6, 8, 16], list(range(8))


def both(magnitudes, special=0):
    return sorted(set(magnitudes) | {-m for m in magnitudes} | {special})


# The values among which each group chooses, list by list.
LISTS = {"nf4": [NF4], "bnb_fp4": [both(FP4)], "flint4": [both(FLINT4)],
         "ant4": [both(INT4), both(FLINT4)],
         "bitmod3": [both(BITMOD3, s) for s in (3, -3, 6, -6)],
         "bitmod4": [both(BITMOD4, s) for s in (10, -10, 16, -16)],
         "binary": [[-1, 1]]}


def limits(name):
    bits = int(name.strip("intus"))
    if name.startswith("u"):
        return 0, 2**bits - 1
    return -(2 ** (bits - 1)) + name.endswith("s"), 2 ** (bits - 1) - 1


def around(points):
    points = np.asarray(points, np.float64)
    return np.concatenate([points, np.nextafter(points, np.inf), np.nextafter(points, -np.inf)])


@pytest.mark.parametrize("name", INTEGERS)
def test_integer_codes(name):
    low, high = limits(name)
    bits = int(name.strip("intus"))
    codes = np.arange(2**bits)
    ours = BRIDGE.decode(name, codes).doubles()
    signed = np.where((codes >= 2 ** (bits - 1)) & (low < 0), codes - 2**bits, codes)
    assert (ours == np.maximum(signed, low)).all()
    if hasattr(ml_dtypes, name):
        assert (codes.astype(getattr(ml_dtypes, name)).astype(np.float64) == ours).all()


ROUND = {"rne": np.rint, "rtz": np.trunc, "rup": np.ceil, "rdn": np.floor,
         "rna": lambda v: np.sign(v) * np.floor(np.abs(v) + 0.5),
         "rto": lambda v: np.where(v == np.trunc(v), v, np.where(
             np.fmod(np.trunc(np.clip(v, -1e9, 1e9)), 2) != 0, np.trunc(v),
             np.trunc(v) + np.sign(v)))}


@pytest.mark.parametrize("name", INTEGERS)
def test_integer_rounding(name):
    """Every rounding, saturating, at every quarter between neighbours and far out. (Beside a tie
    |v| + 0.5 is itself rounded: those points are left to the other roundings.)"""
    low, high = limits(name)
    points = np.arange(low - 3, high + 4, 0.25)
    far = np.array([1e3, 1e6, 1e15, 2.0**62, 2.0**63, 2.0**64, 1e30, 1e-30, np.inf])
    for rounding, function in ROUND.items():
        values = np.concatenate([points if rounding == "rna" else around(points), far, -far])
        ours = BRIDGE.decode(name, BRIDGE.encode(name, values, rounding)).doubles()
        theirs = np.clip(function(values), low, high)
        assert (ours == theirs).all(), (rounding, values[ours != theirs][:3])
    assert BRIDGE.encode(name, [np.nan])[0] == 0


@pytest.mark.parametrize("name", ["int4:wrap", "int7:wrap", "int8:wrap", "uint5:wrap",
                                  "int32:wrap"])
def test_integers_wrap(name, seed):
    """What is left modulo 2^bits, as Python's integers have it."""
    bits = int(name[:-5].strip("intus"))
    low, _ = limits(name[:-5])
    random = np.random.default_rng(seed)
    values = np.concatenate([np.arange(-600, 600), random.integers(-2**50, 2**50, 2000)])
    ours = BRIDGE.quantise(f"x={name}", "x", values.astype(np.float64)).doubles()
    theirs = [(int(v) - low) % 2**bits + low for v in values]
    assert (ours == theirs).all()


@pytest.mark.parametrize("name", list(BRIDGE.formats("listed")))
def test_lists(name):
    """The values, and the nearest of them: ties to the lower one, the sign of 0 positive."""
    values = np.array(sorted(LISTS[name][0]), np.float64)
    bits = int(np.ceil(np.log2(values.size)))
    ours = np.unique(BRIDGE.decode(name, np.arange(2**bits)).doubles())
    assert np.allclose(ours, values, rtol=1e-6, atol=1e-8)
    assert (ours == ours.astype(np.float32)).all()
    middle = (ours[1:] + ours[:-1]) / 2
    inputs = np.concatenate([around(ours), around(middle), [-1e9, 1e9, -np.inf, np.inf]])
    if name == "binary":
        nearest = np.where(inputs >= 0, 1, -1)
    elif name == "bnb_fp4":
        inputs = np.concatenate([inputs, around(FP4_PIVOTS), around(-FP4_PIVOTS)])
        nearest = np.sign(inputs) * ours[7:][np.searchsorted(FP4_PIVOTS, np.abs(inputs))]
    else:
        nearest = ours[np.searchsorted(middle, inputs)]
    got = BRIDGE.decode(name, BRIDGE.encode(name, inputs)).doubles()
    assert (got == nearest).all()
    up = ours[np.minimum(np.searchsorted(ours, inputs), ours.size - 1)]
    down = ours[np.maximum(np.searchsorted(ours, inputs, side="right") - 1, 0)]
    assert (BRIDGE.decode(name, BRIDGE.encode(name, inputs, "rup")).doubles() == up).all()
    assert (BRIDGE.decode(name, BRIDGE.encode(name, inputs, "rdn")).doubles() == down).all()


def test_bitsandbytes_codes():
    """Code by code: these are what checkpoints hold."""
    assert np.allclose(BRIDGE.decode("nf4", np.arange(16)).doubles(), NF4, atol=1e-7)
    fp4 = np.array(FP4)
    assert np.allclose(BRIDGE.decode("bnb_fp4", np.arange(16)).doubles(),
                       np.concatenate([fp4, -fp4]), atol=1e-7)


@pytest.mark.parametrize("name", ["bitmod3", "bitmod4", "ant4"])
def test_groups_choose_their_list(name, seed):
    """As BitMoD's code: for each list scale = absmax / its largest magnitude, nearest, ties to the
    lower value, and the list of least squared error."""
    random = np.random.default_rng(seed)
    data = random.standard_normal((64, 128)).astype(np.float32)
    data[::3] *= np.where(random.random((22, 128)) < 0.05, 4, 1)  # outliers
    data[5, :] = np.abs(data[5, :])
    scales, _, lists, numbers = BRIDGE.scale(f"{name}@row", data)
    for row in range(data.shape[0]):
        x = data[row].astype(np.float64)
        best = None
        for i, values in enumerate(LISTS[name]):
            values = np.array(sorted(values), np.float64)
            scale = np.float64(np.float32(np.abs(x).max() / np.abs(values).max()))
            nearest = values[np.searchsorted((values[1:] + values[:-1]) / 2, x / scale)]
            error = np.square(x - nearest * scale).sum()
            if best is None or error < best[0] * (1 - 1e-12):
                best = error, i, scale, nearest
        assert lists[row, 0] == best[1] and scales[row, 0] == best[2]
        assert (numbers[row] == best[3]).all()


@pytest.mark.parametrize("bits", range(2, 9))
def test_power_one_is_uniform(bits, seed):
    """PowerQuant with a = 1 is the symmetric integer, ties and all."""
    random = np.random.default_rng(seed)
    values = np.concatenate([around(np.arange(-300, 300) / 2), random.normal(0, 5, 2000)])
    power = BRIDGE.decode(f"pow{bits}a100", BRIDGE.encode(f"pow{bits}a100", values)).doubles()
    integer = BRIDGE.decode(f"int{bits}s", BRIDGE.encode(f"int{bits}s", values)).doubles()
    assert (power == integer).all()


@pytest.mark.parametrize("bits, hundredths", [(4, 50), (8, 50), (4, 35), (3, 70), (8, 25)])
def test_power(bits, hundredths, seed):
    """Q(x) = sign(x) round(n |x|^a / max|x|^a), dequantised (q/n)^(1/a) max|x|, on a row."""
    a, n = hundredths / 100, 2 ** (bits - 1) - 1
    data = np.random.default_rng(seed).standard_normal((8, 256)).astype(np.float32)
    scales, _, _, numbers = BRIDGE.scale(f"pow{bits}a{hundredths}@row", data)
    for row in range(8):
        x = data[row].astype(np.float64)
        largest = np.abs(x).max()
        exponent = n * (np.abs(x) / largest) ** a
        clear = np.abs(exponent % 1 - 0.5) > 1e-5  # the scale is an f32
        theirs = np.sign(x) * (np.rint(exponent) / n) ** (1 / a) * largest
        ours = numbers[row] * scales[row]
        assert np.allclose(ours[clear], theirs[clear], rtol=1e-6) and clear.mean() > 0.99


@pytest.mark.parametrize("bits", range(3, 17))
def test_e1m_has_the_symmetric_integers_values(bits):
    """E1M(b-2) without specials: all the numbers of the symmetric INTb but for one factor."""
    codes = np.arange(2**bits)
    floats = np.unique(BRIDGE.decode(f"e1m{bits - 2}none", codes).doubles())
    integers = np.unique(BRIDGE.decode(f"int{bits}s", codes).doubles())
    assert (floats / floats[-1] * integers[-1] == integers).all()


def test_e1m_is_the_symmetric_integer():
    """The same numbers on the same clip (whence FP8-quantization's INT8 == E1M6)."""
    random = np.random.default_rng(1)
    for bits in range(3, 13):
        name = f"e1m{bits - 2}none"
        data = random.standard_normal((4, 512)).astype(np.float32)
        as_float = BRIDGE.scale(f"{name}@row", data)
        as_integer = BRIDGE.scale(f"int{bits}s@row", data)
        assert (as_float[3] * as_float[0] == as_integer[3] * as_integer[0]).all()
