"""An installed Napier serves a project that knows nothing of this one."""
import subprocess
from pathlib import Path

import pytest

CONSUMER = Path(__file__).parent / "consumer"


def run(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_find_package(build_dir, tmp_path):
    prefix, build = tmp_path / "prefix", tmp_path / "build"
    run("cmake", "--install", build_dir, "--component", "core", "--prefix", prefix)
    run("cmake", "-S", CONSUMER, "-B", build, f"-DCMAKE_PREFIX_PATH={prefix}",
        "-DCMAKE_BUILD_TYPE=Debug", "-DCMAKE_FIND_USE_PACKAGE_REGISTRY=OFF")
    run("cmake", "--build", build)
    assert run(build / "numbers") == "0.3125\n"
    assert run(build / "multiply") == "1.625\n"


def test_the_runtime_moves(build_dir, tmp_path):
    """The command finds llama.cpp's libraries where it is installed, not where it was built."""
    if not (build_dir / "napier").exists():
        pytest.skip("SKIPPED: needs a build with NAPIER_BUILD_GGML")
    prefix = tmp_path / "prefix"
    run("cmake", "--install", build_dir, "--component", "runtime", "--prefix", prefix)
    linked = run("ldd", prefix / "bin/napier")
    assert "not found" not in linked
    for library in ("libllama", "libggml", "libggml-base"):
        line = next(line for line in linked.splitlines() if f"{library}.so" in line)
        assert str(prefix) in line, line
    assert "--help" in run(prefix / "bin/napier", "--help")
    assert list(prefix.glob("lib*/**/libggml-napier.so"))
