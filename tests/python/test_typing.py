"""The package is typed strictly and tidy."""
import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
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


def test_the_package_passes_pyright_strict(tmp_path):
    """Over the built package, which has the extension's types."""
    pytest.importorskip("pyright", reason="SKIPPED: pyright is not installed")
    pytest.importorskip("torch", reason="SKIPPED: torch is not installed")
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pyright"]
    assert settings["typeCheckingMode"] == "strict"
    shutil.copytree(BUILD / "python" / "napier", tmp_path / "python" / "napier")
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    done = subprocess.run([sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "-p",
                           tmp_path], text=True, capture_output=True)
    assert done.returncode == 0, done.stdout
    assert "0 errors" in done.stdout
    file = tmp_path / "python" / "napier" / "use.py"
    file.write_text("import napier\nnapier.Format(4)\n")
    done = subprocess.run([sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "-p",
                           tmp_path], text=True, capture_output=True)
    assert done.returncode == 1 and "reportArgumentType" in done.stdout, done.stdout


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
