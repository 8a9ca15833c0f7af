"""`napier where` against the oracle's forward pass: signal-to-noise ratios, histograms, what one
switched multiplication does."""
import json
from collections import Counter

import numpy as np
import pytest

from oracle.evaluate import evaluate
from oracle.llama import plain
from oracle.lmul import LMul

CONTEXT, CHUNKS = 64, 2
LMUL = LMul(4)
SWITCHED = ["kq-2", "blk.0.attn_k.weight", "output.weight"]


@pytest.fixture(scope="module")
def found(napier, model_path, text_path):
    done = napier("where", model_path, "--text", text_path, "--ctx", CONTEXT, "--chunks", CHUNKS,
                  "--arith", "lmul-m4,f32", "--threads", 1, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def operands(model, tokens):
    """{name: [(x, w) of each chunk]} of the oracle's f32 forward pass; logits of second halves."""
    result = {}

    def multiply(name, x, w):
        # llama.cpp drops what gives no logits before the last layer's feed-forward part.
        outputs = x[CONTEXT // 2:] if name.startswith(f"blk.{model.layers - 1}.ffn_") else x
        result.setdefault(name, []).append((outputs, w))
        return plain(name, x, w)

    for chunk in range(CHUNKS):
        ids = np.array(tokens[chunk * CONTEXT:(chunk + 1) * CONTEXT])
        ids[0] = model.bos
        model.logits(ids, multiply, CONTEXT // 2)
    return result


def signal_to_noise(pairs):
    signal = noise = 0
    for x, w in pairs:
        exact = np.matmul(x.astype(np.float64), np.swapaxes(w, -1, -2).astype(np.float64))
        signal += (exact**2).sum()
        noise += ((LMUL.matmul(x, w) - exact)**2).sum()
    return 10 * np.log10(signal / noise)


def test_every_matmul_is_there_once(found, model, operands):
    names = [matmul["name"] for matmul in found["matmuls"]]
    assert sorted(names) == sorted(operands) and len(names) == 9 * model.layers + 1


def test_signal_to_noise(found, operands, report):
    worst = 0
    for matmul in found["matmuls"]:
        expected = signal_to_noise(operands[matmul["name"]])
        worst = max(worst, abs(matmul["snr_db"]["lmul-m4"] - expected))
        assert matmul["snr_db"]["f32"] > 120, matmul["name"]  # sums in f32 against sums in f64
    report(f"signal-to-noise of {len(found['matmuls'])} products under lmul-m4: {worst:.3f} dB "
           "from the oracle's at most")
    assert worst < 0.1


def histogram(values):
    values = np.abs(values[values != 0].astype(np.float64))
    mantissas, exponents = np.frexp(values)
    bins = np.bincount(((2 * mantissas - 1) * 32).astype(int), minlength=32)
    return Counter((exponents - 1).tolist()), bins.tolist()


def test_histograms_of_weights(found, operands):
    for matmul in found["matmuls"]:
        if matmul["name"].startswith("k"):
            continue
        weights = np.concatenate([w.ravel() for _, w in operands[matmul["name"]]])
        exponents, mantissas = histogram(weights)
        assert matmul["w"]["exponents"] == {str(e): n for e, n in sorted(exponents.items())}
        assert matmul["w"]["mantissas"] == mantissas
        assert matmul["w"]["zeros"] == int((weights == 0).sum())


def test_histograms_of_activations(found, operands):
    """The last bit of a norm differs, so a value or two may fall into the next bin."""
    for matmul in found["matmuls"]:
        if matmul["name"].startswith("kqv"):  # padded with zeros, and its tails underflow
            continue
        values = np.concatenate([x.ravel() for x, _ in operands[matmul["name"]]])
        expected, mantissas = histogram(values)
        actual = {int(e): n for e, n in matmul["x"]["exponents"].items()}
        moved = sum(abs(expected[e] - actual.get(e, 0)) for e in set(expected) | set(actual))
        assert moved <= 0.001 * len(values), matmul["name"]
        assert np.abs(np.array(mantissas) - matmul["x"]["mantissas"]).sum() <= 0.002 * len(values)


@pytest.mark.parametrize("name", SWITCHED)
def test_one_switched(found, model, tokens, report, name):
    def multiply(other, x, w):
        return LMUL.matmul(x, w) if other == name else plain(other, x, w)

    expected = evaluate(model, tokens, CONTEXT, CHUNKS, {"f32": plain, name: multiply})[name]
    parts = found["arithmetics"][0]["parts"]
    actual = next(p for p in parts if (p["part"], p["name"]) == ("matmul", name))
    report(f"only {name} under lmul-m4: KL {actual['kl_mean']:.3e}, the oracle's "
           f"{expected.kl_mean:.3e}")
    assert actual["kl_mean"] == pytest.approx(expected.kl_mean, rel=0.05)
    assert actual["perplexity"] == pytest.approx(expected.perplexity, rel=1e-3)


def test_parts_are_plans(found, napier, model_path, text_path):
    """Roles and layers are what napier eval gives for the plans that say the same."""
    plans = {("role", "ffn_up"): "blk.?.ffn_up.weight -> lmul-m4; * -> f32",
             ("layer", "3"): "blk.3.* -> lmul-m4; kq-3 -> lmul-m4; kqv-3 -> lmul-m4; * -> f32"}
    done = napier("eval", model_path, "--text", text_path, "--ctx", CONTEXT, "--chunks", CHUNKS,
                  "--threads", 1, "--json", *(w for p in plans.values() for w in ("--plan", p)))
    assert done.returncode == 0, done.stderr
    parts = {(p["part"], p["name"]): p for p in found["arithmetics"][0]["parts"]}
    for key, result in zip(plans, json.loads(done.stdout)["results"]):
        assert parts[key]["kl_mean"] == result["kl_mean"] > 0
        assert parts[key]["perplexity"] == result["perplexity"]
    f32 = found["arithmetics"][1]
    assert all(part["kl_mean"] == 0 for part in f32["parts"])


def test_a_wrong_ratio_would_be_found(found, operands):
    """The tolerance tells neighbouring layers apart."""
    ratios = {m["name"]: m["snr_db"]["lmul-m4"] for m in found["matmuls"]}
    assert abs(ratios["kq-2"] - signal_to_noise(operands["kq-0"])) > 0.1
