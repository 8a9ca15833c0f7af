"""napier where: its outputs agree with each other, its SVG is one, errors name what is wrong."""
import csv
import io
import json
import xml.etree.ElementTree

import pytest


@pytest.fixture(scope="module")
def where(napier, shared, opening):
    def run(*arguments):
        return napier("where", shared("data/models/stories260K.gguf"), "--text",
                      opening("data/text/tinystories.txt"), "--ctx", 32, "--chunks", 1,
                      "--threads", 1, *arguments)
    return run


def test_outputs_agree(where, tmp_path):
    svg = tmp_path / "where.svg"
    done = where("--arith", "lmul-m4,bf16/w=e4m3", "--json", "--svg", svg)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    table = where("--arith", "lmul-m4,bf16/w=e4m3", "--csv").stdout
    rows = list(csv.DictReader(io.StringIO(table)))
    parts = [(entry["arith"], part) for entry in document["arithmetics"] for part in entry["parts"]]
    assert len(rows) == len(parts) == 2 * (46 + 10 + 5)
    for row, (arith, part) in zip(rows, parts):
        assert (row["arith"], row["part"], row["name"]) == (arith, part["part"], part["name"])
        assert float(row["kl_mean"]) == part["kl_mean"]
    root = xml.etree.ElementTree.parse(svg).getroot()
    titles = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "bf16/w=e4m3: signal-to-noise ratio" in titles and "mantissas of weights" in titles
    cells = [title.text for title in root.iter("{http://www.w3.org/2000/svg}title")]
    assert len(cells) == 2 * 3 * 46


def test_parts_can_be_chosen(where):
    done = where("--arith", "lmul-m4", "--parts", "role", "--json")
    assert {p["part"] for p in json.loads(done.stdout)["arithmetics"][0]["parts"]} == {"role"}
    table = where("--arith", "lmul-m4", "--parts", "role").stdout
    assert "signal-to-noise" in table and "layer 4" in table and "with only this one" not in table


@pytest.mark.parametrize("arguments, word", [
    (("--arith", "nosuch"), "nosuch"), (("--arith", "f32", "--parts", "head"), "head"),
    (("--arith", "w=e2m1@block48"), "block"), ((), "--arith"),
    (("--arith", "f32", "--svg", "/nosuch/a.svg"), "/nosuch")])
def test_wrong_requests(where, arguments, word):
    done = where(*arguments)
    assert done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1
    assert word in done.stderr
