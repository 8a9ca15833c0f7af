"""napier run, explain, formats and the help of all of them."""
import json
import re

import pytest

SUBCOMMANDS = ["eval", "run", "explain", "formats", "bench", "error", "cost", "hw"]


@pytest.mark.parametrize("subcommand", SUBCOMMANDS)
def test_help_has_an_example(napier, subcommand):
    done = napier(subcommand, "--help")
    assert done.returncode == 0 and f"napier {subcommand}" in done.stdout
    assert "Example" in done.stdout


def test_version(napier):
    done = napier("--version")
    assert done.returncode == 0
    assert re.fullmatch(r"napier \d+\.\d+\.\d+ \(llama\.cpp of .+, ggml \d+\.\d+\.\d+\)\n",
                        done.stdout), done.stdout


def test_run_writes_and_repeats(napier, shared):
    model = shared("data/models/stories260K.gguf")
    prompt = "Once upon a time"
    common = ["run", model, "-p", prompt, "-n", 40, "--threads", 1]
    greedy = napier(*common, "--temp", 0)
    assert greedy.returncode == 0 and greedy.stdout.startswith(prompt + ", there was a little")
    once = napier(*common, "--seed", 7, "--plan", "kq-* -> lmul-m4; kqv-* -> lmul-m4; * -> f32")
    again = napier(*common, "--seed", 7, "--plan", "kq-* -> lmul-m4; kqv-* -> lmul-m4; * -> f32")
    other = napier(*common, "--seed", 8, "--plan", "kq-* -> lmul-m4; kqv-* -> lmul-m4; * -> f32")
    assert once.stdout == again.stdout != other.stdout
    assert "seed 7" in once.stderr


def test_explain_shows_l_mul_bit_by_bit(napier):
    done = napier("explain", "lmul-m4", "--x", "1.7", "--w", "-0.3")
    assert done.returncode == 0
    # 1.7 -> 1.1011b, -0.3 -> 1.0011b 2^-2; 2043 + 2003 - 2032 + 2 = 2016 = 126|0000 -> 2^-1
    for part in ["1011", "0011", "2043", "2003", "2016", "-0.5"]:
        assert part in done.stdout, part


def test_explain_for_programs(napier):
    document = json.loads(napier("explain", "lmul-m4", "--json").stdout)
    assert document["x"]["stored"] == 1.6875 and document["w"]["stored"] == -0.296875
    assert document["product"] == -0.5 and document["kernel"] in ("dot", "adder")
    scaled = json.loads(napier("explain", "x=e4m3@row/w=e2m1@block16(e4m3)", "--json").stdout)
    assert abs(scaled["product"] - scaled["exact_product"]) < 0.01
    assert scaled["x"]["scale"] * 448 == pytest.approx(1.7)


def test_explain_knows_every_preset(napier):
    presets = json.loads(napier("formats", "--json").stdout)["presets"]
    for preset in presets:
        done = napier("explain", preset["name"])
        assert done.returncode == 0 and done.stdout.startswith(preset["name"]), preset


def test_bench(napier):
    done = napier("bench", "--arith", "lmul-m4,f32,acc=f64", "--shape", "3x50x64,1x8x8", "-r", 2,
                  "--json")
    rows = json.loads(done.stdout)
    assert [(row["arith"], row["m"], row["n"], row["k"]) for row in rows] == [
        (arith, *shape) for shape in [(3, 50, 64), (1, 8, 8)]
        for arith in ["lmul-m4", "f32", "acc=f64"]]
    assert all(row["gmacs"] > 0 and row["ratio_to_native"] > 0 for row in rows)
    assert rows[1]["kernel"] == "native" and rows[2]["kernel"] == "wide"
    assert "of native" in napier("bench", "--arith", "f32", "--shape", "1x8x8", "-r", 1).stdout
    for shape in ["3x5", "3x5x", "0x1x1", "1x1x1x1", "1x1x9999999999", "axbxc"]:
        done = napier("bench", "--shape", shape)
        assert done.returncode == 2 and shape in done.stderr, done.stderr


def test_formats(napier):
    document = json.loads(napier("formats", "--json").stdout)
    assert set(document) == {"formats", "roundings", "multipliers", "accumulators", "presets"}
    limits = {f["name"]: (f["max"], f["min_positive"]) for f in document["formats"]}
    assert limits["e4m3fn"] == (448, 2 ** -9)
    assert limits["e5m2"] == (57344, 2 ** -16)
    assert limits["e2m1fn"] == (6, 0.5)
    table = napier("formats").stdout
    for entry in [*document["formats"], *document["multipliers"], *document["presets"]]:
        assert entry["name"] in table
