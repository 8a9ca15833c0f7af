"""napier league: a row for each arithmetic that fits, bits counted by hand, the same figures as
eval's, a plot that is XML."""
import csv
import io
import json
import xml.etree.ElementTree

import pytest


@pytest.fixture(scope="module")
def model(shared):
    return shared("data/models/stories260K.gguf")


@pytest.fixture(scope="module")
def text(shared):
    return shared("data/text/tinystories.txt")


NAMES = ["bf16", "lmul-m4", "x=int8@row/w=int4@block4(f16)", "x=bf16/w=nf4@block64", "bitmod4"]


def test_rows_bits_and_figures(napier, model, text, tmp_path):
    plot = tmp_path / "league.svg"
    common = [model, "--text", text, "--arith", ",".join(NAMES), "--chunks", "1"]
    [league] = json.loads(napier("league", *common, "--json", "--plot", plot, check=True).stdout)
    rows = {row["arith"]: row for row in league["results"]}
    assert set(rows) == set(NAMES) - {"bitmod4"}  # blocks of 128 divide nothing here
    divergence = [row["kl_mean"] for row in league["results"]]
    assert divergence == sorted(divergence)

    for name, row in rows.items():
        explained = json.loads(napier("explain", name, "--json", check=True).stdout)
        assert row["kernel"] == explained["kernel"]
    assert rows["x=bf16/w=nf4@block64"]["kernel"] == "native"

    assert rows["bf16"]["weight_bits"] == 16 and rows["bf16"]["share"] == 1
    assert rows["lmul-m4"]["weight_bits"] == 13
    four = rows["x=int8@row/w=int4@block4(f16)"]
    assert four["weight_bits"] == 4 + 16 / 4
    # Rows of 64 but for ffn_down's 172: 8 bits and an f32 a row.
    assert 8 + 32 / 172 < four["activation_bits"] < 8 + 32 / 64
    # nf4's blocks of 64 divide all but ffn_down (64 x 172 of each block's 64 x (2 x 64 + 2 x 32 +
    # 3 x 172)) beside an output of 512 x 64.
    layer, output = 64 * (2 * 64 + 2 * 32 + 3 * 172), 512 * 64
    expected = (5 * (layer - 64 * 172) + output) / (5 * layer + output)
    assert rows["x=bf16/w=nf4@block64"]["share"] == pytest.approx(expected)
    assert rows["x=bf16/w=nf4@block64"]["weight_bits"] == 4.5

    evaluation = json.loads(napier("eval", model, "--text", text, "--plan",
                                   "*.weight -> lmul-m4; * -> f32", "--chunks", "1", "--json",
                                   check=True).stdout)
    for key in ("perplexity", "kl_mean", "top1_agreement"):
        assert rows["lmul-m4"][key] == evaluation["results"][0][key]
        assert league["reference"][key] == evaluation["reference"][key]

    root = xml.etree.ElementTree.parse(plot).getroot()
    circles = [e for e in root.iter() if e.tag.endswith("circle")]
    priced = [row for row in rows.values() if row["energy_pj"]]
    assert {"bf16", "lmul-m4"} <= {row["arith"] for row in priced}
    assert len(circles) == len(rows) + len(priced)  # a panel of bits, a panel of energy

    table = list(csv.DictReader(io.StringIO(napier("league", *common, "--csv", check=True).stdout)))
    assert [row["arith"] for row in table] == [row["arith"] for row in league["results"]]
