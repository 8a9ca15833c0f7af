"""Perplexity and divergence under L-Mul, by the oracle and by `napier eval`.

The products and, per matrix, the sums are the same bits (test_matmuls.py). Over a whole model they
cannot be: norms, soft-max and SiLU differ in the last bit between any two implementations, now and
then such a bit decides which way an operand is truncated, and the difference travels on. How far,
the oracle shows by itself: run with sums in another, equally legal, order. BOS makes this worse:
the same first position stands in every chunk, so what a flip changes there does not average out.
"""
import json
from dataclasses import dataclass

import numpy as np
import pytest

from oracle.evaluate import Figures, evaluate
from oracle.llama import plain
from oracle.lmul import LMul, exact_matmul

CONTEXT = 256
ORDERS = ["f64", "f32", "f32 reversed"]  # of the oracle's sums; the first is compared with Napier
LMULS = {
    "lmul-m4": LMul(4),
    "lmul-m3": LMul(3),
    "lmul-formula-m4": LMul(4, "formula"),
    "lmul-formula-m3": LMul(3, "formula"),
}
# Of Napier's plans: what is left to the engine is computed in f32 there.
SETUPS = {"everywhere": "* -> {0}", "attention": "kq-* -> {0}; kqv-* -> {0}"}
PERPLEXITY_TOLERANCE = 0.005
KL_TOLERANCE = 0.03


def multiplier(lmul, setup, sums):
    """The oracle's matrix product under a setup."""

    def multiply(name, x, w):
        if setup == "everywhere" or name.startswith(("kq-", "kqv-")):
            return lmul.matmul(x, w, sums)
        return exact_matmul(x, w, sums)

    return multiply


@dataclass
class Comparison:
    chunks: int
    oracle: dict[str, Figures]  # by (arithmetic, setup, order of sums), and "f32"
    napier: dict[str, dict]  # by (arithmetic, setup), and "f32": the fields of the JSON


@pytest.fixture(scope="module")
def comparison(model, tokens, napier, model_path, text_path, full_tier):
    chunks = 80 if full_tier else 20
    names = LMULS if full_tier else ["lmul-m4", "lmul-m3"]
    cases = [(name, setup) for setup in SETUPS for name in names]
    courses = {(name, setup, sums): multiplier(LMULS[name], setup, sums)
               for name, setup in cases for sums in ORDERS}
    oracle = evaluate(model, tokens, CONTEXT, chunks, courses | {"f32": plain})

    plans = [SETUPS[setup].format(name) for name, setup in cases]
    done = napier("eval", model_path, "--text", text_path, "--ctx", CONTEXT, "--chunks", chunks,
                  "--threads", 1, "--json", *(word for plan in plans for word in ("--plan", plan)))
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    return Comparison(chunks, oracle, dict(zip(cases, answer["results"], strict=True))
                      | {"f32": answer["reference"]})


def apart(a, b):
    """How far a is from b, as a part of b."""
    return abs(a - b) / b


def test_reference(comparison, report):
    """Without L-Mul nothing is truncated: the figures agree to f32 accuracy."""
    expected, actual = comparison.oracle["f32"].perplexity, comparison.napier["f32"]["perplexity"]
    report(f"ctx {CONTEXT}, {comparison.chunks} chunks, {CONTEXT * comparison.chunks} tokens")
    report(f"{'f32':28} perplexity: oracle {expected:.6f}, Napier {actual:.6f}")
    assert apart(actual, expected) < 1e-5


@pytest.mark.parametrize("setup", SETUPS)
@pytest.mark.parametrize("name", LMULS)
def test_lmul(comparison, report, name, setup):
    if (name, setup) not in comparison.napier:
        pytest.skip("in the long tier")
    figures = [comparison.oracle[name, setup, sums] for sums in ORDERS]
    actual = comparison.napier[name, setup]
    wrong = []
    for what, field, tolerance in [("perplexity", "perplexity", PERPLEXITY_TOLERANCE),
                                   ("mean KL", "kl_mean", KL_TOLERANCE)]:
        oracle = [getattr(figure, field) for figure in figures]
        spread = (max(oracle) - min(oracle)) / oracle[0]
        difference = apart(actual[field], oracle[0])
        report(f"{name + ' ' + setup:28} {what}: oracle {oracle[0]:.5f} (sums in other orders "
               f"{', '.join(f'{value:.5f}' for value in oracle[1:])}: spread {spread:.3%}), "
               f"Napier {actual[field]:.5f}: {difference:.3%} apart")
        if difference > tolerance:
            wrong.append(what)
    assert not wrong, f"{wrong} further apart than allowed"


def test_another_reading_is_found(comparison, model, tokens):
    """The tolerances tell the readings apart: Eq. 1 in place of the adder is far outside them."""
    other = multiplier(LMULS["lmul-formula-m4"], "everywhere", "f64")
    figures = evaluate(model, tokens, CONTEXT, 2, {"f32": plain, "other": other})["other"]
    first = len(figures.nll)
    adder = comparison.oracle["lmul-m4", "everywhere", "f64"]
    assert apart(figures.perplexity, float(np.exp(adder.nll[:first].mean()))) > 0.05
    assert apart(figures.kl_mean, float(adder.kl[:first].mean())) > 0.5
