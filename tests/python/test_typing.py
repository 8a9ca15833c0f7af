"""The package is typed strictly and tidy."""
import subprocess
import sys
from pathlib import Path

from conftest import BUILD

ROOT = Path(__file__).resolve().parents[2]


def run(*command):
    return subprocess.run([sys.executable, "-m", *map(str, command)], cwd=ROOT, text=True,
                          capture_output=True)


def mypy(*files, cache):
    return run("mypy", "--config-file", ROOT / "pyproject.toml", "--cache-dir", cache, *files)


def test_the_package_passes_mypy_strict(tmp_path):
    done = mypy(BUILD / "python" / "napier", cache=tmp_path)
    assert done.returncode == 0, done.stdout


def test_users_see_types(tmp_path):
    (tmp_path / "use.py").write_text(
        "import numpy as np\nimport napier\n"
        "reveal_type(napier.matmul(np.ones((2, 2)), np.ones((2, 2)), 'f32'))\n"
        "napier.Format(4)\nnapier.Arithmetic('f32').nonsense\n")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", tmp_path, tmp_path / "use.py"],
        env={"MYPYPATH": str(BUILD / "python"), "PATH": "/usr/bin:/bin"}, text=True,
        capture_output=True)
    assert "ndarray" in done.stdout and "arg-type" in done.stdout, done.stdout + done.stderr
    assert "attr-defined" in done.stdout


def test_ruff():
    done = run("ruff", "check", "--no-cache", "python", "tests/python", "bench")
    assert done.returncode == 0, done.stdout
