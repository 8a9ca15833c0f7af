"""Recipes in the league table and in sweeps: computed on the way or found beside the model, their
bits and energy counted by hand."""
import json
import sys
import xml.etree.ElementTree
from pathlib import Path

import gguf
import pytest

sys.path.insert(0, str(Path(__file__).parent))
import planted

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
LORC = """name = "lorc"
source = "a test"
plan = ["*.weight -> x=e4m3@row/w=e4m3@row with lowrank(2,f16)", "* -> f32"]
[[compute]]
step = "lowrank"
"""
PLANS = ["llm-int8.toml", "mobilequant.toml", "mobilequant.toml+lmul", "bitmod4.toml",
         "delta-activations.toml", "hawq-v3-dyadic.toml", "lmul-attention.toml"]
UNPRICED = "*.weight -> x=int5@row/w=int5@row; * -> f32"


@pytest.fixture(scope="module")
def model(shared, tmp_path_factory):
    """With outliers, so that columns go apart."""
    return planted.write(shared("data/models/stories260K.gguf"),
                         tmp_path_factory.mktemp("league") / "model.gguf",
                         {channel: 256.0 for channel in (3, 17, 40)})


@pytest.fixture(scope="module")
def plans(tmp_path_factory):
    lorc = tmp_path_factory.mktemp("recipe") / "lorc.toml"
    lorc.write_text(LORC)
    return [argument for plan in [*(RECIPES / plan for plan in PLANS), UNPRICED, lorc]
            for argument in ("--plan", plan)]


@pytest.fixture(scope="module")
def league(napier, model, plans, opening, tmp_path_factory):
    """The document, what was said, and the plot."""
    plot = tmp_path_factory.mktemp("plot") / "league.svg"
    done = napier("league", model, "--text", opening("data/text/tinystories.txt"), "--chunks", 1,
                  "--calibrate", opening("data/text/tinystories_train.txt"), "--json", "--plot",
                  plot, *plans)
    assert done.returncode == 0, done.stderr
    (document,) = json.loads(done.stdout)
    return document, done.stderr, plot


@pytest.fixture(scope="module")
def rows(league):
    return {row["arith"]: row for row in league[0]["results"]}


@pytest.fixture(scope="module")
def evaluation(napier, model, plans, opening, league):
    """napier eval of the same plans, but for what does not fit."""
    there = [plan for plan in plans[1::2] if "bitmod4" not in str(plan)]
    done = napier("eval", model, "--text", opening("data/text/tinystories.txt"), "--chunks", 1,
                  "--json", *[a for plan in there for a in ("--plan", plan)])
    assert done.returncode == 0, done.stderr
    return {result["arith"]: result for result in json.loads(done.stdout)["results"]}


@pytest.fixture(scope="module")
def shapes(model):
    """(n, k) of every matrix that is multiplied with."""
    return {t.name: (int(t.shape[1]), int(t.shape[0])) for t in gguf.GGUFReader(model).tensors
            if len(t.shape) == 2 and t.name != "token_embd.weight"}


def role_of(name):
    return name.removesuffix(".weight").split(".")[-1]


def mean(shapes, bits):
    """Over the elements; bits(name, n, k)."""
    return (sum(n * k * bits(name, n, k) for name, (n, k) in shapes.items()) /
            sum(n * k for n, k in shapes.values()))


def test_rows_are_evals(rows, evaluation, league):
    assert set(rows) == set(evaluation)
    assert "bitmod4: left out" in league[1]  # blocks of 128 divide nothing here
    for name, result in evaluation.items():
        for key in ("perplexity", "kl_mean", "top1_agreement"):
            assert rows[name][key] == result[key], name


def test_bits_are_counted(rows, shapes, evaluation):
    roles = evaluation["llm-int8"]["matmuls"]["roles"]

    def apart(name):
        (entry,) = roles[role_of(name)]
        return entry["apart"] / entry["multiplications"]

    assert apart("blk.0.attn_q.weight") >= 3 / 64  # the planted columns
    assert rows["llm-int8"]["weight_bits"] == pytest.approx(
        mean(shapes, lambda name, n, k: 8 + 32 / k + 16 * apart(name)))
    activations = sum(k for _, k in shapes.values())
    assert rows["llm-int8"]["activation_bits"] == pytest.approx(
        sum(k * ((1 - apart(name)) * (8 + 32 / k) + 16 * apart(name))
            for name, (_, k) in shapes.items()) / activations)

    by_row = ("output", "ffn_down")  # the other weights have a scale a tensor
    for name in ("mobilequant", "mobilequant+lmul"):
        assert rows[name]["weight_bits"] == pytest.approx(mean(
            shapes, lambda name, n, k: 8 + 32 / n + 32 / (k if role_of(name) in by_row else n * k)))
        assert rows[name]["activation_bits"] == 8  # static scales are constants
    assert rows["lorc"]["weight_bits"] == pytest.approx(
        mean(shapes, lambda name, n, k: 8 + 32 / k + 2 * 16 * (n + k) / (n * k)))
    attention = rows["lmul-attention"]
    assert (attention["share"], attention["weight_bits"]) == (0, 32)


def test_energy_is_that_of_cost_or_says_why_not(napier, model, rows, shapes, evaluation, league,
                                                plans):
    done = napier("cost", model, "--ctx", 512, "--arith", "f32", "--plan", plans[-1], "--plan",
                  RECIPES / "mobilequant.toml", "--plan", f"{RECIPES}/mobilequant.toml+lmul",
                  "--plan", RECIPES / "hawq-v3-dyadic.toml", "--json", check=True)
    f32, *others = json.loads(done.stdout)["plans"]
    total = f32["pj"]["total"]
    assert league[0]["reference"]["energy_pj"] == pytest.approx(total)
    for plan, name in zip(others, ("lorc", "mobilequant", "mobilequant+lmul", "hawq-v3-dyadic")):
        assert rows[name]["energy_pj"] == pytest.approx(plan["pj"]["total"]), name
        assert plan["pj"]["total"] < total
    (unpriced,) = [row for row in rows.values() if row["energy_pj"] is None]
    assert "no price of 'multiply exact int5'" in unpriced["no_energy"]

    prices = {price["operation"]: price["pj"] for plan in (f32, *others)
              for price in plan["prices"]}
    multiply, add = prices["multiply exact f32"], prices["add f32"]
    roles = evaluation["delta-activations"]["matmuls"]["roles"]
    expected = total
    for role in f32["roles"]:
        if role["role"] not in roles or role["role"].startswith("kq"):
            continue
        (entry,) = roles[role["role"]]
        spared = entry["skipped"] / entry["multiplications"]
        expected -= spared * sum(role["pj"][part] for part in ("multiply", "accumulate",
                                                                 "register"))
    for n, k in shapes.values():
        expected += k * (3 * add + 2 * multiply) + n * add + (2 * k + n) * 4 * prices["sram"]
    assert rows["delta-activations"]["energy_pj"] == pytest.approx(expected)
    assert rows["llm-int8"]["energy_pj"] < 0.7 * total  # attention stays in f32


def test_the_plot_has_both_figures(league, rows):
    circles = [e for e in xml.etree.ElementTree.parse(league[2]).getroot().iter()
               if e.tag.endswith("circle")]
    priced = sum(row["energy_pj"] is not None for row in rows.values())
    assert 0 < priced < len(rows) and len(circles) == len(rows) + priced


def test_what_is_computed_is_found_and_what_is_not_is_refused(napier, model, shared, opening, rows,
                                                              tmp_path):
    text = opening("data/text/tinystories.txt")
    common = ["--text", text, "--chunks", 1, "--json", "--plan", RECIPES / "mobilequant.toml"]
    assert Path(f"{model}.mobilequant.napier").exists()
    done = napier("league", model, *common)  # without --calibrate
    (found,) = json.loads(done.stdout)[0]["results"]
    assert found["kl_mean"] == rows["mobilequant"]["kl_mean"]
    done = napier("league", shared("data/models/stories3M.gguf"), *common)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and not done.stdout
    assert "napier quantize" in done.stderr


def test_sweeps_read_what_is_computed(napier, model, opening, evaluation, tmp_path):
    spec = tmp_path / "sweep.toml"

    def sweep(recipe, database):
        spec.write_text(f"""models = ["{model}"]
plans = ["{RECIPES}/{recipe}.toml", "{RECIPES}/llm-int8.toml"]
[[text]]
path = "{opening('data/text/tinystories.txt')}"
limit = 1
""")
        return napier("sweep", spec, "--db", tmp_path / database, "--json")

    done = sweep("mobilequant", "a.db")
    assert done.returncode == 0, done.stderr
    values = {(v["subject"], v["metric"]): v["value"] for v in json.loads(done.stdout)["results"]}
    assert values[1, "kl_mean"] == evaluation["mobilequant"]["kl_mean"]
    assert values[2, "kl_mean"] == evaluation["llm-int8"]["kl_mean"]
    assert values[0, "weight_bits"] == 32 and 8 < values[1, "weight_bits"] < 9
    assert values[2, "weight_bits"] is None  # outliers are the text's
    done = sweep("fliqs", "b.db")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "napier quantize" in done.stderr and not (tmp_path / "b.db").exists()
