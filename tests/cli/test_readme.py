"""The README's commands do what it says they do."""
import json
import pathlib
import shlex
import shutil

README_FOLDER = pathlib.Path(__file__).parents[2]
README = (README_FOLDER / "README.md").read_text(encoding="utf-8")
BLOCKS = [line[4:] for line in README.splitlines() if line.startswith("    ")]
TRAINING = """
name = "small"
output = "small"
[model]
layers = 1
heads = 1
width = 8
context = 16
[data]
task = "small"
samples = 100
[train]
steps = 2
"""


def test_every_napier_command_runs(napier, shared, tmp_path):
    # A copy: what recipes compute is written beside the model.
    model = shutil.copy(shared("data/models/stories260K.gguf"), tmp_path / "model.gguf")
    text = tmp_path / "text.txt"
    text.write_bytes(shared("data/text/tinystories.txt").read_bytes()[:4000])
    commands = [line for line in BLOCKS if line.startswith("napier ")]
    assert len(commands) >= 6
    piqa = shared("data/tasks/commonsense/piqa.test.json")
    (tmp_path / "piqa.test.json").write_text(json.dumps(json.loads(piqa.read_text())[:2]))
    (tmp_path / "CONFIG.toml").write_text(TRAINING)
    for line in commands:
        words = shlex.split(line)[1:]
        words = [str(README_FOLDER / w) if w.startswith("recipes/") else w for w in words]
        files = {"MODEL.gguf": str(model), "FILE": str(text)}
        words = [files.get(word, word) for word in words]
        done = napier(*words, cwd=tmp_path)
        assert done.returncode == 0 and done.stdout, (line, done.stderr)


def test_every_written_arithmetic_is_one(napier):
    begin = README.index("fields change it:")
    lines = README[begin:README.index("[docs/arithmetic.md]", begin)].splitlines()
    written = [line.split()[0] for line in lines if line.startswith("    ")]
    assert len(written) >= 5
    for arithmetic in written:
        assert napier("explain", arithmetic).returncode == 0, arithmetic
