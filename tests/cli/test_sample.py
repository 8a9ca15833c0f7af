"""napier sample: its texts against napier run's, its losses against napier eval's."""
import csv
import io
import json

import pytest

PROMPTS = ["Once upon a time", "The little dog", "Lily went to the"]
ARITHMETICS = "lmul-m3,fp8_e5m2"


@pytest.fixture(scope="module")
def prompts(tmp_path_factory):
    path = tmp_path_factory.mktemp("prompts") / "prompts.txt"
    path.write_text("\n".join(PROMPTS) + "\n")
    return path


@pytest.fixture(scope="module")
def model(shared):
    return shared("data/models/stories260K.gguf")


@pytest.fixture(scope="module")
def study(napier, model, prompts):
    done = napier("sample", model, "--prompts", prompts, "--arith", ARITHMETICS, "--temp",
                  "0,0.7,2", "--top-k", "0,5", "-n", "8,24", "--seed", 7, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def point(study, arith, temperature, top_k, max_tokens):
    return next(p for p in study["points"] if (p["arith"], p["temperature"], p["top_k"],
                p["max_tokens"]) == (arith, temperature, top_k, max_tokens))


def test_every_setting_once(study):
    settings = {(p["arith"], p["temperature"], p["top_k"], p["max_tokens"])
                for p in study["points"]}
    assert len(settings) == len(study["points"]) == 3 * 3 * 2 * 2
    assert all([t["prompt"] for t in p["texts"]] == [0, 1, 2] for p in study["points"])
    assert study["prompts"] == PROMPTS


@pytest.mark.parametrize("arith", ["f32", "lmul-m3"])
def test_texts_are_those_of_napier_run(napier, model, study, arith):
    for temperature, top_k in ((0, 0), (0.7, 5)):
        run = napier("run", model, "-p", PROMPTS[0], "-n", 24, "--arith", arith, "--temp",
                     temperature, "--top-k", top_k, "--top-p", 1, "--min-p", 0, "--seed", 7)
        assert run.returncode == 0, run.stderr
        text = point(study, arith, temperature, top_k, 24)["texts"][0]
        assert run.stdout == PROMPTS[0] + text["text"] + "\n"
        assert text["tokens"] == 24


def test_losses_are_those_of_napier_eval(napier, model, study, tmp_path):
    """Of a text and its prompt less that of the prompt alone."""

    def loss(text):
        path = tmp_path / "text.jsonl"
        path.write_text(json.dumps({"text": text}) + "\n")
        done = napier("eval", model, "--text", path, "--jsonl", "text", "--arith", "f32", "--json")
        assert done.returncode == 0, done.stderr
        document = json.loads(done.stdout)
        return document["scored"], document["scored"] * document["reference"]["loss"]

    tokens, total = loss(PROMPTS[1])
    whole_tokens, whole = loss(PROMPTS[1] + point(study, "lmul-m3", 0, 0, 24)["texts"][1]["text"])
    text = point(study, "lmul-m3", 0, 0, 24)["texts"][1]
    assert whole_tokens - tokens == text["tokens"]
    assert text["loss"] == pytest.approx(whole - total, abs=1e-3)


def test_what_is_the_same_and_what_is_odd(study):
    for p in study["points"]:
        if p["arith"] == "f32":
            assert p["common"] == 1
        assert 0 <= p["common"] <= 1 and 0 < p["distinct"] <= 1
        losses = sum(t["loss"] for t in p["texts"]), sum(t["tokens"] for t in p["texts"])
        assert p["loss"] == pytest.approx(losses[0] / losses[1])
    for arith in ("f32", "lmul-m3", "fp8_e5m2"):
        # The likeliest tokens always: no odder a text; at a temperature of 2, a very odd one.
        greedy, warm, hot = (point(study, arith, t, 0, 24)["loss"] for t in (0, 0.7, 2))
        assert greedy < warm < hot
        assert point(study, arith, 2, 5, 24)["loss"] < hot
        # Greedy texts do not depend on top-k; shorter ones are how longer ones begin.
        for i in range(3):
            short, long, other = (point(study, arith, 0, k, n)["texts"][i]["text"]
                                  for k, n in ((0, 8), (0, 24), (5, 24)))
            assert long == other and long.startswith(short)
    assert point(study, "lmul-m3", 0, 0, 24)["common"] < 1
    assert point(study, "lmul-m3", 0, 0, 24)["packed_bytes"] > 0


def test_csv_and_table(napier, model, prompts, study):
    arguments = ("sample", model, "--prompts", prompts, "--arith", ARITHMETICS, "--temp", "0.7",
                 "--top-k", "5", "-n", "8", "--seed", 7)
    rows = list(csv.DictReader(io.StringIO(napier(*arguments, "--csv").stdout)))
    assert [row["arith"] for row in rows] == ["f32", *ARITHMETICS.split(",")]
    assert float(rows[1]["loss"]) == pytest.approx(point(study, "lmul-m3", 0.7, 5, 8)["loss"])
    assert "loss in f32" in napier(*arguments).stdout


@pytest.mark.parametrize("arguments, words", [
    (("--temp", "-1"), "temperature"), (("--temp", "nan"), "temperature"), (("-n", "0"), "token"),
    (("--top-k", "-2"), "top-k"), (("-n", "100000"), "do not fit into the context of"),
    (("--prompts", "no.txt"), "no.txt"),
    (("--arith", "lmul-m44"), "lmul-m44"),
])
def test_bad_input(napier, model, prompts, arguments, words):
    given = {"--prompts": prompts, "--arith": "bf16"} | dict([arguments])
    done = napier("sample", model, *(word for pair in given.items() for word in pair))
    assert done.returncode == 2
    assert words in done.stderr and done.stderr.count("\n") == 1, done.stderr
