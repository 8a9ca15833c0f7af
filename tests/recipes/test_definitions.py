"""Every recipe of recipes/ against its paper's definition: what it does to a small product of each
kind of matrix, once more in a few lines of NumPy, and the steps that compute something for a model
(test_steps.py has what these make). Scales that a recipe fixes beforehand are here those of the
product's own numbers, which is the same."""
import ctypes
import json
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
FLOATS = np.ctypeslib.ndpointer(np.float32, flags="C")
LAYERS = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
WEIGHTS = (*(f"blk.3.{name}.weight" for name in LAYERS), "output.weight")
ATTENTION = ("kq-3", "kqv-3")


@pytest.fixture(scope="module")
def multiply(build_dir):
    """multiply(rules, name, x, w): x w^T as the matrix of that name has it; tests/end_to_end."""
    path = build_dir / "tests/libnapier_end_to_end_bridge.so"
    if not path.exists():
        pytest.skip(f"SKIPPED: needs {path}")
    function = ctypes.CDLL(str(path)).bridge_multiply_as
    function.restype = ctypes.c_char_p
    function.argtypes = [ctypes.c_char_p, ctypes.c_char_p, *[ctypes.c_int64] * 3, FLOATS, FLOATS,
                         FLOATS, ctypes.c_char_p]

    def run(rules, name, x, w):
        out, error = np.empty((len(x), len(w)), np.float32), ctypes.create_string_buffer(512)
        kernel = function("; ".join(rules).encode(), name.encode(), len(x), len(w), x.shape[1], x,
                          w, out, error)
        assert kernel is not None, error.value
        return out

    return run


# Quantisers: a matrix in, the numbers out that are multiplied. An axis of None is the whole tensor,
# 1 each row.
def largest(v, axis):
    return np.abs(v).max(axis=axis, keepdims=True)


def integer(v, bits, axis):
    top = 2**(bits - 1) - 1
    scale = largest(v, axis) / top
    return np.clip(np.rint(v / scale), -top - 1, top) * scale


def asymmetric(v, bits=8):
    """MobileQuant: a = (max - min) / (2^b - 1), zero at -round(min / a); zero is in the range."""
    low, high = min(v.min(), 0), max(v.max(), 0)
    scale = (high - low) / (2**bits - 1)
    zero = -np.rint(low / scale)
    return (np.clip(np.rint(v / scale) + zero, 0, 2**bits - 1) - zero) * scale


def positives(e, m, top=None):
    """Of ExMy with IEEE's bias and subnormals, every code a number, up to `top`."""
    bias = 2**(e - 1) - 1
    values = {(f + (2**m if c else 0)) * 2.0**(max(c, 1) - bias - m)
              for c in range(2**e) for f in range(2**m)}
    return np.array(sorted(x for x in values if top is None or x <= top))


def nearest(v, values):
    at = np.clip(np.searchsorted(values, np.abs(v)), 1, len(values) - 1)
    low, high = values[at - 1], values[at]
    return np.sign(v) * np.where(np.abs(v) - low <= high - np.abs(v), low, high)


def floating(v, values, axis):
    scale = largest(v, axis) / values[-1]
    return nearest(v / scale, values) * scale


def masked(v, bits):
    """The first mantissa bits of a float32, the others cleared: bfloat16's exponent."""
    return (v.astype(np.float32).view(np.uint32) >> (23 - bits) << (23 - bits)).view(np.float32)


def clipped(v):
    """bfloat16 masked to its 7 bits, of exponents from -62 to 63: 7 bits' normal numbers."""
    v = masked(v, 7)
    v = np.where(np.abs(v) < 2.0**-62, 0, v)
    return np.sign(v) * np.minimum(np.abs(v), (2 - 2.0**-7) * 2.0**63)


def bf16(v):
    pattern = v.astype(np.float32).view(np.uint32).astype(np.uint64)
    return ((pattern + 0x7FFF + (pattern >> 16 & 1) & 0xFFFF0000).astype(np.uint32)
            .view(np.float32))


def in_groups(v, size, function):
    return np.concatenate([function(v[:, i:i + size]) for i in range(0, v.shape[1], size)], 1)


def bitmod(v, base, specials):
    """Of each group of 128 the list with the least squared error, the group's largest its own."""
    def group(part):
        tries = []
        for special in specials:
            values = np.array(sorted({0, *base, *(-b for b in base), special}), dtype=np.float64)
            scale = largest(part, 1) / np.abs(values).max()
            at = np.abs((part / scale)[..., None] - values).argmin(-1)
            tries.append(values[at] * scale)
        errors = np.array([np.square(t - part).sum(1) for t in tries])
        return np.array(tries)[errors.argmin(0), np.arange(len(part))]
    return in_groups(v, 128, group)


def binary(v):
    return np.abs(v).mean(1, keepdims=True) * np.sign(v)


def ternary(v):
    scale = 4 / 3 * np.abs(v).mean(1, keepdims=True)
    return scale * np.rint(np.clip(v / scale, -1, 1))


def power(v, a):
    codes = np.rint(7 * (np.abs(v) / largest(v, 1))**a)
    return np.sign(v) * (codes / 7)**(1 / a) * largest(v, 1)


def dynamic_fixed(v):
    """DFP-16: 16-bit mantissas with the least common exponent at which the largest fits."""
    unit = 2.0**np.ceil(np.log2(largest(v, None) / (2**15 - 1)))
    return np.rint(v / unit) * unit


def m2(v):
    """ZeroQuant-FP's M2, rounded up: a group's scale is the row's times a power of two."""
    row = largest(v, 1) / 6

    def group(part):
        scale = row * 2.0**np.ceil(np.log2(largest(part, 1) / 6 / row) - 1e-9)
        return nearest(part / scale, positives(2, 1)) * scale
    return in_groups(v, 256, group)


def lmul(x, w, kept=4, offset=3):
    """Of arXiv 2410.00907, Fig. 2: the patterns of truncated numbers added, and 2^-l(4) = 2^-3."""
    out = np.zeros((len(x), len(w)))
    for i, row in enumerate(masked(x, kept)):
        for j, other in enumerate(masked(w, kept)):
            (a, d), (b, e) = np.frexp(np.abs(row)), np.frexp(np.abs(other))
            s = (2 * a - 1) + (2 * b - 1) + 2.0**-offset
            one = np.maximum(np.maximum(1 + s, 2 * s), 4 * (s - 1)) * 2.0**(d + e - 2)
            out[i, j] = np.sum(np.sign(row) * np.sign(other) * one)
    return out


def llm_int8(x, w):
    """Columns that reach 6 in f16; of the others row and column scales of int8, w's over all."""
    apart = (np.abs(x) >= 6).any(0)
    assert 0 < apart.sum() < 5
    half = [v[:, apart].astype(np.float16).astype(np.float64) for v in (x, w)]
    rest = integer(np.where(apart, 0, x), 8, 1) @ integer(w, 8, 1).T
    return rest + half[0] @ half[1].T


def delta(x, w):
    return np.rint(x / 0.1) * 0.1 @ w.T


def dyadic(x, w):
    """HAWQ-V3: y = clip(round(sum m 2^-e)), the sum of int8 codes, m 2^-e near Sx Sw / Sy."""
    x_scale, w_scale = largest(x, None) / 127, largest(w, 1) / 127
    sums = np.rint(x / x_scale) @ np.rint(w / w_scale).T
    return np.clip(np.rint(sums * (x_scale * w_scale.T) / 0.05), -128, 127) * 0.05


def both(quantise, *arguments):
    return lambda x, w: quantise(x, *arguments) @ quantise(w, *arguments).T


def mobilequant(w_bits, w_axis, result_bits):
    def product(x, w):
        y = asymmetric(x) @ integer(w, w_bits, w_axis).T
        return y if result_bits is None else asymmetric(y, result_bits)
    return product


def mobilequants(w_bits, axis, wide):
    """Weights a tensor a scale (`axis`), of down_proj and output a row; 16-bit results (`wide`) of
    o_proj and down_proj."""
    products = {name: mobilequant(w_bits, axis, 8) for name in WEIGHTS}
    products["output.weight"] = mobilequant(w_bits, 1, None)
    products["blk.3.attn_output.weight"] = mobilequant(w_bits, axis, wide)
    products["blk.3.ffn_down.weight"] = mobilequant(w_bits, 1, wide)
    return products


def exact(x, w):
    return x.astype(np.float64) @ w.astype(np.float64).T


E4M3, E2M1 = positives(4, 3, 448), positives(2, 1)
UNSIGNED = ("x=uint8@tensor", "x=uint8@tensor(f32,minmax)")
FIXED = ("result(uint{}@tensor)", "result(uint{}@tensor(f32,minmax))")
SMOOTH = {"step": "equalise", "method": "smooth", "alpha": 0.5}
MINMAX, ABSMAX = ({"step": "static", "from": way} for way in ("minmax", "absmax"))
POWERS = [f"x=bf16/w=pow4a{a}@row" for a in range(30, 101, 5)]
# What each does to the weights' products; those of attention are f32's where nothing else is said.
# A dict has its matrices by name.
PRODUCTS = {
    "binary": {name: (lambda x, w: bf16(x) @ binary(w).T) if name.startswith("blk") else exact
               for name in WEIGHTS},
    "ternary": {name: (lambda x, w: bf16(x) @ ternary(w).T) if name.startswith("blk") else exact
                for name in WEIGHTS},
    "bitmod3": lambda x, w: bf16(x) @ bitmod(w, (1, 2, 4), (3, -3, 6, -6)).T,
    "bitmod4": lambda x, w: bf16(x) @ bitmod(w, (1, 2, 3, 4, 6, 8, 12), (10, -10, 16, -16)).T,
    "delta-activations": delta,
    "dfp16": both(dynamic_fixed),
    "fp8-and-back": both(masked, 3),
    "fp8-and-back-e7m7": both(clipped),
    "hawq-v3-dyadic": dyadic,
    "llm-int8": llm_int8,
    "lmul-attention": {**dict.fromkeys(WEIGHTS, exact), **dict.fromkeys(ATTENTION, lmul)},
    "lmul-everywhere": dict.fromkeys(WEIGHTS + ATTENTION, lmul),
    "mobilequant": mobilequants(8, None, 16),
    "mobilequant-full8": mobilequants(8, None, 8),
    "mobilequant-w4a8": mobilequants(4, 1, 16),
    "zeroquant-fp": lambda x, w: floating(x, E4M3, 1) @ m2(w).T,
    # Where a step chooses, what it chooses from; and what a rule has before.
    "fliqs": [both(floating, values, 1) for values in (E2M1, positives(3, 2), E4M3)],
    "fp8-vs-int8": [both(integer, 8, 1), *(both(floating, positives(e, 7 - e), 1)
                                           for e in (2, 3, 4, 5))],
    "hawq-v3": [lambda x, w: integer(x, 4, None) @ integer(w, 4, 1).T,
                lambda x, w: integer(x, 8, None) @ integer(w, 8, 1).T],
    "powerquant": [lambda x, w, a=a: bf16(x) @ power(w, a / 100).T for a in range(30, 101, 5)],
    "llm-fp4": lambda x, w: floating(x, E2M1, None) @ floating(w, E2M1, 1).T,
}
PRODUCTS["nupes"] = PRODUCTS["powerquant"]
# The steps, candidates aside, in order.
STEPS = {
    "fliqs": [{"step": "choose", "method": "reinforce", "objective": "output",
               "cost": "bit_operations", "budget": 40}],
    "fp8-vs-int8": [{"step": "choose", "objective": "output"}],
    "hawq-v3": [{"step": "choose", "method": "program", "objective": "curvature",
                 "cost": "bit_operations", "budget": 48}, ABSMAX],
    "hawq-v3-dyadic": [ABSMAX],
    "llm-fp4": [{"step": "equalise", "method": "exponent", "exponent_bits": 2},
                {"step": "bias", "x_formats": ["e3m0none", "e2m1none", "e1m2none"],
                 "w_formats": ["e3m0none", "e2m1none", "e1m2none"], "low": 0.01, "high": 1.2,
                 "steps": 100, "rounds": 3}],
    "mobilequant": [SMOOTH, MINMAX], "mobilequant-full8": [SMOOTH, MINMAX],
    "mobilequant-w4a8": [SMOOTH, MINMAX],
    "nupes": [{"step": "choose", "objective": "output", "scope": "matrix"}],
    "powerquant": [{"step": "choose", "objective": "weights", "scope": "network"}],
    "zeroquant-fp": [{"step": "lowrank"}],
}
INT32 = {"llm-int8": 1, "fp8-vs-int8": 1, "hawq-v3": 3, "hawq-v3-dyadic": 1, "mobilequant": 4,
         "mobilequant-full8": 4, "mobilequant-w4a8": 4}  # how often sums in it are written
NUMBERS = {"mobilequant": 4, "mobilequant-full8": 4, "mobilequant-w4a8": 4, "llm-fp4": 1}


def without_numbers(rule):
    """The rule with scales of its own numbers for those that are fixed beforehand, and without what
    takes a model's: factors, a correction."""
    rule = rule.replace(*UNSIGNED)
    for bits in (8, 16):
        rule = rule.replace(*(part.format(bits) for part in FIXED))
    rule = rule.replace("dyadic(int8@tensor)", "dyadic(int8@tensor(f32,given=0.05))")
    rule = re.sub(r"( with)? equalise$", "", rule)
    return rule.removesuffix(" with lowrank(8,f16)")


@pytest.fixture(scope="module")
def operands(seed):
    """Rows of 512, as the widest groups want them, of unlike sizes; two columns are large."""
    random = np.random.default_rng(seed)
    x, w = (random.standard_normal((n, 512)) * np.exp2(random.integers(-2, 3, (n, 1)))
            * scale for n, scale in ((4, 0.3), (6, 0.05)))
    w *= np.exp2(random.integers(-2, 3, (6, 4))).repeat(128, 1)
    x[1, 7], x[2, 100] = 9.5, -6.5
    x += 0.05
    return x.astype(np.float32), w.astype(np.float32)


def test_each_recipe_is_here():
    assert set(PRODUCTS) == {path.stem for path in RECIPES.glob("*.toml")}


def test_seven_bits_of_exponent(multiply):
    """Numbers below the range and beyond it, in single products."""
    plan = tomllib.loads((RECIPES / "fp8-and-back-e7m7.toml").read_text())["plan"]
    x = np.array([[2.0**-63], [1.99 * 2.0**-63], [-(2.0**-62)], [2.0**63], [-(2.0**64)],
                  [1.999 * 2.0**63]], np.float32)
    one = np.ones((1, 1), np.float32)
    assert (multiply(plan, "output.weight", x, one) == clipped(x)).all()


@pytest.mark.parametrize("preset, sums", [
    ("int8-int32", "int32"), ("dfp16", "int32(chunk=2,outer=f32)")])
def test_sums_in_integers(napier, preset, sums):
    """Of the presets that recipes name; what int32 holds, f32 sums would hold here too."""
    arith = json.loads(napier("explain", preset, "--json").stdout)["written"]
    assert arith.endswith(f"/acc={sums}")


@pytest.mark.parametrize("recipe", PRODUCTS)
def test_products_are_the_papers(multiply, operands, recipe):
    document = tomllib.loads((RECIPES / f"{recipe}.toml").read_text())
    plan, expected = document["plan"], PRODUCTS[recipe]
    candidates = [c for step in document.get("compute", []) for c in step.pop("candidates", [])]
    assert document.get("compute", []) == STEPS.get(recipe, [])
    written = " ".join([*plan, *candidates])
    assert len(re.findall("acc=int32|int8-int32", written)) == INT32.get(recipe, 0)
    assert written.count("equalise") == NUMBERS.get(recipe, 0)
    assert ("lowrank(8,f16)" in written) == (recipe == "zeroquant-fp")
    x, w = operands

    def check(rules, name, product):
        found, wanted = multiply(rules, name, x, w), product(x.astype(np.float64), w.astype(
            np.float64))
        assert found == pytest.approx(wanted, abs=2e-5 * np.abs(wanted).max()), (recipe, name)

    if isinstance(expected, list):  # each candidate stands in the weights' rule
        assert len(candidates) == len(expected)
        for candidate, product in zip(candidates, expected):
            check([f"* -> {candidate}"], "output.weight", product)
        products = {}
    elif callable(expected):
        products = dict.fromkeys(WEIGHTS, expected)
    else:
        products = expected
    rules = [without_numbers(rule) for rule in plan]
    for name in WEIGHTS:
        if name in products:
            check(rules, name, products[name])
        else:
            assert plan[0].startswith("*.weight -> ")
    for name in ATTENTION:
        check(rules, name, products.get(name, exact))
