"""The wheel: built as a user builds it, installed into an environment of its own, used."""
import os
import subprocess
import sys
import zipfile

import pytest
from conftest import ROOT

PROGRAM = """
import sys, numpy as np, napier
assert "site-packages" in napier.__file__, napier.__file__
assert "napier_lm_eval_hook" in sys.modules
a = np.float32([[1.5, 3.0]])
assert napier.matmul(a, a.T, "lmul-m4")[0, 0] == 11.25  # 2.25 + 9
if len(sys.argv) > 1:
    model = napier.Model(sys.argv[1], "lmul-m4")
    assert model.generate("Once upon a time", 8)
    assert {row["arith"] for row in model.coverage()} == {"lmul-m4"}
print(napier.__version__)
"""


def run(*command, **options):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_wheel_installs_and_works(full_tier, tmp_path):
    if not full_tier:
        pytest.skip("SKIPPED: the long tier builds a wheel")
    run(sys.executable, "-m", "pip", "wheel", ROOT, "--no-deps", "--wheel-dir", tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    assert "-abi3-" in wheel.name and "cp311" in wheel.name
    names = zipfile.ZipFile(wheel).namelist()
    assert {"napier/_core.abi3.so", "napier/_core.pyi", "napier/py.typed"} <= set(names)
    assert any(name.startswith("napier/lib/libllama.so") for name in names)
    assert not any(word in name for name in names for word in ("tests/", "src/", ".cpp"))
    python = tmp_path / "venv" / "bin" / "python"
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    run(python, "-m", "pip", "install", "--quiet", wheel)
    # 2.25: 2^0 max(1 + s, 2 s, 4 (s - 1)) of 1.5 and 1.5, with s = 1/2 + 1/2 + 1/8.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    shared = ROOT.parent / "shared" / "data" / "models" / "stories260K.gguf"
    arguments = [shared] if shared.exists() else []
    run(python, "-c", PROGRAM, *arguments, cwd=tmp_path, env=environment)
