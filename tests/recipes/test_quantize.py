"""napier quantize: what it writes, what it goes on with, what it refuses."""
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
import planted

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
TEXT = "data/text/tinystories_train.txt"


@pytest.fixture
def model(shared, tmp_path):
    return Path(shutil.copy(shared("data/models/stories260K.gguf"), tmp_path / "model.gguf"))


@pytest.fixture
def quantize(napier, opening):
    def run(model, recipe, *arguments, text=TEXT, chunks=3):
        path = recipe if Path(recipe).is_absolute() else RECIPES / f"{recipe}.toml"
        done = napier("quantize", model, "--recipe", path, "--calibrate", opening(text), "--chunks",
                      chunks, "--json", *arguments)
        return done

    return run


def matrices(done):
    assert done.returncode == 0, done.stderr
    return {m["name"]: m for m in json.loads(done.stdout)["matrices"]}


def refused(done, *words):
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert done.stderr.startswith("napier: ") and done.stderr.count("\n") == 1, done.stderr
    for word in words:
        assert word in done.stderr


def statistics(path):
    with sqlite3.connect(path) as database:
        return {(matrix, what): np.frombuffer(blob) for matrix, what, blob in
                database.execute("SELECT matrix, what, numbers FROM statistic")}


def test_a_recipe_is_computed_once_and_then_found(napier, quantize, model, shared):
    evaluate = ["eval", model, "--text", shared("data/text/tinystories.txt"), "--chunks", 1,
                "--json", "--plan", RECIPES / "mobilequant.toml"]
    refused(napier(*evaluate), "mobilequant.napier", "napier quantize", "--calibrate")
    matrices(quantize(model, "mobilequant"))
    first = napier(*evaluate)
    assert first.returncode == 0, first.stderr
    again = napier(*evaluate, "--calibrate", shared(TEXT))  # which is not read again
    result = [json.loads(d.stdout)["results"][0] for d in (first, again)]
    assert result[0]["perplexity"] == result[1]["perplexity"]
    assert "given=" in result[0]["plan"] and "with result(uint16@tensor" in result[0]["plan"]
    os.remove(f"{model}.mobilequant.napier")
    on_the_way = napier(*evaluate, "--calibrate", shared(TEXT))
    assert on_the_way.returncode == 0, on_the_way.stderr
    assert Path(f"{model}.mobilequant.napier").exists()


def test_statistics_are_those_of_the_activations(napier, quantize, model, shared):
    """The first norm's output is known without the model's graph: embeddings, normed."""
    import gguf

    found = matrices(quantize(model, "mobilequant", chunks=2))
    stored = statistics(f"{model}.mobilequant.napier")
    tensors = {t.name: np.array(t.data) for t in gguf.GGUFReader(model).tensors}
    logits = model.parent / "logits"
    done = napier("eval", model, "--text", shared(TEXT), "--chunks", 2, "--arith", "f32",
                  "--logits", logits)
    assert done.returncode == 0
    # Every embedding bounds what was seen; all but rare tokens are among 1024.
    embedding = tensors["token_embd.weight"].astype(np.float64)
    normed = embedding / np.sqrt((embedding ** 2).mean(1, keepdims=True) + 1e-5)
    normed = normed * tensors["blk.0.attn_norm.weight"]
    absmax = stored["blk.0.attn_q.weight", "absmax"]
    assert (absmax <= np.abs(normed).max(0) * (1 + 1e-5)).all()
    assert (absmax > 0.3 * np.abs(normed).max(0)).all()
    assert found["blk.0.attn_q.weight"]["tokens"] == 1024
    assert found["blk.0.attn_q.weight"]["absmax"] == absmax.max()
    least, greatest = (stored["blk.0.attn_q.weight", k] for k in ("least", "greatest"))
    assert (np.maximum(-least, greatest) == absmax).all()
    assert stored["blk.0.attn_q.weight", "magnitudes"].sum() == 1024 * 64


def test_what_was_cut_off_goes_on_to_the_same_end(build_dir, quantize, shared, opening, tmp_path):
    model = Path(shutil.copy(shared("data/models/stories3M.gguf"), tmp_path / "model.gguf"))
    whole = Path(shutil.copy(model, tmp_path / "whole.gguf"))
    target = Path(f"{model}.mobilequant.napier")
    partial = Path(f"{target}.partial")
    process = subprocess.Popen(
        [build_dir / "napier", "quantize", model, "--recipe", RECIPES / "mobilequant.toml",
         "--calibrate", opening(TEXT), "--chunks", "12"], stdout=subprocess.DEVNULL)
    deadline = time.time() + 120
    while time.time() < deadline and process.poll() is None:
        try:
            with sqlite3.connect(f"file:{partial}?mode=ro", uri=True) as database:
                if database.execute("SELECT value FROM about WHERE key = 'chunks'").fetchall():
                    break
        except sqlite3.OperationalError:
            pass
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert partial.exists() and not target.exists()
    resumed = json.loads(quantize(model, "mobilequant", chunks=12).stdout)
    assert not partial.exists() and target.exists()
    straight = json.loads(quantize(whole, "mobilequant", chunks=12).stdout)
    assert resumed["chunks_before"] > 0 and straight["chunks_before"] == 0
    assert resumed["chunks"] + resumed["chunks_before"] == straight["chunks"] == 12
    assert resumed["matrices"] == straight["matrices"]
    assert target.read_bytes() == Path(f"{whole}.mobilequant.napier").read_bytes()


def test_another_text_does_not_go_on_with_a_partial_file(quantize, model, shared):
    partial = Path(f"{model}.mobilequant.napier.partial")
    matrices(quantize(model, "mobilequant"))
    os.rename(f"{model}.mobilequant.napier", partial)
    with sqlite3.connect(partial) as database:
        database.execute("UPDATE about SET value = 'another' WHERE key = 'text'")
    database.close()
    assert json.loads(quantize(model, "mobilequant").stdout)["chunks_before"] == 0


def test_other_models_recipes_and_damage_are_refused(napier, quantize, model, shared, tmp_path):
    text = shared("data/text/tinystories.txt")

    def evaluate(model, recipe=RECIPES / "mobilequant.toml"):
        return napier("eval", model, "--text", text, "--chunks", 1, "--plan", recipe)

    matrices(quantize(model, "mobilequant"))
    made = Path(f"{model}.mobilequant.napier")
    other = Path(shutil.copy(shared("data/models/stories3M.gguf"), tmp_path / "other.gguf"))
    shutil.copy(made, f"{other}.mobilequant.napier")
    refused(evaluate(other), "other.gguf.mobilequant.napier", "another model")
    changed = tmp_path / "changed.toml"
    changed.write_text((RECIPES / "mobilequant.toml").read_text().replace("0.5", "0.6"))
    refused(evaluate(model, changed), "another recipe")
    data = bytearray(made.read_bytes())
    for broken in (b"", b"nothing", bytes(data[:5000]), bytes(1000) + bytes(data[1000:])):
        made.write_bytes(broken)
        done = evaluate(model)
        assert done.returncode in (1, 2) and done.stderr.count("\n") == 1, done.stderr


@pytest.mark.parametrize("old, new, says", [
    ('step = "static"', 'step = "statik"', "no step"),
    ('from = "minmax"', 'from = "nimmax"', "'from'"),
    ("alpha = 0.5", "alpha = 2", "'alpha'"), ("alpha = 0.5", "beta = 2", "'beta'"),
    ("[[compute]]", "[compute]", "compute"), ('name = "mobilequant"', 'name = "a/b"', "'name'"),
    ("equalise\"", "nothing\"", "nothing"), ("@tensor/w=int8@row", "@row/w=int8@row", "@tensor"),
])
def test_wrong_recipes_are_one_sentence(quantize, model, tmp_path, old, new, says):
    recipe = tmp_path / "wrong.toml"
    text = (RECIPES / "mobilequant.toml").read_text()
    assert old in text
    recipe.write_text(text.replace(old, new, 1))
    refused(quantize(model, recipe), says)
    assert not list(model.parent.glob("*.napier*"))


def test_wrong_requests(napier, quantize, model, shared, tmp_path):
    refused(napier("quantize", model, "--recipe", RECIPES / "mobilequant.toml"), "--calibrate")
    refused(quantize(model, "llm-int8"), "needs nothing computed")
    short = tmp_path / "short.txt"
    short.write_text("Once upon a time.")
    refused(napier("quantize", model, "--recipe", RECIPES / "mobilequant.toml", "--calibrate",
                   short), "tokens")
    assert not list(model.parent.glob("*.napier*"))
    bytes_ = tmp_path / "bytes.txt"
    bytes_.write_bytes(bytes(range(256)) * 100)
    refused(napier("quantize", model, "--recipe", RECIPES / "mobilequant.toml", "--calibrate",
                   bytes_), "is no text")
    assert not list(model.parent.glob("*.napier*"))
    refused(quantize(model, "mobilequant", "--output", model), "input")
    recipe = Path(shutil.copy(RECIPES / "mobilequant.toml", tmp_path))
    refused(quantize(model, recipe, "--output", recipe), "input")
    assert recipe.read_bytes() == (RECIPES / "mobilequant.toml").read_bytes()
    refused(napier("quantize", tmp_path / "none.gguf", "--recipe", RECIPES / "mobilequant.toml",
                   "--calibrate", shared(TEXT)), "none.gguf")


@pytest.mark.parametrize("recipe", sorted(p.stem for p in RECIPES.glob("*.toml")))
def test_every_recipe_runs_or_says_why_not(napier, quantize, model, opening, recipe):
    path = RECIPES / f"{recipe}.toml"
    if "[[compute]]" in path.read_text():
        computed = quantize(model, recipe, "--ctx", 64, chunks=1)
        if recipe == "zeroquant-fp":  # rows of 64 and 172 elements
            refused(computed, "blocks of", "do not divide")
            return
        assert computed.returncode == 0, computed.stderr
    done = napier("eval", model, "--text", opening("data/text/tinystories.txt"), "--chunks", 1,
                  "--ctx", 64, "--plan", path)
    if recipe in {"bitmod3", "bitmod4"}:
        refused(done, "blocks of", "do not divide")
    else:
        assert done.returncode == 0, done.stderr


def test_mixtures_of_experts(napier, quantize, shared, opening, tmp_path):
    """What a recipe computes is for single matrices: experts are left in f32 by its plan, or it is
    refused; nothing is left behind. Recipes without steps run on them."""
    model = planted.mixture(shared("data/models/stories260K.gguf"), tmp_path / "mixture.gguf")

    def evaluate(*plans):
        plans = [argument for plan in plans for argument in ("--plan", plan)]
        return napier("eval", model, "--text", opening("data/text/tinystories.txt"), "--chunks", 1,
                      "--json", *plans)

    for recipe in ("mobilequant", "fliqs"):
        refused(quantize(model, recipe), "ffn_gate_exps.weight", "expert", "-> f32")
    assert not list(tmp_path.glob("*.napier*"))

    recipe = tmp_path / "dense.toml"
    text = (RECIPES / "fliqs.toml").read_text().replace('"fliqs"', '"dense"')
    recipe.write_text(text.replace('plan = [', 'plan = ["*_exps.weight -> f32", '))
    names = set(matrices(quantize(model, recipe)))
    assert "blk.0.attn_q.weight" in names and "blk.0.ffn_gate_inp.weight" in names
    done = evaluate(recipe, f"{RECIPES}/llm-int8.toml", f"{RECIPES}/delta-activations.toml")
    assert done.returncode == 0, done.stderr
    results = {result["arith"]: result for result in json.loads(done.stdout)["results"]}
    for entry in results["dense"]["matmuls"]["roles"]["ffn_gate_exps"]:
        assert entry["arith"] == "f32"
    (entry,) = results["llm-int8"]["matmuls"]["roles"]["ffn_gate_exps"]
    assert entry["arith"].startswith("int8-int32 with outliers")
    assert 0 < results["llm-int8"]["kl_mean"] < 0.1
    (entry,) = results["delta-activations"]["matmuls"]["roles"]["ffn_gate_exps"]
    assert 0 < entry["skipped"] < entry["multiplications"]


def test_another_multiplier_goes_on_any_recipe(napier, model, opening):
    done = napier("eval", model, "--text", opening("data/text/tinystories.txt"), "--chunks", 1,
                  "--json", "--plan", f"{RECIPES}/llm-int8.toml+lmul")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)["results"][0]
    assert result["arith"] == "llm-int8+lmul"
    assert result["plan"].count("mul=lmul") == 1 and "outliers(6,lmul-f16-rne)" in result["plan"]
    refused(napier("eval", model, "--text", opening("data/text/tinystories.txt"), "--plan",
                   f"{RECIPES}/llm-int8.toml+lnul"), "lnul")
