"""Vocabularies that SentencePiece's library trains: texts are cut as the library and as llama.cpp
cut them, and models that llama.cpp would read otherwise are refused."""
import subprocess

import numpy as np
import pytest

sentencepiece = pytest.importorskip(
    "sentencepiece", reason="SKIPPED: needs sentencepiece (tests/requirements.txt)")

CONFIG = """
name = "pieces"
output = "out"
[model]
{model}
[data]
text = "text.txt"
validation = 0.0
{data}
[train]
steps = 1
batch = 1
"""
SIZES = "layers = 1\nheads = 2\nwidth = 16\ncontext = 8\n"
WORDS = ["lord", "the", "thou", "thee", "king", "queen", "caf\u00e9", "\u20ac5", "1614", "a", "I",
         "\U0001f600", "\u4f60\u597d", "it's", "--", "<s>", "\u2581"]
SPACES = [" ", " ", " ", "  ", "\n", ", ", ".\n\n", "\t", ""]


def random_text(seed, words):
    random = np.random.default_rng(seed)
    syllables = [a + b for a in "bdklmnrst" for b in ("a", "e", "in", "or")]

    def word():
        if random.random() < 0.3:
            return random.choice(WORDS)
        return "".join(random.choice(syllables, random.integers(1, 5)))

    return "".join(word() + random.choice(SPACES) for _ in range(words))


def trained(folder, text, **options):
    (folder / "corpus.txt").write_text(text)
    options = {"model_type": "bpe", "byte_fallback": True, "vocab_size": 400,
               "normalization_rule_name": "identity", "remove_extra_whitespaces": False} | options
    sentencepiece.SentencePieceTrainer.train(
        input=str(folder / "corpus.txt"), model_prefix=str(folder / "v"), minloglevel=2, **options)
    return sentencepiece.SentencePieceProcessor(model_file=str(folder / "v.model"))


@pytest.mark.parametrize("prefix", [True, False])
def test_texts_are_cut_as_the_library_and_llama_cpp_cut_them(build_dir, tmp_path, seed, prefix):
    library = trained(tmp_path, random_text(seed, 3000), add_dummy_prefix=prefix)
    # The library reads what stands for the space as one, and "<s>" as no text.
    text = random_text(seed + 1, 2000).replace("\u2581", "_").replace("<s>", "<b>")
    (tmp_path / "text.txt").write_text(text)

    def tokens(name, model, data=""):
        (tmp_path / f"{name}.toml").write_text(CONFIG.format(model=model, data=data))
        subprocess.run([build_dir / "tests/train_trace", tmp_path / f"{name}.toml", tmp_path / name,
                        "1"], check=True)
        return np.fromfile(tmp_path / name / "data.i32", np.int32).tolist()

    ours = tokens("ours", SIZES, 'tokenizer = "v.model"')
    assert len(set(ours)) > 100 and len(ours) < len(text.encode())
    assert ours == library.encode(text)
    # Going on from the file that was written, llama.cpp's tokenizer cuts the text.
    assert ours == tokens("llama", 'from = "ours/start.gguf"')


@pytest.mark.parametrize("options, words", [
    ({"model_type": "unigram"}, "model_type=bpe"),
    ({"byte_fallback": False}, "byte_fallback=true"),
    ({"remove_extra_whitespaces": True}, "remove_extra_whitespaces=false"),
    ({"normalization_rule_name": "nmt_nfkc"}, "normalization_rule_name=identity"),
    ({"treat_whitespace_as_suffix": True}, "treat_whitespace_as_suffix=false"),
    ({"user_defined_symbols": ["<x>"]}, "user defined"),
    (None, "is no SentencePiece model"),
])
def test_others_are_refused_in_one_sentence(napier, tmp_path, seed, options, words):
    text = random_text(seed, 3000)
    (tmp_path / "text.txt").write_text(text)
    if options is None:
        (tmp_path / "v.model").write_bytes(b"\x0a\xff\x01no model")
    else:
        trained(tmp_path, text, **options)
    (tmp_path / "c.toml").write_text(CONFIG.format(model=SIZES, data='tokenizer = "v.model"'))
    result = napier("train", tmp_path / "c.toml")
    assert result.returncode == 2 and words in result.stderr, result.stderr
    assert "v.model" in result.stderr and result.stderr.count("\n") == 1


def test_damaged_models_are_refused_or_harmless(napier, tmp_path, seed):
    text = random_text(seed, 3000)
    (tmp_path / "text.txt").write_text(text)
    trained(tmp_path, text)
    (tmp_path / "c.toml").write_text(CONFIG.format(model=SIZES, data='tokenizer = "v.model"'))
    sound = (tmp_path / "v.model").read_bytes()
    random = np.random.default_rng(seed)
    for case in range(12):
        broken = bytearray(sound)
        if case % 2:
            del broken[random.integers(1, len(broken)):]
        for at in random.integers(0, len(broken), 4):
            broken[at] ^= 1 << random.integers(8)
        (tmp_path / "v.model").write_bytes(broken)
        for name in ("checkpoint", "model"):
            (tmp_path / f"out/{name}.gguf").unlink(missing_ok=True)
        result = napier("train", tmp_path / "c.toml", timeout=60)
        assert result.returncode in (0, 2), result
        assert result.stderr.count("\n") == (result.returncode != 0), result.stderr
