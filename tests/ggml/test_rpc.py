"""The plugin in llama.cpp's RPC server: what another program gets from it, on this machine."""
import os
import re
import signal
import socket
import subprocess
import time
from contextlib import contextmanager

import pytest

KEEP_F32 = ["-fa", "off", "-ctk", "f32", "-ctv", "f32"]
SIZE = ["-c", 256, "-b", 256, "--chunks", 8, "-t", 1]


@pytest.fixture(scope="module")
def files(build_dir):
    """Of the build folder: the server, llama-perplexity, the plugin."""
    found = [build_dir / name for name in ("bin/ggml-rpc-server", "bin/llama-perplexity",
                                           "libggml-napier.so")]
    for file in found:
        if not file.exists():
            pytest.skip(f"SKIPPED: needs {file} (target napier_llama_tools)")
    return found


@pytest.fixture(scope="module")
def model(shared):
    return shared("data/models/stories260K.gguf")


@pytest.fixture(scope="module")
def measure(files, shared, model, until_written):
    """measure(pattern, words...): what llama-perplexity says, in the groups of the pattern."""

    def run(pattern, *arguments, plan=None):
        command = [files[1], "-m", model, "-f", shared("data/text/tinystories.txt"), *SIZE,
                   *KEEP_F32, *arguments]
        environment = os.environ | ({"LD_PRELOAD": str(files[2]), "NAPIER_PLAN": plan} if plan
                                    else {})
        done = until_written(lambda: subprocess.run(list(map(str, command)), capture_output=True,
                                                    text=True, env=environment), pattern)
        found = re.search(pattern, done.stdout + done.stderr)
        assert done.returncode == 0 and found, (done.stdout + done.stderr)[-2000:]
        return float(found[1])

    return run


@contextmanager
def serving(files, folder, plan, count=1, end=signal.SIGTERM):
    """Servers under a plan: their endpoints, and the reports that they leave when they end."""
    servers, endpoints, reports, codes = [], [], [], []
    for number in range(count):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        reports.append(folder / f"report{number}.txt")
        environment = os.environ | {"LD_PRELOAD": str(files[2]), "NAPIER_PLAN": plan,
                                    "NAPIER_REPORT": str(reports[-1])}
        log = open(folder / f"log{number}.txt", "w")
        servers.append(subprocess.Popen([files[0], "-p", str(port), "-t", "1"], env=environment,
                                        stdout=log, stderr=subprocess.STDOUT))
        endpoints.append(f"127.0.0.1:{port}")
        for _ in range(600):
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.05)
    try:
        yield endpoints, reports, codes
    finally:
        for server in servers:
            server.send_signal(end)
            codes.append(server.wait(timeout=60))


PERPLEXITY = r"Final estimate: PPL = ([0-9.]+)"
ROLES = ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"]


@pytest.mark.parametrize("plan, count", [("f32", 1), ("lmul-m4", 1), ("lmul-m4", 2),
                                         ("int8", 1)])
def test_figures_are_those_of_one_process(files, measure, tmp_path, plan, count):
    alone = measure(PERPLEXITY, plan=plan)
    with serving(files, tmp_path, plan, count) as (endpoints, reports, codes):
        served = measure(PERPLEXITY, "-ngl", 99, "--rpc", ",".join(endpoints))
    assert served == alone
    assert codes == [0] * count
    told = [report.read_text() for report in reports]
    for text in told:
        assert re.search(r"^coverage: 100\.00 % of [1-9]", text, re.M), text
        assert "(engine)" not in text and "K and V cache: f32\n" in text
    whole = "".join(told)
    assert all(f"blk.*.{role}.weight" in whole for role in ROLES), whole
    assert all(name in whole for name in ("kq-*", "kqv-*", "output.weight")), whole


def test_divergence_is_that_of_one_process(files, measure, tmp_path):
    base = tmp_path / "base"
    measure("PPL = ([0-9.]+)", "--kl-divergence-base", base, plan="f32")
    pattern = r"Mean +KLD: +([0-9.]+)"
    compare = ["--kl-divergence", "--kl-divergence-base", base]
    alone = measure(pattern, *compare, plan="lmul-m3")
    with serving(files, tmp_path, "lmul-m3") as (endpoints, _, _):
        assert measure(pattern, *compare, "-ngl", 99, "--rpc", endpoints[0]) == alone > 0.01


def test_what_the_plan_does_not_name_is_the_engines(files, measure, tmp_path):
    plan = "kq-* -> lmul-m4; absent -> f32"
    with serving(files, tmp_path, plan, end=signal.SIGINT) as (endpoints, reports, codes):
        measure(PERPLEXITY, "-ngl", 99, "--rpc", endpoints[0])
    text = reports[0].read_text()
    assert re.search(r"kq-\* +lmul-m4", text) and re.search(r"ffn_up.weight +\(engine\)", text)
    assert codes == [2]
    log = (tmp_path / "log0.txt").read_text()
    assert "the rule 'absent' of NAPIER_PLAN matched no matrix" in log


def test_another_model_is_not_multiplied_by_what_was_packed_before(files, measure, shared,
                                                                   tmp_path):
    other = shared("data/models/stories3M.gguf")
    alone = [measure(PERPLEXITY, plan="lmul-m4"), measure(PERPLEXITY, "-m", other, plan="lmul-m4")]
    with serving(files, tmp_path, "lmul-m4") as (endpoints, _, _):
        served = [measure(PERPLEXITY, *more, "-ngl", 99, "--rpc", endpoints[0])
                  for more in ([], ["-m", other], [])]
    assert served == [*alone, alone[0]]


def test_flash_attention_that_hides_products_is_said(files, shared, model, tmp_path):
    with serving(files, tmp_path, "lmul-m4") as (endpoints, _, _):
        command = [files[1], "-m", model, "-f", shared("data/text/tinystories.txt"), *SIZE, "-fa",
                   "on", "-ngl", "99", "--rpc", endpoints[0]]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode != 0 and "PPL = " not in done.stdout
    assert "napier: FLASH_ATTN_EXT: flash attention hides" in (tmp_path / "log0.txt").read_text()
