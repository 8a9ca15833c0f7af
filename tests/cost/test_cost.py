"""napier cost against what llama.cpp's graphs multiply, and against sums done by hand."""
import csv
import io
import json
import math
import re
import sys
from pathlib import Path

import pytest

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
sys.path.append(str(Path(__file__).resolve().parents[1] / "recipes"))

import planted  # noqa: E402


@pytest.fixture(scope="module")
def cost(napier):
    def run(*arguments):
        done = napier("cost", *arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.mark.parametrize("model, layers", [("stories260K", 5), ("stories3M", 6)])
def test_counts_are_those_of_the_graphs(cost, napier, shared, model, layers):
    """`napier eval` counts the nodes of llama.cpp's graphs: one chunk of 512 tokens at once, each
    attending to all 512 slots; past the last layer's attention only the scored half goes on."""
    path = shared(f"data/models/{model}.gguf")
    done = napier("eval", path, "--text", shared("data/text/tinystories.txt"), "--arith", "f32",
                  "--chunks", 1, "--json")
    census = json.loads(done.stdout)["reference"]["matmuls"]
    plan = cost(path, "--arith", "f32", "--ctx", 512)["plans"][0]
    roles = {role["role"]: role["counts"] for role in plan["roles"]}
    assert set(roles) == {*census["roles"], "element-wise"}
    for role, entries in census["roles"].items():
        rows = {"output": 256}.get(role, 512)
        if role.startswith("ffn"):
            rows -= 256 / layers
        counted = sum(entry["multiplications"] for entry in entries)
        expected = roles[role]["multiplications"] * rows
        assert counted == pytest.approx(expected, rel=1e-12), role
    # Norms and gating of the last layer, and the last norm, see 256 rows.
    by_op = census["elementwise_by_op"]
    assert roles["element-wise"]["elementwise"] * 512 == pytest.approx(sum(by_op.values()), rel=0.1)
    assert by_op["ROPE"] + by_op["SOFT_MAX"] < roles["element-wise"]["elementwise"] * 512


def test_experts_of_a_batch(cost, napier, shared, tmp_path):
    """Each token draws 2 of 8: alone it reads a quarter of them, 5 together 8 (1 - (3/4)^5), and of
    many each expert is read once a step, in tiles of its own tokens alone."""
    planted.mixture(shared("data/models/stories260K.gguf"), tmp_path / "moe.gguf", 8, 2)
    layers, n, k = 5, 172, 64
    for batch, read in [(1, 2), (5, 8 * (1 - 0.75 ** 5)), (400, 8 * (1 - 0.75 ** 400))]:
        plan = cost(tmp_path / "moe.gguf", "--arith", "f32", "--batch", batch)["plans"][0]
        (role,) = [role for role in plan["roles"] if role["role"] == "ffn_up_exps"]
        assert role["counts"]["multiplications"] == layers * 2 * n * k
        weights = layers * read * n * k * 4 / batch
        assert role["counts"]["dram_bytes"] == pytest.approx(weights)
        # 400 tokens are 100 rows an expert: one tile of 128, where a whole matrix would have four.
        assert role["counts"]["sram_bytes"] == pytest.approx(
            weights + layers * 2 * (k * math.ceil(n / 128) + n) * 4)
    for used in (0, 9):
        planted.mixture(shared("data/models/stories260K.gguf"), tmp_path / "bad.gguf", 8, used)
        done = napier("cost", tmp_path / "bad.gguf", "--arith", "f32")
        assert done.returncode == 2 and "expert_used_count" in done.stderr, done.stderr


WINDOW = "attention.sliding_window"
PATTERN = "attention.sliding_window_pattern"


@pytest.mark.parametrize("architecture, more, seen", [
    # stories260K has 5 layers: what each sees of 100 tokens, by llama.cpp's rules.
    ("llama", {}, [100] * 5),
    ("llama", {WINDOW: 30}, [100] * 5),  # llama.cpp heeds none there
    ("gemma2", {WINDOW: 30}, [30, 100, 30, 100, 30]),
    ("gemma2", {}, [100] * 5),  # 4096 unless it says otherwise
    ("gemma2", {WINDOW: 30, PATTERN: 3}, [30, 30, 100, 30, 30]),
    ("gemma2", {WINDOW: 30, PATTERN: 1}, [100] * 5),
    ("gemma3", {WINDOW: 30}, [30] * 5),  # the sixth would see all
    ("gemma3", {}, [100] * 5),
    ("smallthinker", {WINDOW: 300}, [100] * 5),
    ("smallthinker", {WINDOW: 30}, [100, 30, 30, 30, 100]),
    ("llama4", {WINDOW: 30}, [10, 10, 10, 100, 10]),  # the tokens 91 to 100 of 91 to 120
    ("unheard-of", {WINDOW: 30, PATTERN: [True, True, False, True, False]},
     [30, 30, 100, 30, 100]),
])
def test_windows_by_hand(cost, shared, tmp_path, architecture, more, seen):
    reader = planted.gguf.GGUFReader(shared("data/models/stories260K.gguf"))
    planted.rewrite(reader, tmp_path / "m.gguf", {t.name: t.data for t in reader.tensors},
                    {f"{architecture}.{key}": value for key, value in more.items()},
                    architecture=architecture)
    document = cost(tmp_path / "m.gguf", "--arith", "f32", "--ctx", 100)
    roles = {role["role"]: role["counts"] for role in document["plans"][0]["roles"]}
    heads, kv_heads, size = 8, 4, 8
    for role in ("kq", "kqv"):
        assert roles[role]["multiplications"] == heads * size * sum(seen)
        # Each key or value once, and the new one written.
        assert roles[role]["dram_bytes"] == kv_heads * size * (sum(seen) + 5) * 4
    windowed = sum(one < 100 for one in seen)
    assert document["windows"].startswith(f"{windowed} of 5 layers") or windowed == 0


def test_windows_of_a_shape(cost):
    """Mistral-7B-v0.1: 4096 in every layer."""
    for context, seen in [(1000, 1000), (4096, 4096), (32768, 4096)]:
        plan = cost("mistral-7b", "--arith", "f32", "--ctx", context)["plans"][0]
        (kq,) = [role for role in plan["roles"] if role["role"] == "kq"]
        assert kq["counts"]["multiplications"] == 32 * 32 * 128 * seen


PRICES = """
name = "test"
source = "made up"
[[price]]
operation = "multiply"
family = "exact"
format = "f32"
pj = 2.0
[[price]]
operation = "multiply"
family = "exact"
format = "e4m3*e2m1"
pj = 0.5
[[price]]
operation = "add"
format = "f32"
pj = 1.0
[[price]]
operation = "convert"
format = "e4m3fn"
pj = 0.25
[[price]]
operation = "convert"
format = "e2m1fn"
pj = 0.125
[[price]]
operation = "dram"
pj = 100.0
[[price]]
operation = "sram"
pj = 10.0
[[price]]
operation = "register"
pj = 0.1
"""


def test_a_layers_energy_by_hand(cost, tmp_path):
    """llama-3.1-8b at 1000 tokens, batch 4, tiles of 100: x in e4m3 per row, w in NVFP4's e2m1."""
    (tmp_path / "prices.toml").write_text(PRICES)
    plan = cost("llama-3.1-8b", "--arith", "x=e4m3@row/w=e2m1@block16(e4m3)", "--ctx", 1000,
                "--batch", 4, "--tile", 100, "--prices", tmp_path / "prices.toml")["plans"][0]
    roles = {role["role"]: role for role in plan["roles"]}
    e = roles["ffn_up"]["pj"]
    layers, n, k = 32, 14336, 4096
    assert e["multiply"] == pytest.approx(layers * n * k * 0.5)
    assert e["accumulate"] == pytest.approx(layers * n * k)
    runs = n * k / 16
    assert e["convert"] == pytest.approx(layers * (k * (0.25 + 2) + runs * 2 + (runs - n) * 1))
    w_bytes = n * k * (4 + 8 / 16) / 8
    assert e["dram"] == pytest.approx(layers * w_bytes / 4 * 100)
    assert e["sram"] == pytest.approx(
        layers * 10 * (w_bytes / 4 + (k + 4) * math.ceil(n / 100) + n * 4))  # a scale a row
    assert e["register"] == pytest.approx(layers * n * k * (1 + 4 / k + 4.5 / 8 + 8) * 0.1)
    # The cache is each sequence's own, and this token's entry is written: 8 heads of 128.
    e = roles["kq"]["pj"]
    entry = 8 * 128 * 4.5 / 8
    assert e["dram"] == pytest.approx(layers * (1000 + 1) * entry * 100)
    assert e["multiply"] == pytest.approx(layers * 32 * 128 * 1000 * 0.5)
    total = plan["pj"]
    for part in total:
        assert total[part] == pytest.approx(sum(r["pj"][part] for r in plan["roles"])), part
    assert total["total"] == pytest.approx(sum(
        total[p] for p in ("multiply", "accumulate", "convert", "elementwise", "register", "sram",
                           "dram")))


STEP = '''
[[price]]
operation = "step"
family = "exact"
format = "e4m3*e2m1+FORMAT"
pj = 0.9
'''


def test_a_step_is_a_product_and_its_sum(cost, napier, tmp_path):
    (tmp_path / "plain.toml").write_text(PRICES + STEP.replace("FORMAT", "f32"))
    (tmp_path / "aligned.toml").write_text(
        PRICES + STEP.replace("FORMAT", "f32(align=16,extra=2)"))
    aligned = "/acc=f32(align=16,extra=2)"
    count = 32 * 14336 * 4096
    for table, sums, accumulate in [
            ("plain.toml", "", 0.9 - 0.5), ("plain.toml", "/acc=f32(chunk=64)", 0.4 + 1 / 64),
            ("aligned.toml", "", 1), ("aligned.toml", aligned, 0.4)]:
        plan = cost("llama-3.1-8b", "--arith", "x=e4m3/w=e2m1" + sums, "--prices",
                    tmp_path / table)["plans"][0]
        (role,) = [role for role in plan["roles"] if role["role"] == "ffn_up"]
        assert role["pj"]["multiply"] == pytest.approx(count * 0.5)
        assert role["pj"]["accumulate"] == pytest.approx(count * accumulate), (table, sums)
    # The table that is named first is asked first, for a sum as for a step.
    plan = cost("llama-3.1-8b", "--arith", "x=e4m3/w=e2m1", "--prices",
                f"horowitz45,{tmp_path}/plain.toml")["plans"][0]
    (role,) = [role for role in plan["roles"] if role["role"] == "ffn_up"]
    assert role["pj"]["accumulate"] == pytest.approx(count * 0.9)
    done = napier("cost", "llama-3.1-8b", "--arith", "x=e4m3/w=e2m1" + aligned, "--prices",
                  tmp_path / "plain.toml")
    assert done.returncode == 2
    assert "no price of 'step exact e4m3fn*e2m1fn+f32(align=16,extra=2)'" in done.stderr


def test_zero_points_by_hand(cost, tmp_path):
    """(x - z) w = x w - z w: an addition an output, and a multiplication where z is not fixed."""
    prices = PRICES
    for operation, name, pj in [("multiply", "uint8*int8", 0.5), ("multiply", "int8*uint8", 0.5),
                                ("add", "int32", 0.25), ("convert", "uint8", 0.125),
                                ("convert", "int8", 0.125)]:
        family = 'family = "exact"\n' if operation == "multiply" else ""
        prices += f'[[price]]\noperation = "{operation}"\n{family}format = "{name}"\npj = {pj}\n'
    (tmp_path / "prices.toml").write_text(prices)
    layers, n, k = 32, 14336, 4096
    for arith, additions, multiplications in [
            ("x=uint8@tensor(f32,given=0.01:7)/w=int8@row/acc=int32", n, 0),
            ("x=uint8@row(f32,minmax)/w=int8@row/acc=int32", n, n),
            ("x=int8@row/w=uint8@row(f32,minmax)/acc=int32", n + k, n)]:
        plan = cost("llama-3.1-8b", "--arith", "f32", "--plan",
                    f"*ffn_up* -> {arith}; * -> f32", "--prices",
                    tmp_path / "prices.toml")["plans"][1]
        (role,) = [role for role in plan["roles"] if role["role"] == "ffn_up"]
        assert role["pj"]["accumulate"] == pytest.approx(layers * (n * k + additions) * 0.25)
        assert role["pj"]["convert"] == pytest.approx(
            layers * (k * (0.125 + 2) + n * 2 + multiplications * 2)), arith


def test_treatments_by_hand(cost, tmp_path):
    """Beside the same product without them, of feed-forward's first matrices in llama-3.1-8b."""
    (tmp_path / "prices.toml").write_text(PRICES)
    layers, n, k = 32, 14336, 4096

    def role(treatments):
        plan = cost("llama-3.1-8b", "--arith", "f32", "--plan",
                    f"*ffn_up* -> x=e4m3/w=e2m1{treatments}; * -> f32", "--batch", 4, "--tile",
                    100, "--prices", tmp_path / "prices.toml")["plans"][1]
        (found,) = [role for role in plan["roles"] if role["role"] == "ffn_up"]
        return found["pj"] | {"arith": found["arith"], "stored": plan["stored_bytes"]}

    plain = role("")
    result = role(" with result(e4m3@row)")
    assert result["arith"].endswith(" with result(e4m3fn@row)")
    outputs = layers * n
    # Rounded, divided by the row's scale and multiplied again; stored in a byte and a scale a row.
    assert result["convert"] - plain["convert"] == pytest.approx(outputs * (0.25 + 2 * 2))
    assert result["sram"] - plain["sram"] == pytest.approx(outputs * (1 + 4 / n - 4) * 10)
    assert result["dram"] == plain["dram"] and result["stored"] == plain["stored"]
    equalised = role(" with equalise")
    activations = layers * k
    assert equalised["convert"] - plain["convert"] == pytest.approx(activations * 2)
    assert equalised["dram"] - plain["dram"] == pytest.approx(activations * 4 / 4 * 100)
    assert equalised["stored"] - plain["stored"] == activations * 4
    corrected = role(" with lowrank(16,x=e4m3/w=e2m1)")
    factors = layers * 16 * (n + k)
    assert corrected["multiply"] - plain["multiply"] == pytest.approx(factors * 0.5)
    assert corrected["accumulate"] - plain["accumulate"] == pytest.approx(factors + outputs)
    assert corrected["convert"] - plain["convert"] == pytest.approx(layers * (k + 16) * 0.25)
    assert corrected["dram"] - plain["dram"] == pytest.approx(factors * 0.5 / 4 * 100)
    assert corrected["stored"] - plain["stored"] == factors / 2


def test_requantisation_by_hand(cost, tmp_path):
    """A multiplication and a shift of each sum in place of its two scales, and one f32
    multiplication where the integers end."""
    prices = PRICES
    for operation, name, pj in [("multiply", "int8", 0.5), ("add", "int32", 0.25),
                                ("convert", "int8", 0.125), ("requantise", "int8+int32", 3)]:
        family = 'family = "exact"\n' if operation == "multiply" else ""
        prices += f'[[price]]\noperation = "{operation}"\n{family}format = "{name}"\npj = {pj}\n'
    (tmp_path / "prices.toml").write_text(prices)
    layers, n, k = 32, 14336, 4096
    found = []
    for treatments in ("", " with dyadic(int8@tensor)"):
        plan = cost("llama-3.1-8b", "--arith", "f32", "--plan",
                    f"*ffn_up* -> x=int8@tensor/w=int8@row/acc=int32{treatments}; * -> f32",
                    "--prices", tmp_path / "prices.toml")["plans"][1]
        found += [role["pj"] for role in plan["roles"] if role["role"] == "ffn_up"]
    plain, dyadic = found
    assert plain["convert"] == pytest.approx(layers * (k * (0.125 + 2) + n * 2))
    assert dyadic["convert"] == pytest.approx(layers * (k * (0.125 + 2) + n * (3 + 2)))
    assert dyadic["sram"] - plain["sram"] == pytest.approx(layers * n * (1 - 4) * 10)
    for part in ("multiply", "accumulate", "dram", "register"):
        assert dyadic[part] == plain[part]


def test_a_product_that_is_not_exact_takes_zero_points_away_first(cost, tmp_path):
    """L(x, w) of a code and its zero point is not L(code, w) - L(zero, w)."""
    prices = PRICES
    for operation, name, pj in [("multiply", "int9*int8", 0.5), ("add", "int32", 0.25),
                                ("convert", "uint8", 0.125)]:
        family = 'family = "lmul"\n' if operation == "multiply" else ""
        prices += f'[[price]]\noperation = "{operation}"\n{family}format = "{name}"\npj = {pj}\n'
    (tmp_path / "prices.toml").write_text(prices)
    layers, n, k = 32, 14336, 4096
    plan = cost("llama-3.1-8b", "--arith", "f32", "--plan",
                "*ffn_up* -> x=uint8@row(f32,minmax)/w=int8@row/mul=lmul; * -> f32", "--prices",
                tmp_path / "prices.toml")["plans"][1]
    (role,) = [role for role in plan["roles"] if role["role"] == "ffn_up"]
    assert role["pj"]["multiply"] == pytest.approx(layers * n * k * 0.5)
    assert role["pj"]["accumulate"] == pytest.approx(layers * (n * k + k * 0.25))
    assert role["pj"]["convert"] == pytest.approx(layers * (k * (0.125 + 2) + n * 2))


def test_a_rounding_has_its_own_price(cost, tmp_path):
    """To truncate costs wires, to round an adder: one must not stand for the other."""
    rows = "".join(f"[[price]]\noperation = 'convert'\nformat = '{name}'\npj = {pj}\n"
                   for name, pj in [("e4m3:rtz", 0.01), ("e2m1", 0.5), ("e2m1:sr", 3)])
    (tmp_path / "prices.toml").write_text(PRICES.replace('"e2m1fn"', '"e3m0none"') + rows)
    for x, w, pj in [("e4m3", "e2m1", 0.25), ("e4m3:rtz", "e2m1", 0.01)]:
        plan = cost("llama-3.1-8b", "--arith", f"x={x}/w={w}", "--prices",
                    tmp_path / "prices.toml")["plans"][0]
        (role,) = [role for role in plan["roles"] if role["role"] == "ffn_up"]
        assert role["pj"]["convert"] == pytest.approx(32 * 4096 * pj)
    fresh = 32 * 8 * 128  # the cache's new keys are rounded too
    for w, pj in [("e2m1", 0.5), ("e2m1:sr", 3)]:
        plan = cost("llama-3.1-8b", "--arith", f"x=e4m3/w={w}", "--prices",
                    tmp_path / "prices.toml")["plans"][0]
        (role,) = [role for role in plan["roles"] if role["role"] == "kq"]
        assert role["pj"]["convert"] == pytest.approx(32 * 32 * 128 * 0.25 + fresh * pj)


def test_an_overflow_has_its_own_price(cost, napier, tmp_path):
    """Saturation is not infinity: the built-in table has both of e4m3 and e5m2, and of e3m2 one."""
    rows = "".join(f"[[price]]\noperation = 'convert'\nformat = '{name}'\npj = {pj}\n"
                   for name, pj in [("e4m3:inf", 3), ("e4m3:inf:rtz", 5), ("e5m2:sat", 7)])
    (tmp_path / "prices.toml").write_text(PRICES + rows)
    for x, pj in [("e4m3", 0.25), ("e4m3:inf", 3), ("e4m3:rtz:inf", 5), ("e5m2", 7)]:
        plan = cost("llama-3.1-8b", "--arith", f"x={x}/w=e2m1", "--prices",
                    tmp_path / "prices.toml", "--free", "multiply,add")["plans"][0]
        (role,) = [role for role in plan["roles"] if role["role"] == "ffn_up"]
        assert role["pj"]["convert"] == pytest.approx(32 * 4096 * pj)
    plan = cost("llama-3.1-8b", "--arith", "x=e4m3:inf/w=e4m3:inf")["plans"][0]
    assert "convert e4m3fn:inf" in {price["operation"] for price in plan["prices"]}
    done = napier("cost", "llama-3.1-8b", "--arith", "x=e3m2none:inf/w=e3m2none:inf")
    assert done.returncode == 2 and "'convert e3m2fn:inf'" in done.stderr, done.stderr


def test_llama_has_its_parameters(cost):
    """8.03 and 70.55 milliards, less the embedding's table: 2 bytes each in bf16."""
    for name, parameters in [("llama-3.1-8b", 8.03e9 - 128256 * 4096),
                             ("llama-3.1-70b", 70.55e9 - 128256 * 8192)]:
        plan = cost(name, "--arith", "bf16", "--free",
                    "multiply,add,convert,dram,sram,register")["plans"][0]
        assert plan["stored_bytes"] == pytest.approx(2 * parameters, rel=1e-3)
        assert plan["pj"]["total"] == 0


def test_gates_and_ratios_of_the_paper(cost):
    document = cost("--show", "gates")
    gates = {row["unit"]: row for row in document["gates"]}
    # ((j+1)^2 + 3*5 + (2j-2)*11 = 334, 75, 46), and 250 that have no breakdown.
    for unit, j, printed, formula in [("fp16 multiply", 10, 584, 334),
                                      ("fp8 e4m3 multiply", 3, 325, 75),
                                      ("fp8 e5m2 multiply", 2, 296, 46)]:
        row = gates[unit]
        assert (row["printed"], row["by_formula"], row["not_derivable"]) == (printed, formula, 250)
        n = j + 1
        assert row["array_multiplier"] == n * n + 5 * n + 11 * n * (n - 2)
    assert gates["L-Mul fp16"]["by_formula"] is None and gates["L-Mul fp8"]["printed"] == 157
    ratios = {row["claim"]: row["ratio"] for row in document["ratios"]}
    assert round(ratios["dot product, fp32, costs"], 3) == 0.217
    assert round(ratios["dot product, fp16, costs"], 3) == 0.307
    assert round(1 - ratios["element-wise product, fp32, costs"], 2) == 0.97


def test_an_array_multiplier_counted_cell_by_cell():
    """The count by building one: rows of partial products added ripple by ripple."""
    for n in range(2, 12):
        half = full = 0
        column = [1] * n + [0] * n  # bits that stand in each place so far
        for row in range(1, n):
            carry = False
            for place in range(row, row + n):
                bits = 1 + (column[place] > 0) + carry
                half += bits == 2
                full += bits == 3
                carry = bits >= 2
                column[place] = 1
            column[row + n] = int(carry)
        assert (half, full) == (n, n * (n - 2)), n


def test_prices_have_sources(cost):
    tables = {table["name"]: table for table in cost("--show", "prices")}
    assert {"horowitz45", "lmul-paper", "tpu7", "osu018"} <= set(tables)
    for table in tables.values():
        for price in table["prices"]:
            assert price["source"] and price["pj"] >= 0
    prices = {(p["operation"], p["family"], p["format"]): p["pj"]
              for p in tables["horowitz45"]["prices"]}
    assert prices["multiply", "exact", "f32"] == 3.7 and prices["add", "", "f32"] == 0.9


def test_a_table_of_ones_own_is_shown_and_told_from_the_built_in(cost, napier, tmp_path):
    """What `napier hw report` measures on osu018 is called osu018 as the built-in table is."""
    own = tmp_path / "own.toml"
    own.write_text(PRICES.replace('"test"', '"osu018"'))
    (table,) = cost("--show", "prices", "--prices", own)
    assert len(table["prices"]) == PRICES.count("[[price]]")
    plan = cost("llama-3.1-8b", "--arith", "bf16", "--prices", f"{own},osu018")["plans"][0]
    tables = {p["operation"]: p["table"] for p in plan["prices"]}
    assert tables["dram"] == f"osu018 ({own})" and tables["multiply exact bf16"] == "osu018"
    (scaled,) = cost("--show", "prices", "--prices", "osu018@horowitz45")
    pj = {(p["operation"], p["family"], p["format"]): p["pj"] for p in scaled["prices"]}
    assert pj["multiply", "exact", "f32"] + pj["add", "", "f32"] == pytest.approx(3.7 + 0.9)


def test_a_role_in_two_arithmetics(napier):
    done = napier("cost", "llama-3.1-8b", "--arith", "f32", "--plan",
                  "blk.0.*->bf16; *->f32", "--show", "roles")
    rows = [line.split()[-18:] for line in done.stdout.splitlines() if " attn_q " in line]
    assert sorted(row[0:2] for row in rows) == [["attn_q", "bf16"], ["attn_q", "f32"],
                                                ["attn_q", "f32"]]


def test_scaling_one_table_by_another(cost, tmp_path):
    (tmp_path / "prices.toml").write_text(PRICES)
    plan = cost("llama-3.1-8b", "--arith", "f32", "--prices",
                f"{tmp_path}/prices.toml@horowitz45")["plans"][0]
    prices = {p["operation"]: p["pj"] for p in plan["prices"]}
    assert prices["multiply exact f32"] == pytest.approx(2 * 4.6 / 3)
    assert prices["dram"] == pytest.approx(100 * 4.6 / 3)


def test_csv(napier, tmp_path):
    (tmp_path / "prices.toml").write_text(PRICES)
    done = napier("cost", "llama-3.1-8b", "--arith", "f32", "--prices", tmp_path / "prices.toml",
                  "--plan", "kq* -> x=e4m3/w=e2m1; * -> f32", "--csv")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert len({row["arith"] for row in rows}) == 2
    attention = [r for r in rows if r["role"] == "kq" and r["arith"] != "f32"]
    assert attention[0]["role_arith"].startswith("x=e4m3fn/w=e2m1fn")


@pytest.mark.parametrize("arguments, words", [
    (["llama-3.1-8b", "--arith", "lmul-m4", "--prices", "horowitz45"], "multiply lmul e8m4"),
    (["llama-3.1-8b", "--arith", "mul=lmul(reading=formula)"], "multiply lmul-formula f32"),
    # Another rounding, other subnormals, another constant: other circuits, which no table has.
    (["llama-3.1-8b", "--arith", "x=e4m3:sr/w=e4m3"], "convert e4m3fn:sr"),
    (["llama-3.1-8b", "--arith", "x=e8m4:rna/w=e8m4:rtz/mul=lmul"], "convert e8m4:rna"),
    (["llama-3.1-8b", "--arith", "fp8_e4m3/acc=bf16:rtz"], "add bf16:rtz"),
    (["llama-3.1-8b", "--arith", "x=e4m3:ftz/w=e4m3"], "multiply exact e4m3fn:ftz*e4m3fn"),
    (["llama-3.1-8b", "--arith", "lmul-m4/mul=lmul(l=5)"], "multiply lmul e8m4 as lmul(k=4,l=5)"),
    (["llama-3.1-8b", "--prices", "nobody"], "nobody"), (["llama-9"], "llama-9"), ([], "model"),
    (["llama-3.1-8b", "--prices", "./none.toml"], "none.toml"),
    (["llama-3.1-8b", "--ctx", "0"], "--ctx"), (["llama-3.1-8b", "--batch", "0"], "--batch"),
    (["llama-3.1-8b", "--tile", "0"], "--tile"), (["llama-3.1-8b", "--free", "mul"], "mul"),
    (["llama-3.1-8b", "--free", "step"], "step"),
    (["llama-3.1-8b", "--prices", "bad.toml"], "bad.toml"), (["bad.toml"], "bad.toml"),
    (["llama-3.1-8b", "--prices", "horowitz45,"], "expected a table of prices"),
    (["llama-3.1-8b", "--prices", "free.toml@horowitz45,horowitz45"], "nothing can be scaled"),
    (["llama-3.1-8b", "--prices", "horowitz45@free.toml,horowitz45"], "nothing can be scaled"),
    (["--show", "prices", "--prices", "nobody"], "nobody"),
    (["--show", "gates", "--csv"], "--csv"),
    (["llama-3.1-8b", "--plan", "*.weight -> int8-int32 with outliers(6,f16); * -> f32"],
     "depends on how a text's activations are"),
    (["llama-3.1-8b", "--plan", "*.weight -> f32 with delta(0.1); * -> f32"], "depends"),
    (["llama-3.1-8b", "--plan", "*.weight -> int8/acc=int24 with dyadic(int8@tensor); * -> f32",
      "--free", "add"], "no price of 'requantise int8+int24'"),
    (["llama-3.1-8b", "--plan", RECIPES / "mobilequant.toml"], "is a shape"),
])
def test_wrong_requests(napier, arguments, words, tmp_path):
    (tmp_path / "bad.toml").write_text("name = 'x'\nsource = 'y'\n[[price]]\noperation = 'add'\n")
    (tmp_path / "free.toml").write_text(re.sub("pj = .*", "pj = 0", PRICES))
    done = napier("cost", *arguments, cwd=tmp_path)
    assert done.returncode == 2 and words in done.stderr, done.stderr
    assert done.stderr.count("\n") == 1 and not done.stdout


@pytest.mark.parametrize("text, words", [
    ("name = 'x'", "needs 'name' and 'source'"), ("name = 'x'\nsource = 'y'", "without prices"),
    (PRICES + "[[price]]\noperation = 'add'\nformat = 'f32'\npj = 1", "two prices"),
    (PRICES + "[[price]]\noperation = 'add'\nformat = 'f16'\npj = -1", "not below 0"),
    (PRICES + "[[price]]\noperation = 'add'\nformat = 'f16'\npj = nan", "not below 0"),
    (PRICES + "[[price]]\noperation = 'multiply'\nformat = 'f16'\npj = 1", "needs a family"),
    (PRICES + "[[price]]\noperation = 'step'\nformat = 'f16+f32'\npj = 1", "needs a family"),
    (PRICES + "[[price]]\noperation = 'dram'\nformat = 'f16'\npj = 1", "takes no format"),
    (PRICES + "[[price]]\noperation = 'sub'\nformat = 'f16'\npj = 1", "no operation"),
    (PRICES + "[[price", "line"),
    ("name = 'x'\nsource = 'y'\n[price]\noperation = 'dram'\npj = 1", "[[price]]"),
    (PRICES.replace("[[price]]", "[[prices]]"), "has no 'prices'"),
    ("name = 3\nsource = 'y'", "'name' is to be a text"),
    (PRICES + "[[price]]\noperation = 'add'\nformat = 16\npj = 1", "'format' is to be a text"),
    (PRICES + "[[price]]\noperation = 'add'\nformat = 'f16'\npj = 1\nspred = 1", "no 'spred'"),
    (PRICES + "[[price]]\noperation = 'add'\nformat = 'f16'\npj = 1\nspread = 'x'", "spread"),
    (PRICES + "[[price]]\noperation = 'add'\nformat = 'f16'\npj = 1e300", "at most 1e12"),
    (PRICES + "[[price]]\noperation = 'multiply'\nfamily = 'lmull'\nformat = 'f16'\npj = 1",
     "'lmull' is no family of multipliers"),
])
def test_broken_tables(napier, text, words, tmp_path):
    (tmp_path / "t.toml").write_text(text)
    done = napier("cost", "llama-3.1-8b", "--prices", tmp_path / "t.toml")
    assert done.returncode == 2 and words in done.stderr and "t.toml" in done.stderr, done.stderr
    assert done.stderr.count("\n") == 1
