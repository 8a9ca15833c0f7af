"""napier.Model against the command, and its figures against NumPy's on its logits."""
import json
import os
import threading

import napier
import numpy as np
import pytest

TEXT = "Once upon a time, there was a little girl named Lily. She loved to play outside."


@pytest.fixture(scope="module")
def path(shared):
    return shared("data/models/stories260K.gguf")


@pytest.fixture(scope="module")
def model(path):
    return napier.Model(path, "lmul-m4")


def log_softmax(rows):
    rows = rows.astype(np.float64)
    shifted = rows - rows.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def test_log_likelihoods_are_those_of_the_logits(model):
    tokens = model.tokenise(TEXT)
    rows = model.logits(tokens)
    assert rows.shape == (len(tokens), model.vocabulary_size) and rows.dtype == np.float32
    want = log_softmax(rows[:-1])[np.arange(len(tokens) - 1), tokens[1:]]
    got, likeliest = model.score(tokens)
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-9)
    np.testing.assert_array_equal(likeliest, rows[:-1].argmax(-1) == tokens[1:])
    np.testing.assert_array_equal(model.log_likelihoods(TEXT), got)
    # A beginning that is shared with the sequence before is not computed again, with no difference.
    np.testing.assert_array_equal(model.logits(tokens[:20] + tokens[5:9], last=3),
                                  model.logits(tokens[:20] + tokens[5:9])[-3:])


def test_perplexity_is_the_commands(napier_command, path, model, tmp_path):
    (tmp_path / "text").write_text(TEXT * 20)
    done = napier_command("eval", path, "--text", tmp_path / "text", "--arith", "lmul-m4", "--ctx",
                          128, "--chunks", 2, "--threads", 1, "--json")
    assert done.returncode == 0, done.stderr
    want = json.loads(done.stdout)["results"][0]["perplexity"]
    tokens = model.tokenise(TEXT * 20)
    losses = []
    for chunk in (tokens[:128], tokens[128:256]):  # BOS first, the second half scored
        losses.append(-model.log_likelihoods([model.bos, *chunk[1:]], last=63))
    assert np.exp(np.mean(losses)) == pytest.approx(want, rel=1e-6)


def test_text_is_the_commands(napier_command, path, model):
    done = napier_command("run", path, "-p", "Once upon a time", "-n", 40, "--temp", 0, "--arith",
                          "lmul-m4")
    assert done.returncode == 0, done.stderr
    pieces = []
    text = model.generate("Once upon a time", 40, on_text=pieces.append)
    assert done.stdout.rstrip("\n") == "Once upon a time" + text and "".join(pieces) == text
    stopped = model.generate("Once upon a time", 40, stop=["named", "girl"])
    assert stopped == text[:text.index("girl")]
    sampled = [model.generate("Once", 20, temperature=1.0, seed=s) for s in (1, 1, 2)]
    assert sampled[0] == sampled[1] != sampled[2]


def test_the_plan_decides(path):
    with_rules = napier.Model(path, "kq*->lmul-m4; *->f32", context=64)
    tokens = with_rules.tokenise(TEXT)
    rows = {row["role"]: row["arith"] for row in _after(with_rules, tokens)}
    assert rows["kq"] == rows["kqv"] == "lmul-m4" and rows["ffn_up"] == "f32"
    f32 = napier.Model(path, napier.Arithmetic("f32"), context=64)
    assert not np.array_equal(f32.logits(tokens), with_rules.logits(tokens))
    assert "kq-0" in f32.matmul_names and "kq-0" in repr(f32.matmul_names)


def test_treatments_are_the_commands(napier_command, path, tmp_path):
    plan = "* -> int8 with outliers(6)"
    model = napier.Model(path, plan, context=64)
    assert model.plan.treatments[0].strip().startswith("with outliers")
    done = napier_command("run", path, "-p", "Once upon a time", "-n", 20, "--temp", 0, "--plan",
                          plan)
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip("\n") == "Once upon a time" + model.generate("Once upon a time", 20)


def _after(model, tokens):
    model.logits(tokens)
    return model.coverage()


def test_models_and_threads_take_turns(path, model):
    other = napier.Model(path, "f32")
    tokens = model.tokenise(TEXT)
    want = [m.logits(tokens) for m in (model, other)]
    assert not np.array_equal(*want)
    wrong = []

    def work(which):
        for _ in range(5):
            if not np.array_equal((model, other)[which].logits(tokens), want[which]):
                wrong.append(which)

    threads = [threading.Thread(target=work, args=(i % 2,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_detokenise(model):
    assert model.detokenise(model.tokenise(TEXT, add_special=False)).strip() == TEXT
    assert model.bos == 1 and model.eos == 2 and model.adds_bos


@pytest.fixture(scope="session")
def napier_command(napier):
    return napier


def test_an_exception_in_a_callback_ends_the_text(model):
    def refuse(piece):
        raise KeyError(piece)

    with pytest.raises(KeyError):
        model.generate("Once", 10, on_text=refuse)
    assert model.generate("Once", 3)


def test_a_callback_cannot_ask_a_model(path, model):
    others = [napier.Model(path, "f32", context=64)]

    def ask(piece):
        others.clear()  # freed in the middle of another's work
        model.logits([1])

    with pytest.raises(napier.Error, match="within a callback"):
        model.generate("Once", 10, on_text=ask)
    assert model.logits([1]).shape[0] == 1


@pytest.mark.parametrize("call, error, words", [
    (lambda m: napier.Model("no/such.gguf"), FileNotFoundError, "no/such.gguf"),
    (lambda m: napier.Model(__file__), napier.Error, "GGUF"),
    (lambda m: napier.Model(m.path, "blk.9.*->f32"), napier.Error, "blk.9"),
    (lambda m: napier.Model(m.path, "lmul-m99"), napier.Error, "lmul-m99"),
    (lambda m: napier.Model(m.path, cache="f64"), napier.Error, "f32 or f16"),
    (lambda m: napier.Model(m.path, context=1), napier.Error, "too short"),
    (lambda m: m.logits([]), napier.Error, "at least one"),
    (lambda m: m.logits([10**6]), napier.Error, "vocabulary"),
    (lambda m: m.logits([-1]), napier.Error, "vocabulary"),
    (lambda m: m.logits([1] * 10000), napier.Error, "do not fit"),
    (lambda m: m.logits([1, 2], last=3), napier.Error, "last 3 of 2"),
    (lambda m: m.log_likelihoods([1]), napier.Error, "at least two"),
    (lambda m: m.log_likelihoods([1, 10**6]), napier.Error, "vocabulary"),
    (lambda m: m.generate("a", 0), ValueError, "from 1 to"),
])
def test_bad_input(model, call, error, words):
    with pytest.raises(error, match=words):
        call(model)


def test_texts_stop_at_whole_strings(model):
    whole = model.generate("Once upon a time", max_tokens=24)
    assert "girl" in whole
    assert model.generate("Once upon a time", max_tokens=24, stop="girl") == whole[
        :whole.index("girl")]
    pieces = []
    model.generate("Once upon a time", max_tokens=24, stop=["girl"], on_text=pieces.append)
    assert "".join(pieces).count("girl") == 1


@pytest.mark.parametrize("call, error, words", [
    (lambda m: m.generate("a", stop=[""]), ValueError, "none of them empty"),
    (lambda m: m.generate("a", temperature=-1), ValueError, "temperature is -1"),
    (lambda m: m.generate("a", temperature=float("nan")), ValueError, "temperature is nan"),
    (lambda m: m.generate("a", top_p=2), ValueError, "from 0 to 1"),
    (lambda m: m.generate("a", top_k=-5), ValueError, "top_k is -5"),
    (lambda m: m.generate("a", repeat_penalty=0), ValueError, "repeat_penalty is 0"),
    (lambda m: m.generate("a", max_tokens=5.0), TypeError, "max_tokens is 5.0: give an integer"),
    (lambda m: m.generate("a", seed=2**64), ValueError, "seed is"),
    (lambda m: m.logits([1.7]), TypeError, "a token is 1.7: give an integer"),
    (lambda m: m.logits([2**40]), ValueError, "a token is"),
    (lambda m: m.logits([1], last=-1), ValueError, "last is -1"),
    (lambda m: m.detokenise("12"), TypeError, "give integers"),
    (lambda m: m.tokenise(b"a"), TypeError, "give a str"),
    (lambda m: napier.Model(m.path, context=2**40), ValueError, "context is 1099511627776"),
    (lambda m: napier.Model(m.path, context="12"), TypeError, "context is '12'"),
    (lambda m: napier.Model(m.path, None), TypeError, "plan is a NoneType"),
    (lambda m: napier.Model(m.path.encode()), TypeError, "give a str or a path"),
])
def test_wrong_arguments(model, call, error, words):
    with pytest.raises(error, match=words):
        call(model)


def test_a_forked_child_is_told_to_make_its_own(model):
    child = os.fork()
    if child == 0:
        try:
            model.logits([1])
        except RuntimeError as error:
            os._exit(0 if "made by another process" in str(error) else 2)
        os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
