"""What llama.cpp's own llama-perplexity, unmodified, measures: the perplexity without any other
arithmetic, and the divergence under one, by its own arithmetic of divergences."""
import json
import os
import re
import subprocess

import numpy as np
import pytest

# Of the unmodified llama.cpp, on tinystories.txt, 40 chunks of 512, attention not fused, K and V
# in f32.
KNOWN = {"stories260K": 4.9772, "stories3M": 7.5304}
LAST_DIGIT = 1e-4


@pytest.fixture(scope="module")
def llama_perplexity(build_dir, text_path, until_written):
    """llama_perplexity(pattern, words..., plan): the output of a run that has the pattern in it;
    with a plan, under the plugin."""
    tool, plugin = build_dir / "bin/llama-perplexity", build_dir / "libggml-napier.so"
    for file in (tool, plugin):
        if not file.exists():
            pytest.skip(f"SKIPPED: needs {file} (target napier_llama_tools)")

    def run(pattern, *arguments, plan=None):
        command = [tool, "-f", text_path, "-fa", "off", "-ctk", "f32", "-ctv", "f32", *arguments]
        more = {"LD_PRELOAD": str(plugin), "NAPIER_PLAN": plan} if plan else {}
        done = until_written(lambda: subprocess.run(list(map(str, command)), capture_output=True,
                                                    text=True, env=os.environ | more), pattern)
        assert re.search(pattern, done.stdout + done.stderr), done.stderr[-2000:]
        return done.stdout + done.stderr

    return run


@pytest.mark.parametrize("name", KNOWN)
def test_perplexity_is_llama_cpps(name, napier, shared, text_path, llama_perplexity, report):
    model = shared(f"data/models/{name}.gguf")
    size = ["--chunks", "40"]
    estimate = r"Final estimate: PPL = ([0-9.]+)"
    told = llama_perplexity(estimate, "-m", model, "-c", 512, *size, "-t", 2)
    theirs = float(re.search(estimate, told)[1])
    assert abs(theirs - KNOWN[name]) <= LAST_DIGIT

    ours = napier("eval", model, "--text", text_path, "--ctx", 512, *size, "--arith", "f32",
                  "--json")
    assert ours.returncode == 0, ours.stderr
    perplexity = json.loads(ours.stdout)["reference"]["perplexity"]
    report(f"{name}: llama-perplexity {theirs}, napier eval {perplexity:.6f}")
    assert abs(perplexity - theirs) <= LAST_DIGIT


def kept_of_the_base(logits):
    """Log-probabilities as llama-perplexity's file of them keeps them (tools/perplexity,
    log_softmax): cut off 16 nats below the largest logit, the rest in 65536 even steps; all of it
    in f32 but the sum of the exponentials."""
    top = logits.max(axis=1, keepdims=True)
    bottom = np.maximum(logits.min(axis=1, keepdims=True), top - np.float32(16))
    total = np.log(np.exp(logits - top).astype(np.float64).sum(axis=1, keepdims=True))
    lowest = bottom - top - total.astype(np.float32)
    step = (top - bottom) / np.float32(65535)
    codes = np.where(logits > bottom, np.rint((np.float32(1) / step) * (logits - bottom)), 0)
    return step * codes.astype(np.float32) + lowest


def divergences_from(base, logits):
    """Of each token, as llama-perplexity: tokens below exp(-16) in the base are left out."""
    logits = logits.astype(np.float64)
    top = logits.max(axis=1, keepdims=True)
    norm = top + np.log(np.exp(logits - top).sum(axis=1, keepdims=True))
    base = base.astype(np.float64)
    terms = np.exp(base) * (base - (logits - norm))
    return np.where(base > -16, terms, 0).sum(axis=1)


def percentile(values, fraction):
    """As llama-perplexity, in f32."""
    values = np.sort(values).astype(np.float32)
    place = np.float32(fraction) * np.float32(len(values) - 1)
    below = int(place)
    part = place - np.float32(below)
    return (1 - part) * values[below] + part * values[below + 1]


@pytest.mark.parametrize("name, arithmetic", [("stories260K", "lmul-m4"),
                                              ("stories260K", "fp8_e5m2"),
                                              ("stories3M", "lmul-m3")])
def test_divergence_is_llama_cpps_once_its_base_is_cut_and_quantised(
        name, arithmetic, napier, shared, text_path, llama_perplexity, tmp_path, report):
    model, context, chunks = shared(f"data/models/{name}.gguf"), 256, 20
    base = tmp_path / "base"
    size = ["-m", model, "-c", context, "-b", context, "-t", 1, "--kl-divergence-base", base]
    llama_perplexity("PPL = ", *size, "--chunks", chunks, plan="f32")
    figures = {"kl_mean": r"Mean +KLD: +([0-9.]+)", "kl_max": r"Maximum KLD: +([0-9.]+)",
               "kl_p99": r"99\.0% +KLD: +([0-9.]+)", "kl_median": r"Median +KLD: +([0-9.]+)"}
    told = llama_perplexity("Same top p", *size, "--kl-divergence", plan=arithmetic)
    theirs = {key: float(re.search(pattern, told)[1]) for key, pattern in figures.items()}

    done = napier("eval", model, "--text", text_path, "--ctx", context, "--chunks", chunks,
                  "--arith", arithmetic, "--threads", 1, "--logits", tmp_path / "logits", "--json")
    assert done.returncode == 0, done.stderr
    reference, logits = (np.load(tmp_path / f"logits/{number}.npy") for number in (0, 1))
    kl = divergences_from(kept_of_the_base(reference), logits)
    ours = {"kl_mean": kl.mean(), "kl_max": kl.max(), "kl_p99": percentile(kl, .99),
            "kl_median": np.median(kl)}
    exact = json.loads(done.stdout)["results"][0]
    report(f"{name}, {arithmetic}: KL of llama-perplexity {theirs['kl_mean']:.6f}, ours by its "
           f"rule {ours['kl_mean']:.6f}, unclipped {exact['kl_mean']:.6f}; largest of a token "
           f"{theirs['kl_max']:.6f}, {ours['kl_max']:.6f}, {exact['kl_max']:.6f}")
    for key in figures:
        assert ours[key] == pytest.approx(theirs[key], abs=2e-6), key
