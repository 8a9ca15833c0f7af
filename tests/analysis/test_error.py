"""napier error against NumPy: every pair of mantissas, samples, offsets, the command's ways."""
import csv
import io
import json
import xml.etree.ElementTree

import numpy as np
import pytest


def truncate(mantissa, m, k):
    """Codes of m bits cut to k (or kept), still in units of 2^-m."""
    return mantissa if k >= m else mantissa >> (m - k) << (m - k)


def to_nearest(mantissa, m, k):
    """Ties to even; 2^m is the next binade's first."""
    if k >= m:
        return mantissa
    step = 1 << (m - k)
    below, rest = np.divmod(mantissa, step)
    up = (2 * rest > step) | ((2 * rest == step) & (below % 2 == 1))
    return (below + up) * step


def adder(x, w, m, l):
    """Patterns of mantissas (m bits, carries in the exponent) added as integers, then read."""
    total = x + w + (2 ** (m - l) if l else 0)
    return np.ldexp(1 + (total % 2 ** m) / 2 ** m, total // 2 ** m)


def formula(x, w, m, l):
    carry_x, carry_w = x >> m, w >> m
    fraction = (x % 2 ** m + w % 2 ** m) / 2 ** m + (2.0 ** -l if l else 0)
    return np.ldexp(1 + fraction, carry_x + carry_w)


def exact(x, w, m, _):
    return (1 + x / 2 ** m) * (1 + w / 2 ** m)


# L-Mul's l(k): k to 3, then 3, then 4.
CASES = {
    "lmul-m2": (truncate, 2, adder, 2), "lmul-m3": (truncate, 3, adder, 3),
    "lmul-m4": (truncate, 4, adder, 3), "lmul-m6": (truncate, 6, adder, 4),
    "lmul-m7": (truncate, 7, adder, 4), "mitchell": (truncate, 7, adder, 0),
    "lmul-m3-rne": (to_nearest, 3, adder, 3), "lmul-m4-rne": (to_nearest, 4, adder, 3),
    "lmul-m7-rne": (to_nearest, 7, adder, 4), "lmul-formula-m4": (truncate, 4, formula, 3),
    "lmul-formula-m3-rne": (to_nearest, 3, formula, 3), "fp8_e4m3": (to_nearest, 3, exact, 0),
    "fp8_e5m2-rtz": (truncate, 2, exact, 0), "f16": (to_nearest, 10, exact, 0),
}


@pytest.mark.parametrize("m", [6, 9])
def test_every_pair_of_mantissas(napier, m):
    done = napier("error", "--operands", "mantissa", "--source-bits", m, "--json", "--arith",
                  ",".join(CASES))
    assert done.returncode == 0, done.stderr
    rows = {row["arith"]: row for row in json.loads(done.stdout)["products"]}
    assert list(rows) == list(CASES)
    code = np.arange(2 ** m)
    true = np.multiply.outer(1 + code / 2 ** m, 1 + code / 2 ** m)
    wide = max(m, 9)  # a grid on which the offset is whole
    for name, (shorten, k, multiply, l) in CASES.items():
        kept = shorten(code, m, k) << (wide - m)
        product = multiply(kept[:, None], kept[None, :], wide, l)
        relative = product / true - 1
        errors = rows[name]["errors"]
        expected = {"bias": relative.mean(), "mean_abs": abs(relative).mean(),
                    "rms": np.sqrt((relative ** 2).mean()), "variance": relative.var(),
                    "max_abs": abs(relative).max(), "mean_step": (product - true).mean(),
                    "nmse": ((product - true) ** 2).sum() / (true ** 2).sum(),
                    "gain": (product * true).sum() / (true ** 2).sum()}
        for key, value in expected.items():
            assert errors[key] == pytest.approx(value, rel=1e-12, abs=1e-12), (name, key)
        assert rows[name]["enumerated"] and errors["bias_error"] == 0
        assert rows[name]["closed_form"]["mean_step"] == pytest.approx(errors["mean_step"],
                                                                      abs=1e-12)


def test_every_pair_of_codes_of_a_table(napier, tmp_path):
    """A file of products of int8: its error on all pairs, each alike, and as a law has them."""
    generator = np.random.default_rng(1614)
    code = np.arange(256)
    number = np.where(code < 128, code, code - 256)
    true = np.multiply.outer(number, number)
    table = true + generator.integers(-40, 41, true.shape)
    np.savetxt(tmp_path / "products.txt", table, fmt="%d")
    mul = f"mul=table(file={tmp_path}/products.txt)"
    scaled = f"x=int8@tensor(f32,given=0.03)/w=int8@tensor(f32,given=0.03)/{mul}"
    done = napier("error", "--show", "codes", "--operands", "codes,gaussian", "--json", "--arith",
                  f"{scaled},x=int8@row/w=int8@row/{mul}")
    rows = json.loads(done.stdout)["products"]
    assert [row["enumerated"] for row in rows] == [True, True, True, False], done.stderr
    used = true != 0
    relative = table[used] / true[used] - 1
    for row in rows[:2]:  # codes alike: a scale plays no part
        expected = {"bias": relative.mean(), "mean_abs": abs(relative).mean(),
                    "rms": np.sqrt((relative ** 2).mean()), "max_abs": abs(relative).max(),
                    "nmse": ((table - true)[used] ** 2).sum() / (true ** 2).sum(),
                    "zeros": 1 - used.mean(), "wrong_zeros": (table[~used] != 0).mean()}
        for key, value in expected.items():
            assert row["errors"][key] == pytest.approx(value, rel=1e-12, abs=1e-12), key
        assert row["errors"]["bias_error"] == 0
    x, w = (np.clip(np.round(generator.normal(size=400000) / 0.03), -128, 127).astype(int) & 255
            for _ in range(2))
    used = true[x, w] != 0
    relative = (table[x, w] / np.where(used, true[x, w], 1) - 1)[used]
    assert abs(rows[2]["errors"]["bias"] - relative.mean()) < (
        4 * relative.std() / np.sqrt(len(relative)))
    assert rows[3]["errors"]["bias_error"] > 0


def parts(values):
    mantissa, exponent = np.frexp(np.abs(values))
    return np.round((2 * mantissa - 1) * 2 ** 23).astype(np.int64), exponent - 1


LAWS = {
    "uniform": lambda g, n: g.uniform(-1, 1, n),
    "loguniform": lambda g, n: np.exp2(g.uniform(-4, 4, n)) * g.choice([-1, 1], n),
    "gaussian": lambda g, n: g.normal(size=n),
    "student(3)": lambda g, n: g.standard_t(3, n),
}


@pytest.mark.parametrize("law", LAWS)
def test_samples_agree_with_numpys(napier, law, seed):
    done = napier("error", "--operands", law, "--pairs", 200000, "--json", "--arith",
                  "lmul-m4,lmul-m3-rne,mitchell")
    n = 400000
    generator = np.random.default_rng(seed)
    x, w = (LAWS[law](generator, n).astype(np.float32).astype(np.float64) for _ in range(2))
    (mx, ex), (mw, ew) = parts(x), parts(w)
    for row in json.loads(done.stdout)["products"]:
        shorten, k, multiply, l = CASES[row["arith"]]
        product = np.ldexp(multiply(shorten(mx, 23, k), shorten(mw, 23, k), 23, l), ex + ew)
        relative = product / np.abs(x * w) - 1
        for key, values in [("bias", relative), ("mean_abs", abs(relative))]:
            spread = np.hypot(row["errors"][key + "_error"], values.std() / np.sqrt(n))
            assert abs(row["errors"][key] - values.mean()) < 4 * spread, (law, row["arith"], key)
            assert spread < 1e-3


def test_the_heaviest_tails_have_figures(napier):
    """Student's t with a tenth of a degree of freedom leaves f32's range in 1 of 7000 draws."""
    for show in ("products", "dots"):
        done = napier("error", "--operands", "student(0.1)", "--show", show, "--pairs", 100000,
                      "--lengths", 16, "--arith", "lmul-m4,fp8_e4m3", "--json")
        for row in json.loads(done.stdout)[show]:
            figures = {key: value for key, value in row["errors"].items()}
            assert None not in figures.values(), (show, row["arith"], figures)
    done = napier("error", "--operands", "student(0.1)", "--arith", "x=e5m2:inf/w=e5m2:inf")
    header, _, row = done.stdout.splitlines()[:3]
    assert "not finite" in header and " 0.00 %  +" not in row, done.stdout


def test_offsets_are_the_best_of_a_scan(napier):
    done = napier("error", "--operands", "mantissa", "--show", "offsets", "--keep", "3,7",
                  "--json")
    document = json.loads(done.stdout)["offsets"][0]
    code = np.arange(2 ** 10)
    true = np.multiply.outer(1 + code / 2 ** 10, 1 + code / 2 ** 10)
    for best in document["best"]:
        kept = truncate(code, 10, best["k"]) / 2 ** 10
        total = np.add.outer(kept, kept)
        scan = np.linspace(0, 0.3, 301)
        products = [np.maximum(np.maximum(1 + total + c, 2 * (total + c)), 4 * (total + c - 1))
                    for c in scan]
        squares = [((p - true) ** 2).sum() for p in products]
        bias = [(p / true).mean() - 1 for p in products]
        assert best["least_squares"] == pytest.approx(scan[np.argmin(squares)], abs=4e-3)
        assert best["unbiased"] == pytest.approx(np.interp(0, bias, scan), abs=4e-3)
    grid = {(c["k"], c["l"]): c for c in document["grid"]}
    assert [l for (k, l), c in grid.items() if c["papers"]] == [3, 4]
    assert grid[7, 4]["products"]["nmse"] == min(c["products"]["nmse"]
                                                 for (k, l), c in grid.items() if k == 7)


def test_csv_and_plots(napier, tmp_path):
    svg = tmp_path / "dots.svg"
    done = napier("error", "--show", "dots", "--operands", "gaussian", "--lengths", "16,256",
                  "--arith", "lmul-m4,lmul-m4/acc=bf16", "--csv", "--svg", svg)
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [(r["arith"], r["length"]) for r in rows] == [
        ("lmul-m4", "16"), ("lmul-m4/acc=bf16", "16"),
        ("lmul-m4", "256"), ("lmul-m4/acc=bf16", "256")]
    figures = [float(r["snr_db"]) for r in rows]
    assert figures[3] < figures[2] - 0.3, "a bf16 accumulator costs at 256 products"
    text = "".join(xml.etree.ElementTree.parse(svg).getroot().itertext())
    assert "lmul-m4/acc=bf16" in text and "gaussian" in text


def test_a_models_operands(napier, shared):
    common = ["error", shared("data/models/stories260K.gguf"), "--text",
              shared("data/text/tinystories.txt"), "--ctx", 128]
    done = napier(*common, "--arith", "lmul-m4,x=e0m7@row/w=e0m7@row", "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["products"]
    assert {row["operands"] for row in rows} == {
        "attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down", "output",
        "kq", "kqv"}
    for row in rows:
        if row["arith"] == "lmul-m4":
            assert 0.02 < row["errors"]["mean_abs"] < 0.04
            # Masked tokens, and slots of the cache that are still empty.
            assert (row["errors"]["zeros"] > 0) == (row["operands"] in ("kq", "kqv"))
    one = napier(*common, "--arith", "lmul-m4", "--by", "matmul", "--csv")
    assert "blk.4.attn_q.weight,lmul-m4" in one.stdout and "kqv-0,lmul-m4" in one.stdout


@pytest.mark.parametrize("arguments, words", [
    (["--show", "codes", "--arith", "lmul-m4"], "8 bits"), (["--operands", "codes"], "enumerated"),
    (["--operands", "cauchy"], "no law"), (["--operands", "student(0)"], "no law"),
    (["--operands", "student(2"], "no law"), (["--pairs", "5"], "--pairs"),
    (["--source-bits", "15"], "--source-bits"), (["--arith", "lmul-m99"], "lmul-m99"),
    (["--show", "dots", "--lengths", "0"], "--lengths"), (["--svg", "x.svg"], "--svg"),
    (["--show", "offsets", "--keep", "24"], "--keep"),
    (["--show", "dots", "--lengths", "48", "--arith", "x=e4m3@block32"], "48"),
    (["--seed", "99999999999999999999999"], "--seed"), (["--seed", "-1"], "--seed"),
    (["nothing.gguf", "--text", "t", "--operands", "gaussian"], "excludes"),
    (["--operands", "gaussian,"], "expected a law of operands"),
    (["nothing.gguf"], "--text"), (["nothing.gguf", "--text", "t"], "no such file"),
])
def test_wrong_requests(napier, arguments, words, tmp_path):
    done = napier("error", *arguments, cwd=tmp_path)
    assert done.returncode == 2 and words in done.stderr, done.stderr
    assert done.stderr.count("\n") == 1 and not list(tmp_path.iterdir())
