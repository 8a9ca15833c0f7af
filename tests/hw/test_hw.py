"""napier hw: Verilog, the report and its table of prices, wrong requests."""
import gzip
import json
import re
import shutil
import tomllib
from pathlib import Path

import pytest

OSU018 = Path("/usr/share/qflow/tech/osu018/osu018_stdcells.lib")
TOOLS = ["yosys", "sta", "iverilog"]


@pytest.fixture
def flow():
    missing = [tool for tool in TOOLS if not shutil.which(tool)] + [OSU018] * (not OSU018.exists())
    if missing:
        pytest.skip(f"SKIPPED: needs {missing[0]}")


def test_verilog_is_one_file(napier, tmp_path):
    done = napier("hw", "verilog", "lmul-m4", "--unit", "raw", "--output", tmp_path / "unit.v")
    text = (tmp_path / "unit.v").read_text()
    assert done.returncode == 0 and text.count("\nmodule unit ") == 1
    # 13-bit patterns of e8m4: less the bias 127 << 4, plus 2^-3 of 16, modulo 2^12.
    assert f".N(13), .OFFSET(12'd{(2 - (127 << 4)) % 4096})" in text


def test_check_says_what_it_did(napier):
    if not shutil.which("iverilog"):
        pytest.skip("SKIPPED: needs iverilog")
    done = napier("hw", "check", "--arith", "x=e2m1/w=e2m1,int2", "--unit", "wide,step", "--icarus")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("every pair of operands, 0 differ") == 4
    assert "256 vectors" in done.stdout and "16 vectors" in done.stdout


def test_report_feeds_cost(napier, flow, tmp_path):
    prices = tmp_path / "own.toml"
    done = napier("hw", "report", "--arith", "x=e4m3/w=e4m3,lmul-e4m3", "--unit", "wide,convert",
                  "--repeats", 2, "--vectors", 100, "--delay", "0", "--json", "--prices", prices)
    assert done.returncode == 0, done.stderr
    units = {(u["arith"], u["unit"]): u for u in json.loads(done.stdout)["units"]}
    assert len(units) == 4
    exact, lmul = units["x=e4m3/w=e4m3", "wide"], units["lmul-e4m3", "wide"]
    assert lmul["area"]["mean"] < exact["area"]["mean"]
    for unit in units.values():
        assert 0 < unit["pj_glitch_free"]["mean"] <= unit["pj"]["mean"]
    cost = napier("cost", "llama-3.1-8b", "--arith", "x=e4m3/w=e4m3", "--prices", prices, "--json",
                  "--free", "add,dram,sram,register")
    assert cost.returncode == 2 and "multiply exact f32" in cost.stderr  # element-wise ones
    cost = napier("cost", "llama-3.1-8b", "--arith", "x=e4m3/w=e4m3", "--prices",
                  f"{prices},horowitz45", "--free", "dram", "--json")
    used = {p["operation"]: p for p in json.loads(cost.stdout)["plans"][0]["prices"]}
    assert used["multiply exact e4m3fn"]["pj"] == pytest.approx(exact["pj_glitch_free"]["mean"],
                                                                rel=1e-4)
    assert "napier hw report" in used["convert e4m3fn"]["source"]


def test_report_at_least_area_and_at_equal_delay(napier, flow):
    done = napier("hw", "report", "--arith", "x=e4m3/w=e4m3,lmul-e4m3", "--unit", "same",
                  "--repeats", 1, "--vectors", 100, "--json")
    assert done.returncode == 0, done.stderr
    small, fast = (units for units in zip(*[iter(json.loads(done.stdout)["units"])] * 2))
    assert {u["target"] for u in small} == {0}
    (target,) = {u["target"] for u in fast}
    for before, after in zip(small, fast):
        assert after["delay"]["mean"] <= target + 1e-9 and after["missed"] == 0
        if before["delay"]["mean"] > target:
            assert after["area"]["mean"] > before["area"]["mean"]
    assert max(u["delay"]["mean"] for u in small) > target


def test_prices_are_of_the_first_delay(napier, flow, tmp_path):
    """Fast multipliers take more energy than small ones: a table must say which it has."""
    tables = []
    for name, delays in [("small", "0,equal"), ("fast", "equal,0")]:
        done = napier("hw", "report", "--arith", "x=e3m2/w=e3m2,x=e2m1/w=e2m1", "--unit", "wide",
                      "--repeats", 1, "--vectors", 100, "--delay", delays, "--json", "--prices",
                      tmp_path / f"{name}.toml")
        assert done.returncode == 0, done.stderr
        units = json.loads(done.stdout)["units"]
        tables.append(tomllib.loads((tmp_path / f"{name}.toml").read_text()))
        assert [p["pj"] for p in tables[-1]["price"]] == [
            pytest.approx(u["pj_glitch_free"]["mean"], rel=1e-4) for u in units[:2]]
    small, fast = tables
    assert "least area" in small["title"] and "least area" not in fast["title"]
    assert "slowest of a kind" in fast["title"]
    assert small["price"][0]["pj"] < fast["price"][0]["pj"]


def test_steps_and_dots_feed_cost(napier, flow, tmp_path):
    """Sums are priced by the circuit that makes them, less its product."""
    prices, arith = tmp_path / "own.toml", "x=e3m2/w=e3m2"
    aligned = arith + "/acc=f16(align=4,extra=1)"
    for kinds, arithmetics in [("wide,step,convert", arith), ("dot", aligned)]:
        done = napier("hw", "report", "--arith", arithmetics, "--unit", kinds, "--repeats", 1,
                      "--vectors", 60, "--delay", 0, "--json", "--prices", tmp_path / "part.toml")
        assert done.returncode == 0, done.stderr
        with prices.open("a") as file:
            part = (tmp_path / "part.toml").read_text()
            file.write(part if kinds != "dot" else part[part.index("[[price]]"):])
        if kinds == "dot":
            (dot,) = json.loads(done.stdout)["units"]
    rows = tomllib.loads(prices.read_text())["price"]
    priced = {(row["operation"], row["format"]): row["pj"] for row in rows}
    assert dot["lanes"] == 4
    assert priced["step", "e3m2fn+f16(align=4,extra=1)"] == pytest.approx(
        dot["pj_glitch_free"]["mean"] / 4, rel=1e-4)
    product = priced["multiply", "e3m2fn"]
    for text, sums in [(arith, "f32"), (aligned, "f16(align=4,extra=1)")]:
        done = napier("cost", "llama-3.1-8b", "--arith", text, "--prices", f"{prices},horowitz45",
                      "--json")
        assert done.returncode == 0, done.stderr
        plan = json.loads(done.stdout)["plans"][0]
        (role,) = [r for r in plan["roles"] if r["role"] == "ffn_up"]
        count = 32 * 14336 * 4096
        assert role["pj"]["multiply"] == pytest.approx(count * product)
        assert role["pj"]["accumulate"] == pytest.approx(
            count * max(0, priced["step", f"e3m2fn+{sums}"] - product))


def test_a_library_elsewhere_packed_or_not(napier, flow, tmp_path):
    (tmp_path / "mine.lib").write_bytes(OSU018.read_bytes())
    with gzip.open(tmp_path / "packed.lib.gz", "wb") as file:
        file.write(OSU018.read_bytes())
    done = napier("hw", "report", "--arith", "x=e2m1/w=e2m1", "--unit", "wide", "--repeats", 1,
                  "--vectors", 50, "--delay", 0, "--json", "--tech",
                  f"{OSU018},{tmp_path / 'mine.lib'},{tmp_path / 'packed.lib.gz'}")
    assert done.returncode == 0, done.stderr
    here, plain, packed = json.loads(done.stdout)["units"]
    assert (plain["technology"], packed["technology"]) == ("mine", "packed")
    for key in ("area", "delay", "pj", "pj_glitch_free"):
        assert here[key] == plain[key] == packed[key]


@pytest.mark.parametrize("arguments, words", [
    (["hw", "report", "--arith", "bf16", "--delay", "soon", "--tech", "x"], "neither a number"),
    (["hw", "verilog", "x=e8m0u"], "no circuit"), (["hw"], "subcommand"),
    (["hw", "verilog", "bf16", "--unit", "raw"], "bare addition"),
    (["hw", "verilog", "bf16", "--unit", "fast"], "fast"),
    (["hw", "verilog", "int99"], "int"), (["hw", "check", "--arith", "nothing"], "nothing"),
    (["hw", "report", "--arith", "bf16", "--tech", "none.lib"], "none.lib"),
    (["hw", "report", "--arith", "bf16", "--vectors", "1", "--tech", "x"], "--vectors"),
    (["hw", "report", "--arith", "bf16", "--operands", "cauchy", "--tech", "x"], "no law"),
    (["hw", "report", "--arith", "bf16", "--text", "x", "--tech", "x"], "only a model reads"),
    (["hw", "report", "m.gguf", "--arith", "bf16", "--operands", "gaussian"], "excludes"),
    (["hw", "report", "--arith", "bf16", "--delay", ",", "--tech", "x"], "expected a delay"),
])
def test_wrong_requests(napier, arguments, words, tmp_path):
    if "none.lib" in arguments and not all(map(shutil.which, TOOLS)):
        pytest.skip("SKIPPED: needs yosys")
    done = napier(*arguments, cwd=tmp_path)
    assert done.returncode == 2 and words in done.stderr, done.stderr


def test_without_tools_it_says_so(napier, tmp_path):
    (tmp_path / "x.lib").write_text("library (x) { }")
    done = napier("hw", "report", "--arith", "bf16", "--tech", tmp_path / "x.lib",
                  env={"PATH": "/nowhere"})
    assert done.returncode == 2 and "not installed: yosys, sta, iverilog" in done.stderr
    done = napier("hw", "check", "--arith", "bf16", env={"PATH": "/nowhere"})
    assert done.returncode == 2 and "apt-get install verilator)" in done.stderr


def test_a_packed_library_of_this_folder(napier, flow, tmp_path):
    """By a relative path, and its name within quotes; the table it makes is one for napier cost."""
    name = 'my "cells".lib.gz'
    with gzip.open(tmp_path / name, "wb") as file:
        file.write(OSU018.read_bytes())
    done = napier("hw", "report", "--arith", "x=e2m1/w=e2m1", "--unit", "wide", "--repeats", 1,
                  "--vectors", 50, "--delay", 0, "--tech", name, "--prices", "p.toml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert tomllib.loads((tmp_path / "p.toml").read_text())["name"] == 'my "cells"'
    shown = napier("cost", "--show", "prices", "--prices", "p.toml", cwd=tmp_path)
    assert shown.returncode == 0 and "multiply exact e2m1fn" in shown.stdout, shown.stderr


def test_two_libraries_of_one_name(napier, flow, tmp_path):
    """Each is compared with its own first."""
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    (tmp_path / "a" / "x.lib").write_bytes(OSU018.read_bytes())
    half = re.sub(r"\barea : ([0-9.]+)", lambda m: f"area : {float(m[1]) / 2}",
                  OSU018.read_text())
    (tmp_path / "b" / "x.lib").write_text(half)
    done = napier("hw", "report", "--arith", "x=e2m1/w=e2m1", "--unit", "wide", "--repeats", 1,
                  "--vectors", 50, "--delay", 0, "--tech", "a/x.lib,b/x.lib", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith("x=e2m1")]
    assert [row[2] for row in rows] == ["a/x.lib", "b/x.lib"]
    assert all(row.count("100.0") == 3 for row in rows), done.stdout


def test_delays_are_in_ns_whatever_the_librarys_unit(napier, flow, tmp_path):
    """The same numbers in picoseconds are delays of a thousandth."""
    text = OSU018.read_text()
    assert 'time_unit : "1ns"' in text
    (tmp_path / "ps.lib").write_text(text.replace('time_unit : "1ns"', 'time_unit : "1ps"'))
    done = napier("hw", "report", "--arith", "x=e3m2/w=e3m2", "--unit", "wide", "--repeats", 1,
                  "--vectors", 50, "--delay", 0, "--tech", f"{OSU018},ps.lib", "--json",
                  cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    here, ps = json.loads(done.stdout)["units"]
    assert ps["delay"]["mean"] == pytest.approx(here["delay"]["mean"] / 1000, abs=1e-4)


def test_a_technology_of_several_files(napier, flow, tmp_path):
    text = OSU018.read_text()
    cells = [found.start() for found in re.finditer(r"^cell ?\(", text, re.M)]
    middle, end = cells[len(cells) // 2], text.rindex("}")
    (tmp_path / "a_gates.lib").write_text(text[:middle] + "}")
    rest = text[:cells[0]] + text[middle:end] + "}"
    with gzip.open(tmp_path / "a_more.lib.gz", "wb") as file:
        file.write(rest.encode())
    (tmp_path / "low.lib").write_text(rest.replace("nom_voltage : 1.8", "nom_voltage : 1.2"))
    common = ["hw", "report", "--arith", "fp8_e5m2", "--unit", "wide", "--repeats", 1, "--vectors",
              50, "--delay", 0, "--pipelined", "--json", "--tech"]
    done = napier(*common, f"{OSU018},a_gates.lib+a_more.lib.gz", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    here, parts = json.loads(done.stdout)["units"]
    assert parts["technology"] == "a"
    for key in ("area", "delay", "pj", "pj_glitch_free"):
        assert here[key] == parts[key]
    for files, words in [("a_gates.lib+a_gates.lib", "has a cell"), ("a_gates.lib+none", "none"),
                         ("a_gates.lib+low.lib", "nom_voltage is not the same")]:
        done = napier(*common, files, cwd=tmp_path)
        assert done.returncode == 2 and words in done.stderr, done.stderr
        assert done.stderr.count("\n") == 1


INVERTER = """library (x) { nom_voltage : 1.8; cell (INV) { area : 1;
  pin (A) { direction : input; capacitance : 0.1; }
  pin (Y) { direction : output; function : "(!A)"; } } }"""
GATES = INVERTER[:-1] + """cell (NAND2) { area : 1;
  pin (A) { direction : input; capacitance : 0.1; } pin (B) { direction : input; }
  pin (Y) { direction : output; function : "(!(A B))"; } } }"""


@pytest.mark.parametrize("name, content, words", [
    ("x.lib.gz", b"no gzip", "no whole gzip file"),
    ("x.lib.gz", gzip.compress(INVERTER.encode())[:-9], "no whole gzip file"),
    ("x.lib", INVERTER.encode(), "an inverter and a gate"),
    ("x.lib", GATES.replace("!A)", "A)").encode(), "an inverter and a gate"),
    ("x.lib", GATES.encode(), "no flip-flop"),
])
def test_libraries_of_which_nothing_can_be_made(napier, flow, name, content, words, tmp_path):
    (tmp_path / name).write_bytes(content)
    done = napier("hw", "report", "--arith", "x=e2m1/w=e2m1", "--unit", "wide", "--repeats", 1,
                  "--vectors", 50, "--delay", 0, "--pipelined", "--tech", name, cwd=tmp_path)
    assert done.returncode == 2 and words in done.stderr and name in done.stderr, done.stderr
    assert done.stderr.count("\n") == 1
