"""napier eval end to end: llama-perplexity's figures, the JSON, repetition, plans, output files."""
import csv
import io
import json
import subprocess
from pathlib import Path

import pytest

RECIPES = Path(__file__).resolve().parents[2] / "recipes"

KEYS = ["model", "text", "reference_model", "unit", "ctx", "chunks", "tokens", "scored", "bytes",
        "reference", "results"]
RESULT_KEYS = {"arith", "plan", "perplexity", "perplexity_error", "loss_change", "loss_change_low",
               "bits_per_byte", "kl_mean", "kl_median", "kl_p99", "kl_max", "top1_agreement",
               "top5_agreement", "tokens_per_second", "coverage", "matmuls"}
ROLES = {"attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down", "output",
         "kq", "kqv"}


@pytest.fixture(scope="module")
def evaluate(napier, shared, opening):
    """evaluate("--arith", "f32", ...): the JSON of napier eval on tinystories."""

    def run(*arguments, model="stories260K", chunks=2, threads=1):
        done = napier("eval", shared(f"data/models/{model}.gguf"), "--text",
                      opening("data/text/tinystories.txt"), "--chunks", chunks, "--threads",
                      threads, "--json", *arguments)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return json.loads(done.stdout)

    return run


def without_speed(document):
    for result in [document["reference"], *document["results"]]:
        result.pop("tokens_per_second")
    return document


# llama-perplexity -c 512 --chunks 40 -fa off on tinystories.txt, with -ctk/-ctv f32 and f16.
@pytest.mark.parametrize("model, cache, expected", [
    ("stories260K", "f32", 4.9772), ("stories260K", "f16", 4.9773), ("stories3M", "f32", 7.5304)])
def test_f32_gives_llama_perplexitys_figure(evaluate, model, cache, expected):
    document = evaluate("--arith", "f32", "--kv", cache, model=model, chunks=40, threads=2)
    assert document["reference"]["perplexity"] == pytest.approx(expected, abs=1e-4)
    assert document["results"][0]["perplexity"] == document["reference"]["perplexity"]
    assert document["tokens"] == 40 * 512


def test_json_has_the_promised_members(evaluate):
    document = evaluate("--arith", "bf16,lmul-m4", "--plan", "kq-* -> lmul-m4")
    assert list(document) == KEYS
    assert (document["ctx"], document["chunks"], document["tokens"]) == (512, 2, 1024)
    assert [r["arith"] for r in document["results"]][:2] == ["bf16", "lmul-m4"]
    for result in [document["reference"], *document["results"]]:
        assert RESULT_KEYS <= set(result)
        assert set(result["matmuls"]["roles"]) == ROLES
        assert result["matmuls"]["elementwise"] > 0
        assert 0 < result["matmuls"]["elementwise_share"] < 0.2
        assert 0 <= result["top1_agreement"] <= 1
        assert result["perplexity_error"] > 0 and result["tokens_per_second"] > 0
    for result in document["results"][:2]:
        assert result["coverage"] == 1
        assert 0 < result["kl_mean"] < result["kl_p99"]
    kq_only = document["results"][2]
    assert 0 < kq_only["coverage"] < 1
    assert kq_only["matmuls"]["roles"]["kq"][0]["arith"] == "lmul-m4"
    assert kq_only["matmuls"]["roles"]["attn_q"][0]["arith"] is None


def test_counts_of_multiplications_follow_from_the_shapes(evaluate):
    # dim 64, 5 layers, 8 heads of 8, 4 of keys and values, ffn 172, vocabulary 512; 256 outputs.
    roles = evaluate("--arith", "bf16", chunks=1)["results"][0]["matmuls"]["roles"]
    count = {role: entries[0]["multiplications"] for role, entries in roles.items()}
    assert count["attn_q"] == 5 * 512 * 64 * 64
    assert count["attn_k"] == count["attn_v"] == 5 * 512 * 64 * 32
    assert count["ffn_down"] == (4 * 512 + 256) * 172 * 64  # the last layer: outputs only
    assert count["output"] == 256 * 64 * 512
    assert count["kq"] == count["kqv"] == 5 * 8 * 512 * 512 * 8


def test_figures_repeat_and_do_not_depend_on_threads(evaluate):
    arguments = ("--arith", "lmul-m4,fp8_e4m3", "--plan", "kq-*->bf16/acc=bf16; * -> f32")
    first = without_speed(evaluate(*arguments))
    assert without_speed(evaluate(*arguments)) == first
    assert without_speed(evaluate(*arguments, threads=2)) == first


def test_an_arithmetic_is_the_plan_of_one_rule(evaluate):
    arith, plan = without_speed(evaluate("--arith", "lmul-m3", "--plan", "* -> lmul-m3"))["results"]
    assert plan.pop("arith") and arith.pop("arith")
    assert plan == arith


def test_recipes(evaluate):
    attention, everywhere = evaluate("--plan", RECIPES / "lmul-attention.toml", "--plan",
                                     RECIPES / "lmul-everywhere.toml")["results"]
    assert attention["arith"] == "lmul-attention" and everywhere["arith"] == "lmul-everywhere"
    assert attention["matmuls"]["roles"]["kq"][0]["arith"] == "lmul-m4"
    assert attention["matmuls"]["roles"]["attn_q"][0]["arith"] == "f32"
    assert 0 < attention["kl_mean"] < everywhere["kl_mean"]


def test_table_csv_and_output_file(napier, shared, tmp_path, opening):
    base = ["eval", shared("data/models/stories260K.gguf"), "--text",
            opening("data/text/tinystories.txt"), "--chunks", 1, "--threads", 1,
            "--arith", "lmul-m4"]
    table = napier(*base)
    assert table.returncode == 0 and "lmul-m4" in table.stdout and "element-wise" in table.stdout
    file = tmp_path / "result.csv"
    file.write_text("old")
    done = napier(*base, "--csv", "--output", file)
    assert done.returncode == 0 and done.stdout == ""
    rows = list(csv.DictReader(io.StringIO(file.read_text())))
    assert [row["arith"] for row in rows] == ["f32", "lmul-m4"]
    assert list(tmp_path.iterdir()) == [file]


def test_a_context_longer_than_trained_is_a_warning(napier, shared, opening):
    done = napier("eval", shared("data/models/stories260K.gguf"), "--text",
                  opening("data/text/tinystories.txt"), "--chunks", 1, "--threads", 1, "--arith",
                  "f32", "--ctx", 1024, "--json")
    assert done.returncode == 0 and "512" in done.stderr and json.loads(done.stdout)["ctx"] == 1024


def test_a_full_disk_is_not_the_requests_fault(napier, shared):
    if not Path("/dev/full").exists():
        pytest.skip("SKIPPED: needs /dev/full")
    with open("/dev/full", "w") as full:
        done = napier("formats", stdout=full, stderr=subprocess.PIPE, capture_output=False)
    assert done.returncode == 1 and "space" in done.stderr


# stories3M has rows long enough for k-quants; the tensors of other lengths get another type.
@pytest.mark.parametrize("kind", ["Q8_0", "Q4_K_M"])
def test_a_quantised_model_is_its_dequantised_weights(napier, shared, opening, build_dir, tmp_path,
                                                      kind):
    quantize = build_dir / "bin" / "llama-quantize"
    if not quantize.exists():
        pytest.skip(f"SKIPPED: needs {quantize} (target napier_llama_tools)")
    small, whole = tmp_path / "quantised.gguf", tmp_path / "dequantised.gguf"
    for command in [[shared("data/models/stories3M.gguf"), small, kind],
                    ["--allow-requantize", small, whole, "F32"]]:
        subprocess.run([quantize, *command], check=True, capture_output=True)
    assert whole.stat().st_size > 3 * small.stat().st_size
    documents = []
    for model in [small, whole]:
        done = napier("eval", model, "--text", opening("data/text/tinystories.txt"), "--chunks", 1,
                      "--arith", "lmul-m4", "--json")
        assert done.returncode == 0, done.stderr
        document = without_speed(json.loads(done.stdout))
        assert document.pop("model") == str(model)
        documents.append(document)
    assert documents[0] == documents[1]
    assert documents[0]["results"][0]["coverage"] == 1


def test_output_follows_links_and_keeps_the_mode(napier, shared, tmp_path, opening):
    real, link = tmp_path / "real.json", tmp_path / "link.json"
    real.write_text("old")
    real.chmod(0o600)
    link.symlink_to(real)
    done = napier("eval", shared("data/models/stories260K.gguf"), "--text",
                  opening("data/text/tinystories.txt"), "--chunks", 1, "--arith", "f32", "--json",
                  "--output", link)
    assert (done.returncode, done.stdout) == (0, "")
    assert link.is_symlink()
    assert json.loads(real.read_text())["chunks"] == 1
    assert real.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.json", "real.json"]


def test_a_perplexity_that_is_no_number_fails(napier, shared, opening):
    done = napier("eval", shared("data/models/stories260K.gguf"), "--text",
                  opening("data/text/tinystories.txt"), "--chunks", 1, "--arith",
                  "bf16,w=e8m0:inf", "--json")
    assert done.returncode == 1
    assert "w=e8m0:inf: the perplexity is not a finite number" in done.stderr
    assert json.loads(done.stdout)["results"][1]["perplexity"] is None
