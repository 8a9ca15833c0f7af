"""What the steps compute, once more by the papers' formulas in NumPy, from the statistics that the
computed file keeps and the model's weights."""
import re
import shutil
import sqlite3
from pathlib import Path

import gguf
import numpy as np
import pytest

RECIPES = Path(__file__).resolve().parents[2] / "recipes"


class Computed:
    def __init__(self, model, path):
        tensors = {t.name: t for t in gguf.GGUFReader(model).tensors}
        with sqlite3.connect(path) as database:
            self.statistics = {(matrix, what): np.frombuffer(blob) for matrix, what, blob in
                               database.execute("SELECT matrix, what, numbers FROM statistic")}
            self.numbers = {(place, what): np.frombuffer(blob) for place, what, blob in
                            database.execute("SELECT place, what, numbers FROM number")}
            rules = list(database.execute("SELECT place, written FROM rule ORDER BY place"))
        database.close()
        self.matrices = []  # (place, name, written product, weights in f64)
        for place, written in rules:
            name, product = written.split(" -> ")
            self.matrices.append((place, name, product,
                                  np.array(tensors[name].data, dtype=np.float64)))
        assert len(self.matrices) == 36


@pytest.fixture(scope="module")
def computed(napier, shared, opening, tmp_path_factory):
    model = Path(shutil.copy(shared("data/models/stories260K.gguf"),
                             tmp_path_factory.mktemp("steps") / "model.gguf"))

    def run(recipe):
        done = napier("quantize", model, "--recipe", RECIPES / f"{recipe}.toml", "--calibrate",
                      opening("data/text/tinystories_train.txt"), "--chunks", 2)
        assert done.returncode == 0, done.stderr
        return Computed(model, f"{model}.{recipe}.napier")

    return run


def static(text):
    """The scale and the code of zero that stand in an operand."""
    scale, zero = re.fullmatch(r".*given=([^:)]+)(?::(-?\d+))?\).*", text).groups()
    return float(scale), int(zero or 0)


def asymmetric(least, greatest, bits):
    """MobileQuant's: a = (fmax - fmin) / (2^b - 1), zero at -round(fmin / a)."""
    least, greatest = min(least, 0), max(greatest, 0)
    scale = (greatest - least) / (2**bits - 1)
    return scale, -round(least / scale)


def test_mobilequants_factors_and_static_ranges(computed):
    """SmoothQuant's factors (eq. 4, alpha = 1/2), ranges of equalised activations and results."""
    file = computed("mobilequant")
    for place, name, product, weights in file.matrices:
        absmax, least, greatest, (_, result_least, result_greatest) = (
            file.statistics[name, what] for what in ("absmax", "least", "greatest", "totals"))
        factors = np.sqrt(absmax) / np.sqrt(np.abs(weights).max(axis=0))
        assert file.numbers[place, "factors"] == pytest.approx(factors, rel=1e-6), name
        factors = file.numbers[place, "factors"]
        x, result = re.fullmatch(r"x=(.*)/w=[^ ]* with (?:result\((.*)\) )?equalise",
                                 product).groups()
        scale, zero = asymmetric((least / factors).min(), (greatest / factors).max(), 8)
        assert static(x) == (pytest.approx(scale, rel=1e-6), zero), name
        assert (result is None) == (name == "output.weight")
        if result is None:
            continue
        wide = name.endswith(("attn_output.weight", "ffn_down.weight"))  # the 16-bit islands
        assert result.startswith("uint16" if wide else "uint8")
        scale, zero = asymmetric(result_least, result_greatest, 16 if wide else 8)
        assert static(result) == (pytest.approx(scale, rel=1e-6), zero), name


def test_llm_fp4s_shifts_and_biases(computed):
    """The pre-shifted exponents of eq. 15, rounded, and a bias of algorithm 1's grid."""
    file = computed("llm-fp4")
    for place, name, product, _ in file.matrices:
        absmax = file.statistics[name, "absmax"]
        with np.errstate(divide="ignore"):
            bias = -np.log2(absmax)  # but for a constant; rho is the least
        shift = np.clip(np.rint(bias - bias.min()), 0, 3)
        factors = file.numbers[place, "factors"]
        assert (factors == np.exp2(-np.where(absmax > 0, shift, 0))).all(), name
        e, m = map(int, re.match(r"x=e(\d)m(\d)(?:none|fn)@tensor", product).groups())
        assert (e, m) in {(3, 0), (2, 1), (1, 2)}
        largest = (2 - 2.0**-m) * 2.0**(2**e - 1 - (2**(e - 1) - 1))  # of the format without a bias
        minmax = 2**e - np.log2((absmax / factors).max()) + np.log2(2 - 2.0**-m) - 1
        biases = minmax * np.append(np.linspace(0.01, 1.2, 100), 1)
        scales = (2 - 2.0**-m) * 2.0**(2**e - 1 - biases) / largest
        scale, zero = static(product)
        assert zero == 0 and np.isclose(scales, scale, rtol=1e-6).any(), name
        w = re.search(r"/w=(.*)@row(\(f32,mse\))?/mul=exact/acc=f32 with equalise$", product)
        assert w[1] in {"e3m0none", "e2m1fn", "e1m2none"}, name


def power(weights, a):
    """PowerQuant's weights: sign(w) (round(7 |w|^a / max^a) / 7)^(1/a) max, a channel a scale."""
    largest = np.abs(weights).max(axis=1, keepdims=True)
    codes = np.rint(7 * (np.abs(weights) / largest)**a)
    return np.sign(weights) * (codes / 7)**(1 / a) * largest


def test_powerquants_exponent_is_of_least_error(computed):
    file = computed("powerquant")
    grid = np.arange(30, 101, 5)
    errors = [sum(np.square(power(w, a / 100) - w).sum() / np.square(w).sum()
                  for _, _, _, w in file.matrices) for a in grid]
    best = grid[np.argmin(errors)]
    assert {product for _, _, product, _ in file.matrices} == {
        f"x=bf16/w=pow4a{best}@row/mul=exact/acc=f32"}


def test_hawqs_bits_are_the_optimum(computed):
    """Least sum of sensitivity times squared weight error within 48 bit operations a weight, found
    again by dynamic programming over the budget."""
    file = computed("hawq-v3")
    places = []
    for _, name, product, weights in file.matrices:
        rows = file.statistics[name, "totals"][0]
        sensitivity = file.statistics[name, "squares"].sum() / rows / weights.shape[1]
        error = {}
        for bits in (4, 8):
            scale = np.abs(weights).max(axis=1, keepdims=True) / (2**(bits - 1) - 1)
            error[bits] = sensitivity * np.square(np.rint(weights / scale) * scale - weights).sum()
        chosen = int(re.match(r"x=int(\d)@tensor", product)[1])
        assert product.endswith(f"/w=int{chosen}@row/mul=exact/acc=int32")
        places.append((weights.size, error, chosen))
    unit = np.gcd.reduce([size for size, _, _ in places])
    room = sum(size for size, _, _ in places) * (48 - 16) // 48 // unit  # of weights in 8 bits
    best = np.full(room + 1, sum(error[4] for _, error, _ in places))
    for size, error, _ in places:
        size //= unit
        best[size:] = np.minimum(best[size:], best[:room + 1 - size] + error[8] - error[4])
    assert sum(size for size, _, chosen in places if chosen == 8) // unit <= room
    found = sum(error[chosen] for _, error, chosen in places)
    assert found == pytest.approx(best.min(), rel=1e-4)

