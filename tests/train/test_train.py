"""napier train as a user runs it: interruption, bad input, files."""
import resource
import signal
import subprocess
import time

import gguf
import numpy as np
import pytest

CONFIG = """
name = "small"
output = "{output}"
[model]
layers = 2
heads = 2
width = 32
context = 32
dropout = 0.1
[data]
{data}
[train]
steps = {steps}
batch = 4
warmup = 5
checkpoint_every = 7
{train}
[arithmetic]
forward = "{forward}"
"""


@pytest.fixture
def config(tmp_path):
    def write(output="out", data='task = "add-plain"\nsamples = 500', steps=40, train="",
              forward="lmul-m4"):
        path = tmp_path / f"{output}.toml"
        path.write_text(CONFIG.format(output=output, data=data, steps=steps, train=train,
                                      forward=forward))
        return path

    return write


def tensors(path):
    return {t.name: np.array(t.data) for t in gguf.GGUFReader(path).tensors}


def test_a_run_writes_its_files(napier, config, tmp_path):
    result = napier("train", config())
    assert result.returncode == 0, result.stderr
    assert "lmul-m4" in result.stdout
    out = tmp_path / "out"
    assert {p.name for p in out.iterdir()} == {"model.gguf", "checkpoint.gguf", "losses.csv",
                                               "losses.svg"}
    rows = (out / "losses.csv").read_text().splitlines()
    assert rows[0] == "step,training,validation" and len(rows) == 41
    first, last = (np.mean([float(r.split(",")[1]) for r in part])
                   for part in (rows[1:6], rows[-5:]))
    assert last < first - 0.1
    answers = napier("tasks", out / "model.gguf", "--task", "arithmetic/add-plain", "--limit", "5",
                     "--arith", "bf16", "--json")
    assert answers.returncode == 0, answers.stderr


def test_killed_and_resumed_it_gives_the_same_bits(build_dir, napier, config, tmp_path, seed):
    # Stochastic rounding, which draws anew in each step, is drawn alike.
    whole = config("whole", steps=60, forward="fp8_e4m3-sr")
    cut = config("cut", steps=60, forward="fp8_e4m3-sr")
    cut.write_text(whole.read_text().replace('"whole"', '"cut"'))
    assert napier("train", whole).returncode == 0
    random = np.random.default_rng(seed)
    kills = 0
    for _ in range(30):
        process = subprocess.Popen([build_dir / "napier", "train", cut],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        # After a checkpoint or two, at any moment of what follows.
        try:
            before = (tmp_path / "cut/checkpoint.gguf").stat().st_mtime_ns
        except FileNotFoundError:
            before = 0
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            try:
                if (tmp_path / "cut/checkpoint.gguf").stat().st_mtime_ns != before:
                    break
            except FileNotFoundError:
                pass
            time.sleep(0.002)
        time.sleep(random.uniform(0, 0.1))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        if process.wait() == 0:
            break
    result = napier("train", cut)
    assert result.returncode == 0, result.stderr
    assert kills >= 2
    a, b = tensors(tmp_path / "whole/model.gguf"), tensors(tmp_path / "cut/model.gguf")
    assert set(a) == set(b)
    for name in a:
        assert np.array_equal(a[name], b[name]), name
    assert (tmp_path / "whole/losses.csv").read_text() == (tmp_path / "cut/losses.csv").read_text()


def test_fine_tuning_goes_on_from_a_file(napier, config, tmp_path):
    assert napier("train", config("first", steps=20)).returncode == 0
    path = tmp_path / "second.toml"
    path.write_text(f"""
name = "second"
output = "second"
[model]
from = "first/model.gguf"
context = 16
[data]
task = "subtract-plain"
samples = 300
[train]
steps = 5
""")
    result = napier("train", path)
    assert result.returncode == 2  # subtraction has a sign that addition lacks
    assert "vocabulary" in result.stderr and result.stderr.count("\n") == 1
    path.write_text(path.read_text().replace("subtract-plain", "add-plain"))
    result = napier("train", path)
    assert result.returncode == 0, result.stderr
    before, after = (tensors(tmp_path / f"{n}/model.gguf") for n in ("first", "second"))
    for name in before:
        assert not np.array_equal(before[name], after[name]), name


def test_a_gpt_is_trained_and_gone_on_with(napier, config, tmp_path):
    def gpt(name, model):
        path = config(name, steps=10)
        text = path.read_text()
        sizes = text[text.index("[model]"):text.index("[data]")]
        path.write_text(text.replace(sizes, f"[model]\n{model}\n"))
        return napier("train", path)

    sizes = "layers = 1\nheads = 2\nwidth = 16\ncontext = 16\nfeed_forward = \"gelu\""
    result = gpt("gpt", sizes)
    assert result.returncode == 0, result.stderr
    before = tensors(tmp_path / "gpt/model.gguf")
    assert "position_embd.weight" in before and "blk.0.attn_qkv.weight" in before
    result = gpt("on", 'from = "gpt/model.gguf"')
    assert result.returncode == 0, result.stderr
    after = tensors(tmp_path / "on/model.gguf")
    assert set(before) == set(after)
    for name in before:
        assert not np.array_equal(before[name], after[name]), name
    # llama.cpp aborts beyond the last of them.
    (tmp_path / "text.txt").write_text("1+2=3\n" * 50)
    for context, code in ((16, 0), (64, 2)):
        result = napier("eval", tmp_path / "on/model.gguf", "--text", tmp_path / "text.txt",
                        "--ctx", context, "--arith", "bf16")
        assert result.returncode == code, result
    assert "learned 16 positions" in result.stderr.splitlines()[-1], result.stderr
    for model, words in [('from = "gpt/model.gguf"\ncontext = 8', "learned 16 positions"),
                         (sizes + '\npositions = "rope"', "'positions'"),
                         (sizes.replace("gelu", "swiglu") + '\npositions = "learned"',
                          "'positions'")]:
        result = gpt("wrong", model)
        assert result.returncode == 2 and words in result.stderr, result
        assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("change, words", [
    ({"data": 'text = "none.txt"'}, "none.txt"),
    ({"data": 'text = "empty.txt"'}, "empty.txt: the text is empty"),
    ({"data": 'text = "short.txt"\nvalidation = 0.0'}, "needs at least 33"),
    ({"data": 'task = "addition"'}, "no workload 'addition'"),
    ({"data": 'task = "add-plain"\ntext = "short.txt"'}, "'text'"),
    ({"steps": 0}, "'steps'"),
    ({"train": "rate = -1.0"}, "'rate'"),
    ({"train": "batches = 3"}, "unknown key 'batches'"),
    ({"forward": "nonsense"}, "'forward'"),
    ({"forward": "blk.9.* -> bf16"}, "blk.9.*"),
    ({"forward": "int8-int32 with outliers(6,f16)"}, "cannot differentiate"),
])
def test_wrong_input_is_one_sentence(napier, config, tmp_path, change, words):
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "short.txt").write_text("1+1=2\n")
    result = napier("train", config(**change))
    assert result.returncode == 2, result
    assert words in result.stderr and result.stderr.count("\n") == 1, result.stderr
    assert not (tmp_path / "out/model.gguf").exists()


def test_a_loss_that_is_no_number_keeps_the_checkpoint(napier, config, tmp_path):
    result = napier("train", config(train="rate = 90.0\nclip = 0.0\nleast_rate = 90.0",
                                    forward="x=f16:inf/w=f16:inf"))
    assert result.returncode == 1, result
    assert "no finite number" in result.stderr and "step" in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "out/model.gguf").exists()


def test_a_checkpoint_of_another_configuration_is_refused(napier, config):
    assert napier("train", config(steps=8)).returncode == 0
    result = napier("train", config(steps=9))
    assert result.returncode == 2
    assert "another configuration" in result.stderr and result.stderr.count("\n") == 1


def test_a_full_disk_leaves_what_was_there(build_dir, config, tmp_path):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))

    result = subprocess.run([build_dir / "napier", "train", config()], capture_output=True,
                            text=True, preexec_fn=limit)
    assert result.returncode == 1, result
    assert "cannot be written" in result.stderr and result.stderr.count("\n") == 1
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("kind", ["checkpoint", "model"])
def test_damaged_files_are_refused_or_harmless(napier, config, tmp_path, seed, kind):
    path = config(steps=8)
    assert napier("train", path).returncode == 0
    file = tmp_path / f"out/{kind}.gguf"
    if kind == "model":
        path.write_text('''name = "on"
output = "on"
[model]
from = "out/model.gguf"
[data]
task = "add-plain"
samples = 500
[train]
steps = 1
''')
    sound = file.read_bytes()
    random = np.random.default_rng(seed)
    refused = 0
    for case in range(24):
        broken = bytearray(sound)
        if case % 3 == 0:
            del broken[random.integers(len(broken)):]
        else:  # in the header, where counts and sizes are
            for at in random.integers(0, 1500, 3):
                broken[at] ^= 1 << random.integers(8)
        file.write_bytes(broken)
        result = napier("train", path, timeout=60)
        assert result.returncode in (0, 1, 2), result
        assert result.stderr.count("\n") == (result.returncode != 0), result.stderr
        refused += result.returncode != 0
    assert refused >= 8
