"""The figures of napier eval, computed anew in float64 from the logits it hands out."""
import json

import numpy as np
import pytest
from gguf import GGUFReader

FRACTIONS = {"kl_median": .5, "kl_p90": .9, "kl_p95": .95, "kl_p99": .99, "kl_p999": .999,
             "kl_max": 1}


def read(folder, number):
    return np.load(folder / f"{number}.npy").astype(np.float64)


def log_softmax(logits):
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def ratio_error(values, units):
    """The standard error of a ratio of sums over units (Cochran 1977, Eq. 6.13)."""
    names = np.unique(units)
    sums = np.array([values[units == name].sum() for name in names])
    counts = np.array([(units == name).sum() for name in names])
    rest = sums - values.mean() * counts
    return np.sqrt(len(names) / (len(names) - 1) * (rest**2).sum()) / counts.sum()


def check(document, folder, units):
    """All figures of all results from the logits; `units` is the unit of each scored token."""
    targets = np.load(folder / "targets.npy")
    reference = log_softmax(read(folder, 0))
    rows = np.arange(len(targets))
    nll_reference = -reference[rows, targets]
    assert document["scored"] == len(targets)
    assert document["reference"]["loss"] == pytest.approx(nll_reference.mean(), abs=1e-6)
    for number, result in enumerate(document["results"], 1):
        if not (folder / f"{number}.npy").exists():
            continue
        other = log_softmax(read(folder, number))
        kl = (np.exp(reference) * (reference - other)).sum(axis=1)
        change = -other[rows, targets] - nll_reference
        p_change = np.exp(other[rows, targets]) - np.exp(reference[rows, targets])
        top1 = reference.argmax(axis=1) == other.argmax(axis=1)
        order = [np.argsort(-table, axis=1, kind="stable")[:, :5] for table in (reference, other)]
        top5 = np.array([len(set(a) & set(b)) / 5 for a, b in zip(*order)])
        expected = {
            "perplexity": np.exp(-other[rows, targets].mean()),
            "bits_per_byte": -other[rows, targets].sum() / np.log(2) / document["bytes"],
            "loss_change": change.mean(), "loss_change_error": ratio_error(change, units),
            "loss_change_rms": np.sqrt((change**2).mean()),
            "loss_change_p05": np.quantile(change, .05), "loss_change_min": change.min(),
            "p_change": p_change.mean(), "p_change_rms": np.sqrt((p_change**2).mean()),
            "kl_mean": kl.mean(), "kl_error": ratio_error(kl, units),
            "top1_agreement": top1.mean(), "top5_agreement": top5.mean(),
        } | {name: np.quantile(kl, fraction) for name, fraction in FRACTIONS.items()}
        for name, value in expected.items():
            assert result[name] == pytest.approx(value, abs=1e-6), (result["arith"], name)
        for name in ("loss_change", "kl"):
            low, high, error = (result[f"{name}_{end}"] for end in ("low", "high", "error"))
            assert 3 < (high - low) / error < 5.2, name  # t of 9 and more degrees: 3.9 to 4.5


@pytest.fixture(scope="module")
def evaluated(napier, shared, tmp_path_factory, opening):
    """evaluated(..., model=PATH, text=PATH): (JSON, folder of logits) of a run on tinystories."""

    def run(*arguments, model=None, text=None):
        folder = tmp_path_factory.mktemp("logits") / "new"
        done = napier("eval", model or shared("data/models/stories260K.gguf"), "--text",
                      text or opening("data/text/tinystories.txt"), "--json", "--logits", folder,
                      *arguments)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout), folder

    return run


def test_chunks(evaluated):
    document, folder = evaluated("--ctx", 128, "--chunks", 12, "--arith", "lmul-m4,f32,fp8_e5m2")
    assert sorted(path.name for path in folder.iterdir()) == ["0.npy", "1.npy", "3.npy",
                                                              "targets.npy"]
    assert document["unit"] == "chunk" and document["chunks"] == 12
    check(document, folder, np.repeat(np.arange(12), 63))


def test_documents(evaluated, shared, tmp_path):
    stories = shared("data/text/tinystories.txt").read_text(encoding="utf-8").split("\n\n\n")
    stories = [story.strip() for story in stories][:12]
    document, folder = evaluated("--ctx", 64, "--chunks", 12, "--separator", r"\n\n\n",
                                 "--arith", "lmul-m3")
    assert document["unit"] == "document" and document["chunks"] == 12
    assert document["bytes"] == sum(len(story.encode()) for story in stories)
    # Which token is of which document: by the text of the tokens, counted from the model's own.
    model = GGUFReader(shared("data/models/stories260K.gguf"))
    pieces = [bytes(model.fields["tokenizer.ggml.tokens"].parts[i]).decode()
              for i in model.fields["tokenizer.ggml.tokens"].data]
    units, unit, text = [], 0, b""
    for target in np.load(folder / "targets.npy"):
        units.append(unit)
        piece = pieces[target]
        text += (bytes.fromhex(piece[3:5]) if piece.startswith("<0x")
                 else piece.replace("\u2581", " ").encode())
        if len(text) > len(stories[unit].encode()):  # a space comes before the first word
            unit, text = unit + 1, b""
    assert unit == 12
    check(document, folder, np.array(units))
    jsonl = tmp_path / "stories.jsonl"
    jsonl.write_text("".join(json.dumps({"story": story}) + "\n" for story in stories))
    again, _ = evaluated("--ctx", 64, "--jsonl", "story", "--arith", "lmul-m3", text=jsonl)
    assert again["results"][0]["kl_mean"] == document["results"][0]["kl_mean"]


def test_another_arithmetic_as_the_reference(evaluated):
    document, folder = evaluated("--ctx", 128, "--chunks", 12, "--arith", "f32,lmul-m4",
                                 "--reference", "bf16")
    assert document["reference"]["arith"] == "bf16"
    check(document, folder, np.repeat(np.arange(12), 63))
    bf16, _ = evaluated("--ctx", 128, "--chunks", 12, "--arith", "bf16")
    assert document["reference"]["perplexity"] == bf16["results"][0]["perplexity"]


def test_another_model_as_the_reference(evaluated, shared, tmp_path, seed):
    """The reference is the model as it is, what is evaluated a copy with noise in its weights."""
    whole = shared("data/models/stories260K.gguf")
    noisy = tmp_path / "noisy.gguf"
    noisy.write_bytes(whole.read_bytes())
    noise = np.random.default_rng(seed)
    reader = GGUFReader(noisy, "r+")
    for tensor in reader.tensors:
        if tensor.name.endswith("ffn_up.weight"):
            shape = tensor.data.shape
            tensor.data[...] *= 1 + 0.1 * noise.standard_normal(shape).astype(np.float32)
    reader.data.flush()
    arguments = ("--ctx", 128, "--chunks", 12, "--arith")
    document, folder = evaluated(*arguments, "f32,lmul-m4", "--reference", whole, model=noisy)
    assert document["reference_model"] == str(whole)
    check(document, folder, np.repeat(np.arange(12), 63))
    alone, _ = evaluated(*arguments, "f32")
    assert document["reference"]["perplexity"] == alone["reference"]["perplexity"]
    assert 0 < document["results"][0]["kl_mean"] < document["results"][1]["kl_mean"]


def test_sharpness(evaluated):
    document, folder = evaluated("--ctx", 128, "--chunks", 12, "--arith", "lmul-m3,f32",
                                 "--sharpness", "0.01")
    assert document["sharpness_epsilon"] == 0.01
    targets = np.load(folder / "targets.npy")
    rows = np.arange(len(targets))
    for number, result in ((0, document["reference"]), (1, document["results"][0])):
        logits = read(folder, number)
        reach = 0.01 * (np.abs(logits) + 1)
        worst = logits + reach
        worst[rows, targets] = (logits - reach)[rows, targets]
        loss, most = (-log_softmax(z)[rows, targets] for z in (logits, worst))
        phi = 100 * (most - loss) / (1 + loss)
        figure = result["sharpness"]
        assert figure["mean"] == pytest.approx(phi.mean(), rel=1e-6)
        assert figure["error"] == pytest.approx(
            ratio_error(phi, np.repeat(np.arange(12), 63)), rel=1e-5)
        assert figure["low"] < figure["mean"] < figure["high"]
    assert document["results"][1]["sharpness"] == document["reference"]["sharpness"]


def test_a_wrong_figure_is_found(evaluated):
    document, folder = evaluated("--ctx", 128, "--chunks", 10, "--arith", "lmul-m4")
    document["results"][0]["kl_mean"] += 2e-6
    with pytest.raises(AssertionError):
        check(document, folder, np.repeat(np.arange(10), 63))
