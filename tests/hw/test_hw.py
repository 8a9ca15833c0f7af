"""napier hw: Verilog, the report and its table of prices, wrong requests."""
import json
import shutil
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


@pytest.mark.parametrize("arguments, words", [
    (["hw", "report", "--arith", "bf16", "--delay", "soon", "--tech", "x"], "neither a number"),
    (["hw", "verilog", "x=e8m0u"], "no circuit"), (["hw"], "subcommand"),
    (["hw", "verilog", "bf16", "--unit", "raw"], "bare addition"),
    (["hw", "verilog", "bf16", "--unit", "fast"], "fast"),
    (["hw", "verilog", "int99"], "int"), (["hw", "check", "--arith", "nothing"], "nothing"),
    (["hw", "report", "--arith", "bf16", "--tech", "none.lib"], "none.lib"),
    (["hw", "report", "--arith", "bf16", "--vectors", "1", "--tech", "x"], "--vectors"),
    (["hw", "report", "--arith", "bf16", "--operands", "cauchy", "--tech", "x"], "no law"),
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
