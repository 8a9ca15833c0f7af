"""Fixtures of the Python tests, and a skip that ctest can see."""
import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def build_dir():
    """The build folder under test."""
    return Path(os.environ.get("NAPIER_BUILD_DIR", ROOT / "build"))


@pytest.fixture(scope="session")
def shared():
    """shared("data/models/x.gguf"): a file of the shared data; skips where it is absent."""
    folder = Path(os.environ.get("NAPIER_SHARED_DIR") or ROOT.parent / "shared")

    def find(relative):
        if not (folder / relative).exists():
            pytest.skip(f"SKIPPED: needs {folder / relative}")
        return folder / relative

    return find


@pytest.fixture(scope="session")
def napier(build_dir):
    """napier("eval", model, ...): runs the command and returns the completed process (text)."""

    def run(*arguments, **options):
        options = {"capture_output": True, "text": True, "stdin": subprocess.DEVNULL} | options
        return subprocess.run([build_dir / "napier", *map(str, arguments)], **options)

    return run


@pytest.fixture(scope="session")
def opening(shared, tmp_path_factory):
    """opening("data/text/a.txt"): the path of how it begins, for tests of a few chunks: what is not
    evaluated need not be tokenised."""
    folder = tmp_path_factory.mktemp("openings")

    def cut(name):
        path = folder / Path(name).name
        if not path.exists():
            path.write_bytes(shared(name).read_bytes()[:100_000].rpartition(b"\n")[0])
        return path

    return cut


@pytest.fixture(scope="session")
def full_tier():
    """True in the long tier (make test-full)."""
    return os.environ.get("NAPIER_TEST_FULL") == "1"


@pytest.fixture(scope="session")
def seed():
    """Where random tests start; printed in the header of each run."""
    return int(os.environ.get("NAPIER_TEST_SEED") or 1614)


def pytest_report_header(config):
    return f"seed {os.environ.get('NAPIER_TEST_SEED') or 1614} (set NAPIER_TEST_SEED for another)"


def pytest_sessionfinish(session, exitstatus):
    """Exit code 77, ctest's skip, when nothing ran because everything was skipped."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    # A file that skips as a whole has no tests collected.
    sound = exitstatus in (0, pytest.ExitCode.NO_TESTS_COLLECTED)
    if sound and reporter.stats.get("skipped") and not reporter.stats.get("passed"):
        session.exitstatus = 77


@pytest.fixture(scope="session")
def until_written():
    """until_written(run, pattern): the result of run(), of which the output matches.

    llama.cpp's programs may end before their log's thread has written its last lines, so there are
    20 tries; what fails for another reason fails each time.
    """

    def repeat(run, pattern):
        for _ in range(20):
            result = run()
            if result.returncode != 0 or re.search(pattern, result.stdout + result.stderr):
                break
        return result

    return repeat
