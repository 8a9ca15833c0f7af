"""What the papers find, on models of ours or with planted outliers, through the command."""
import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import planted

RECIPES = Path(__file__).resolve().parents[2] / "recipes"


@pytest.fixture(scope="module")
def evaluate(napier, shared):
    """evaluate(model, subject...): {name: figures}; what ends in .toml is a recipe."""

    def run(model, *subjects, chunks=4, text="data/text/tinystories.txt"):
        arguments = []
        for subject in subjects:
            arguments += ["--plan", RECIPES / subject if subject.endswith(".toml") else subject]
        done = napier("eval", model, "--text", shared(text), "--chunks", chunks, "--json",
                      *arguments)
        assert done.returncode == 0, done.stderr
        document = json.loads(done.stdout)
        return {r["arith"]: r for r in [*document["results"], document["reference"]]}

    return run


# Three channels of every norm's output are scaled by 256: as large, beside the others, as the
# outliers of a 13B model (arXiv 2208.07339, section 4), and as few.
OUTLIERS = {channel: 256.0 for channel in (3, 17, 40)}


@pytest.fixture(scope="module")
def outlier_model(shared, tmp_path_factory):
    return planted.write(shared("data/models/stories260K.gguf"),
                         tmp_path_factory.mktemp("planted") / "outliers.gguf", OUTLIERS)


def test_planting_leaves_the_model_as_it_was(evaluate, shared, outlier_model):
    before = evaluate(shared("data/models/stories260K.gguf"), "f32")
    after = evaluate(outlier_model, "f32")
    assert before["f32"]["perplexity"] == pytest.approx(after["f32"]["perplexity"], rel=1e-6)


def test_llm_int8_survives_outliers_and_plain_int8_does_not(evaluate, outlier_model):
    figures = evaluate(outlier_model, "*.weight -> int8-int32; * -> f32", "llm-int8.toml",
                       "llm-int8-lmul.toml")
    reference = figures["f32"]["perplexity"]
    plain = figures["*.weight -> int8-int32; * -> f32"]["perplexity"]
    assert plain > 3 * reference
    assert figures["llm-int8"]["perplexity"] < 1.02 * reference
    assert figures["llm-int8-lmul"]["perplexity"] < 1.10 * reference
