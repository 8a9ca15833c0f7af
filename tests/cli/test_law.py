"""napier law: the paper's figures, and what is refused."""
import json

import pytest


def test_json_has_the_papers_figures(napier):
    done = napier("law", "--parameters", "1B", "--layouts", "e8m7,e4m3,e2m1", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    critical = [entry["critical_tokens"] / 1e12 for entry in document["layouts"]]
    assert critical == pytest.approx([1730, 27.3, 0.393], rel=2e-3)
    best = {entry["bits"]: entry["layout"] for entry in document["best"]}
    assert [best[bits] for bits in (4, 8, 16)] == ["E2M1", "E4M3", "E8M7"]


def test_table_names_layouts(napier):
    done = napier("law", "--parameters", "679M", "--tokens", "100B", "--layouts", "e2m1")
    assert done.returncode == 0 and "2.6504" in done.stdout and "E2M1" in done.stdout


@pytest.mark.parametrize("arguments", [
    ("--parameters", "many"), ("--parameters", "0"), ("--tokens", "-1"), ("--block", "1"),
    ("--layouts", "int8"), ("--layouts", "e4m0"), ("--tokens", "nan"), ("--parameters", "1X")])
def test_what_cannot_be_is_refused(napier, arguments):
    done = napier("law", *arguments)
    assert done.returncode == 2 and done.stderr.startswith("napier: ")
