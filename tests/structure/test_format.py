"""Our sources are formatted, ASCII, and at most 100 columns wide."""
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COLUMNS = 100
FOLDERS = ["src", "include", "tests", "cmake", "scripts", "bench", "python", "rtl", ".ci"]
TOP = ["CMakeLists.txt", "CMakePresets.json", "Makefile"]
CPP = {".hpp", ".cpp", ".h", ".cu", ".cuh"}
TEXT = CPP | {".py", ".sh", ".cmake", ".txt", ".map", ".v", ".sv", ".in", ".toml"}


def sources(root, suffixes):
    """Files of ours with one of the suffixes; those without any (scripts) count as text."""
    for folder in FOLDERS:
        for path in sorted((root / folder).glob("**/*")):
            if path.is_file() and "__pycache__" not in path.parts:
                if path.suffix in suffixes or (not path.suffix and suffixes is TEXT):
                    yield path
    if suffixes is TEXT:
        yield from (root / name for name in TOP if (root / name).exists())


def untidy_lines(path):
    """(line number, what is wrong) of a file."""
    for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
        if not line.isascii():
            yield number, "is not ASCII"
        if len(line) > COLUMNS:
            yield number, f"has {len(line)} columns"
        if line.rstrip() != line:
            yield number, "ends in white space"


def test_ascii_and_width():
    wrong = [f"{path.relative_to(ROOT)}:{number} {what}"
             for path in sources(ROOT, TEXT) for number, what in untidy_lines(path)]
    assert not wrong, "\n".join(wrong)


def test_untidy_lines_are_found(tmp_path):
    path = tmp_path / "a.cpp"
    path.write_bytes("int a;\nint \u00e9;\n".encode() + b"x" * 101 + b"\nint b; \n")
    assert [number for number, _ in untidy_lines(path)] == [2, 3, 4]


def clang_format(*arguments):
    if not shutil.which("clang-format"):
        pytest.skip("SKIPPED: needs clang-format")
    return subprocess.run(["clang-format", "--dry-run", "-Werror", *arguments], cwd=ROOT,
                          capture_output=True, text=True)


def test_clang_format():
    done = clang_format(*sources(ROOT, CPP))
    assert done.returncode == 0, done.stderr + "\nmake format mends it"


def test_unformatted_code_is_found(tmp_path):
    (tmp_path / ".clang-format").write_text((ROOT / ".clang-format").read_text())
    (tmp_path / "a.cpp").write_text("int  a ;\n")
    assert clang_format(tmp_path / "a.cpp").returncode != 0
