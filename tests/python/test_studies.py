"""napier.error and napier.cost against the command's figures; tables, frames, plots."""
import csv
import io
import json

import napier
import numpy as np
import pytest


def test_products_by_enumeration_are_the_papers():
    """L-Mul's formula on 4 bits: mean error f1 + f2 of arXiv 2410.00907, section 2.3."""
    rows = napier.error(["f32", "lmul-formula-m4"], "mantissa")
    assert rows[0]["max_abs"] < 2**-23
    m, k = 12, 4  # the figures' own source_bits
    x = 1 + np.arange(2**m) / 2**m
    kept = 1 + np.floor((x - 1) * 2**k) / 2**k
    mean = (1 + 2 * (kept - 1).mean() + 2.0**-3) - x.mean() ** 2
    assert rows[1]["mean_step"] == pytest.approx(mean, rel=1e-6)


def test_products_are_the_commands(napier_command):
    command = json.loads(napier_command("error", "--arith", "lmul-m4,bf16", "--operands",
                                        "gaussian,student(4)", "--pairs", 4096, "--json").stdout)
    table = napier.error(["lmul-m4", "bf16"], ["gaussian", "student(4)"], pairs=4096)
    assert len(table) == 4
    for row, entry in zip(table, command["products"], strict=True):
        assert (row["operands"], row["arith"]) == (entry["operands"], entry["arith"])
        for key, value in entry["errors"].items():
            assert row[key] == value


def test_dots_and_offsets():
    dots = napier.error("lmul-m4", "gaussian", "dots", lengths=[16, 64])
    assert [row["length"] for row in dots] == [16, 64] and 20 < dots[0]["snr_db"] < 40
    offsets = napier.error(operands="gaussian", show="offsets", pairs=4096, keep=[3])
    best = min(offsets, key=lambda row: row["nmse"])
    assert best["k"] == 3 and best["nmse"] < next(r for r in offsets if r["l"] == 0)["nmse"]
    assert sum(row["papers"] for row in offsets) == 1 and "dots_snr_db" in offsets.columns


def test_a_models_own_operands(shared):
    model = shared("data/models/stories260K.gguf")
    text = shared("data/text/tinystories.txt").read_text()[:4000]
    table = napier.error("lmul-m4", model=model, text=text, context=64)
    assert {"attn_q", "kq", "ffn_down"} <= {row["operands"] for row in table}
    by_matmul = napier.error("lmul-m4", model=model, text=text, context=64, by="matmul")
    assert len(by_matmul) > len(table)


@pytest.fixture(scope="session")
def napier_command(napier):
    return napier


def test_cost_is_the_commands(napier_command, shared):
    path = shared("data/models/stories260K.gguf")
    command = json.loads(napier_command("cost", path, "--arith", "f32,lmul-m4", "--ctx", 128,
                                        "--json").stdout)
    table = napier.cost(path, ["f32", "lmul-m4"], context=128, plans={"attention":
                                                                      "kq*->lmul-m4; *->f32"})
    for row, entry in zip(table, command["plans"], strict=False):
        assert row["arith"] == entry["arith"]
        assert row["total_pj"] == entry["pj"]["total"]
        assert row["dram_bytes"] == entry["counts"]["dram_bytes"]
    lmul, mixed = table[1], table[2]
    assert mixed["arith"] == "attention" and lmul["multiply_pj"] < mixed["multiply_pj"]
    roles = napier.cost(path, ["f32"], context=128, by_role=True)
    assert sum(r["multiplications"] for r in roles) == table[0]["multiplications"]
    assert {"role", "in"} <= set(roles.columns)


def test_tables_become_frames():
    table = napier.error(["f32", "lmul-m4"], "mantissa")
    frame = table.to_frame()
    assert list(frame.columns) == table.columns and len(frame) == 2
    assert frame.set_index("arith").loc["lmul-m4", "mean_abs"] == table[1]["mean_abs"]
    assert frame.attrs["title"] == table.title and frame.attrs["seed"] == 1614
    rows = table.records
    rows[0]["arith"] = "changed"
    assert table[0]["arith"] == "f32" and table[:1] == [table[0]]


def test_tables_show_themselves():
    table = napier.Table([{"arith": "<b>&", "n": 0.123456789, "none": None}], "a <title>",
                         {"seed": 1})
    page = table._repr_html_()
    assert "<b>" not in page and "&lt;b&gt;&amp;" in page and "a &lt;title&gt;" in page
    assert "0.123457" in page and "seed 1" in page and "None" not in page
    lines = repr(table).splitlines()
    assert lines[0] == "a <title>" and lines[1].split() == ["arith", "n", "none"]
    assert next(csv.reader(io.StringIO(lines[2]), delimiter=" "))[0] == "<b>&"


def test_plots():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    axes = napier.error(["lmul-m4", "bf16"], "gaussian", "dots", lengths=[16, 64]).plot()
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["lmul-m4", "bf16"]
    assert axes.get_ylabel() == "snr_db" and list(axes.lines[0].get_xdata()) == [16, 64]
    bars = napier.cost("mistral-7b", ["f32", "lmul-m4"]).plot()
    heights = [bar.get_height() for bar in bars.patches]
    assert len(heights) == 2 and heights[0] > heights[1] > 0
    with pytest.raises(ValueError, match="no drawing"):
        napier.Table([], "nothing").plot()


def test_plots_of_every_kind():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    several = napier.error(["lmul-m4", "bf16"], ["gaussian", "mantissa"], pairs=4096)
    bars = several.plot()
    assert len(bars.patches) == 4 and len(bars.get_legend().get_texts()) == 2
    assert [label.get_text() for label in bars.get_xticklabels()] == ["gaussian", "mantissa"]
    assert bars.patches[0].get_height() == several[0]["mean_abs"]
    assert several.plot(y="bias").patches[0].get_height() == several[0]["bias"]

    dots = napier.error(["lmul-m4"], ["gaussian", "uniform"], "dots", lengths=[16, 64])
    with pytest.raises(ValueError, match=r"where\(\)"):
        dots.plot()
    assert len(dots.where(operands="gaussian").plot().lines) == 1

    offsets = napier.error(operands="gaussian", show="offsets", pairs=4096, keep=[3, 4])
    heat = offsets.plot()
    cells = heat.images[0].get_array()
    assert cells.shape == (2, len({row["l"] for row in offsets}))
    assert cells[0, 1] == offsets[1]["nmse"]

    roles = napier.cost("mistral-7b", ["f32", "lmul-m4"], by_role=True)
    stack = roles.plot()
    top = max(patch.get_y() + patch.get_height() for patch in stack.patches)
    whole = napier.cost("mistral-7b", ["f32"])[0]["total_pj"]
    assert top == pytest.approx(whole)
    with pytest.raises(ValueError, match="no column 'watts'"):
        roles.plot(y="watts")
    with pytest.raises(ValueError, match="no column"):
        roles.where(color="red")


def test_a_sweep_is_a_table(napier_command, shared, tmp_path):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    model, text = (shared(f"data/{name}") for name in
                   ("models/stories260K.gguf", "text/tinystories.txt"))
    (tmp_path / "sweep.toml").write_text(f"""models = ["{model}"]
arithmetics = ["bf16", "x=bf16/w=int4@row", "lmul-m3"]
plans = ["kq-* -> lmul-m4; * -> f32"]
[[text]]
path = "{text}"
name = "stories"
context = 128
limit = 12
""")
    database = tmp_path / "results.db"
    done = napier_command("sweep", tmp_path / "sweep.toml", "--db", database)
    assert done.returncode == 0, done.stderr
    table = napier.read_sweep(database)
    rows = {row["arith"]: row for row in table}
    assert len(rows) == len(table) == 5 and {row["source"] for row in table} == {"stories"}
    report = napier_command("report", database, "--format", "json")
    assert report.returncode == 0, report.stderr
    assert rows["bf16"]["weight_bits"] == 16 and rows["f32"]["weight_bits"] == 32
    assert rows["lmul-m3"]["weight_bits"] == 12
    assert rows["kq-* -> lmul-m4; * -> f32"]["weight_bits"] == 32
    assert repr(rows["bf16"]["kl_mean"])[:8] in report.stdout
    points = table.plot()
    assert len(points.containers) == 5 and points.get_ylabel() == "kl_mean"
    assert table.plot(x="energy_pj", y="perplexity").get_xlabel() == "energy_pj"
    with pytest.raises(napier.Error, match="no database of napier sweep"):
        napier.read_sweep(model)
    with pytest.raises(FileNotFoundError, match=r"no\.db"):
        napier.read_sweep("no.db")


def test_a_model_s_heat_map(napier_command, shared, tmp_path):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    path = tmp_path / "where.json"
    model, text = (shared(f"data/{name}") for name in
                   ("models/stories260K.gguf", "text/tinystories.txt"))
    done = napier_command("where", model, "--text", text, "--arith", "bf16,lmul-m3",
                          "--chunks", 1, "--ctx", 64, "--json", "--output", path)
    assert done.returncode == 0, done.stderr
    table = napier.read_where(path)
    known = json.loads(path.read_text())
    assert len(table) == 2 * len(known["matmuls"])
    row = table.where(arith="lmul-m3", matmul="blk.2.ffn_up.weight")[0]
    assert row["layer"] == 2 and row["role"] == "ffn_up"
    part = next(part for part in known["arithmetics"][1]["parts"]
                if part["name"] == "blk.2.ffn_up.weight")
    assert row["kl_mean"] == part["kl_mean"] > 0
    with pytest.raises(ValueError, match="take one kind by where"):
        table.plot()
    axes = table.where(arith="lmul-m3").plot()
    assert axes.get_xlabel() == "layer" and axes.get_ylabel() == "role"
    cells = axes.images[0].get_array()
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert cells[labels.index("ffn_up"), 2] == row["kl_mean"]
    assert table.where(arith="bf16").plot(y="snr_db").images
    with pytest.raises(napier.Error, match="no JSON of napier where"):
        napier.read_where(model)
    with pytest.raises(FileNotFoundError, match=r"no\.json"):
        napier.read_where("no.json")


@pytest.mark.parametrize("call, error, words", [
    (lambda: napier.error("lmul-m99"), napier.ParseError, "lmul-m99"),
    (lambda: napier.error("f32", "cauchy"), napier.Error, "cauchy"),
    (lambda: napier.error("f32", show="sums"), ValueError, "products, dots, offsets"),
    (lambda: napier.error("f32", by="layer", model="x"), ValueError, "role or matmul"),
    (lambda: napier.error("f32", model="no.gguf"), ValueError, "text"),
    (lambda: napier.error("f32", model="no.gguf", text="a"), FileNotFoundError, r"no\.gguf"),
    (lambda: napier.error("f32", pairs=-1), napier.Error, "pairs: -1"),
    (lambda: napier.cost("gpt-5"), napier.Error, "llama-3.1-8b"),
    (lambda: napier.cost("mistral-7b", prices="none"), napier.Error, "none"),
    (lambda: napier.cost("mistral-7b", context=0), napier.Error, "1 to 16777216"),
    (lambda: napier.cost("mistral-7b", []), ValueError, "nothing to price"),
])
def test_bad_input(call, error, words):
    with pytest.raises(error, match=words):
        call()
