"""The plugin in llama.cpp's own programs, unmodified."""
import json
import os
import re
import socket
import subprocess
import time
import urllib.request

import gguf
import pytest

KEEP_F32 = ["-fa", "off", "-ctk", "f32", "-ctv", "f32"]


@pytest.fixture(scope="session")
def tool(build_dir):
    """tool("llama-bench", ...): runs a program of llama.cpp's without the plugin."""

    def run(name, *arguments, environment=None, **options):
        program = build_dir / "bin" / name
        if not program.exists():
            pytest.skip(f"SKIPPED: needs {program} (target napier_llama_tools)")
        options = {"capture_output": True, "text": True, "stdin": subprocess.DEVNULL,
                   "timeout": 3600} | options
        return subprocess.run([program, *map(str, arguments)],
                              env=os.environ | (environment or {}), **options)

    return run


@pytest.fixture(scope="session")
def plugin(build_dir):
    path = build_dir / "libggml-napier.so"
    if not path.exists():
        pytest.skip(f"SKIPPED: needs {path} (target ggml-napier)")
    return str(path)


@pytest.fixture
def with_plugin(tool, plugin, tmp_path):
    """As tool(), preloaded and under a plan; the result has the report as .report."""

    def run(name, *arguments, plan="f32", by="LD_PRELOAD", environment=None, **options):
        report = tmp_path / "report.txt"
        report.unlink(missing_ok=True)
        settings = {by: plugin, "NAPIER_PLAN": plan, "NAPIER_REPORT": str(report)}
        result = tool(name, *arguments, environment=settings | (environment or {}), **options)
        result.report = report.read_text() if report.exists() else ""
        return result

    return run


@pytest.fixture(scope="session")
def model(shared):
    return shared("data/models/stories260K.gguf")


@pytest.fixture(scope="session")
def text(shared):
    return shared("data/text/tinystories.txt")


def perplexity(result):
    assert result.returncode == 0, result.stderr[-2000:]
    return float(re.search(r"PPL = ([0-9.]+)", result.stdout + result.stderr).group(1))


def assert_all_covered(result):
    assert result.returncode == 0, result.stderr[-2000:]
    assert re.search(r"^coverage: 100\.00 % of [1-9]", result.report, re.M), result.report
    assert "(engine)" not in result.report
    assert "matched no" not in result.report
    for name in ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"]:
        assert f"blk.*.{name}.weight" in result.report, result.report
    for name in ["kq-*", "kqv-*", "output.weight"]:
        assert name in result.report, result.report


def test_perplexity_equals_the_native_one(tool, with_plugin, until_written, model, text, full_tier):
    # One thread: ggml's wait for each other by spinning, slow on a machine with other work.
    arguments = ["-m", model, "-f", text, "-c", 512, "--chunks", 40, "-t", 1, *KEEP_F32]
    result = with_plugin("llama-perplexity", *arguments)
    assert perplexity(result) == pytest.approx(4.9772, abs=1e-6)
    if full_tier:
        native = until_written(lambda: tool("llama-perplexity", *arguments), "PPL = ")
        assert perplexity(native) == pytest.approx(4.9772, abs=1e-6)
    assert_all_covered(result)
    assert "K and V cache: f32\n" in result.report


def test_perplexity_under_lmul_differs(with_plugin, model, text):
    result = with_plugin("llama-perplexity", "-m", model, "-f", text, "-c", 512, "--chunks", 4,
                         "-t", 2, *KEEP_F32, plan="lmul-m4")
    assert perplexity(result) > 4.9
    assert_all_covered(result)
    assert "lmul-m4" in result.report


def test_completion_writes_what_the_engine_writes(tool, with_plugin, until_written, model):
    arguments = ["-m", model, "-p", "Once upon a time", "-n", 24, "--temp", 0, "-no-cnv", "-t", 1,
                 *KEEP_F32]
    whole = r"Once upon a time[^\n]*\n\n"
    native = until_written(lambda: tool("llama-completion", *arguments), whole)
    result = until_written(lambda: with_plugin("llama-completion", *arguments), whole)
    assert_all_covered(result)
    assert "Once upon a time" in result.stdout
    assert result.stdout == native.stdout


def test_cli(with_plugin, model):
    result = with_plugin("llama-cli", "-m", model, "-p", "Once upon a time", "-n", 8, "-st",
                         "-t", 2)
    assert_all_covered(result)
    assert "K and V cache: f16 (rounds" in result.report  # llama.cpp's default, said aloud


def test_bench_loads_it_as_a_backend(with_plugin, model):
    result = with_plugin("llama-bench", "-m", model, "-p", 64, "-n", 8, "-t", 2, "-r", 1, "-o",
                         "json", by="GGML_BACKEND_PATH")
    assert_all_covered(result)
    assert all(row["avg_ts"] > 0 for row in json.loads(result.stdout))


def test_server(build_dir, plugin, model, tmp_path):
    program = build_dir / "bin" / "llama-server"
    if not program.exists():
        pytest.skip(f"SKIPPED: needs {program} (target napier_llama_tools)")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    report = tmp_path / "report.txt"
    environment = os.environ | {"LD_PRELOAD": plugin, "NAPIER_PLAN": "lmul-m4",
                                "NAPIER_REPORT": str(report)}
    with open(tmp_path / "log.txt", "w") as log:
        server = subprocess.Popen([program, "-m", model, "--port", str(port), "-t", "2"],
                                  env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        answer = None
        for _ in range(240):
            assert server.poll() is None, (tmp_path / "log.txt").read_text()[-2000:]
            try:
                request = urllib.request.Request(
                    f"http://127.0.0.1:{port}/completion",
                    json.dumps({"prompt": "Once upon a time", "n_predict": 8}).encode(),
                    {"Content-Type": "application/json"})
                answer = json.load(urllib.request.urlopen(request, timeout=60))
                break
            except OSError:
                time.sleep(0.5)
        assert answer and answer["content"]
    finally:
        server.terminate()
        server.wait(timeout=60)
    assert re.search(r"^coverage: 100\.00 %", report.read_text(), re.M), report.read_text()


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_0", "Q4_K_M"])
@pytest.mark.parametrize("mapped", [True, False], ids=["mmap", "read"])
def test_quantised_weights_do_not_slip_past(tool, with_plugin, shared, text, tmp_path, kind,
                                            mapped):
    # Q4_0 is what the CPU backend repacks; k-quants need rows of a multiple of 256.
    model = shared("data/models/stories3M.gguf" if kind == "Q4_K_M" else
                   "data/models/stories260K.gguf")
    path = tmp_path / "model.gguf"
    made = tool("llama-quantize", model, path, kind)
    assert made.returncode == 0, made.stderr[-2000:]
    types = {tensor.tensor_type.name for tensor in gguf.GGUFReader(path).tensors}
    assert kind.removesuffix("_M") in types
    result = with_plugin("llama-perplexity", "-m", path, "-f", text, "-c", 512, "--chunks", 2,
                         "-t", 2, *KEEP_F32, "--load-mode", "mmap" if mapped else "none")
    assert 3 < perplexity(result) < 12
    assert_all_covered(result)


def test_only_what_the_plan_names(with_plugin, model, text):
    result = with_plugin("llama-perplexity", "-m", model, "-f", text, "-c", 512, "--chunks", 2,
                         "-t", 2, plan="kq*->lmul-m4;absent->f32")
    assert result.returncode == 2  # for the rule that matched nothing
    assert "napier: the rule 'absent' of NAPIER_PLAN matched no matrix" in result.stderr
    share = float(re.search(r"coverage: ([0-9.]+) %", result.report).group(1))
    assert 40 < share < 60
    assert re.search(r"ffn_up.weight +\(engine\)", result.report), result.report
    assert "rule 2, 'absent', matched no matrix multiplication" in result.report


def test_a_plan_that_names_nothing_is_an_error(with_plugin, model):
    result = with_plugin("llama-completion", "-m", model, "-p", "Once", "-n", 2, "-no-cnv", "-t", 2,
                         plan="nothing*->lmul-m4")
    assert result.returncode == 2
    assert "the rule 'nothing*' of NAPIER_PLAN matched no matrix" in result.stderr


def test_attention_can_be_left_to_the_engine_with_flash_attention(with_plugin, model, text):
    result = with_plugin("llama-perplexity", "-m", model, "-f", text, "-c", 512, "--chunks", 2,
                         "-t", 2, "-fa", "on", plan="*.weight->lmul-m4")
    perplexity(result)
    assert "kq-" not in result.report
    assert "not counted, as it multiplies within a larger operation of the engine: FLASH_ATTN_EXT" \
        in result.report


def test_one_layer_alone_turns_flash_attention_off(with_plugin, model, text):
    result = with_plugin("llama-perplexity", "-m", model, "-f", text, "-c", 512, "--chunks", 2,
                         "-t", 2, plan="kq-1->lmul-m4")
    perplexity(result)
    assert re.search(r"kq-\* +lmul-m4", result.report), result.report
    assert re.search(r"kq-\* +\(engine\)", result.report), result.report
    assert "FLASH_ATTN_EXT" not in result.report


def test_forced_flash_attention_fails_with_a_sentence(with_plugin, model, text):
    result = with_plugin("llama-perplexity", "-m", model, "-f", text, "-c", 512, "--chunks", 2,
                         "-t", 2, "-fa", "on")
    assert result.returncode == 2
    assert "PPL" not in result.stdout + result.stderr
    assert "napier: FLASH_ATTN_EXT: flash attention hides" in result.stderr, result.stderr[-2000:]


@pytest.mark.parametrize("by", ["LD_PRELOAD", "GGML_BACKEND_PATH"])
@pytest.mark.parametrize("settings, sentence", [
    ({"NAPIER_PLAN": ""}, "napier: NAPIER_PLAN is not set"),
    ({"NAPIER_PLAN": "lmul-m4x"}, "napier: NAPIER_PLAN: 'lmul-m4x', position"),
    ({"NAPIER_THREADS": "two"}, "napier: NAPIER_THREADS='two': expected a whole number"),
    ({"NAPIER_CACHE_MB": "-1"}, "napier: NAPIER_CACHE_MB='-1': expected a whole number"),
    ({"NAPIER_REPORT": "/absent/report"}, "napier: NAPIER_REPORT='/absent/report': No such file"),
])
def test_wrong_settings_end_the_program(with_plugin, by, settings, sentence):
    result = with_plugin("llama-bench", "--help", by=by, environment=settings)
    assert result.returncode == 2
    assert result.stderr.startswith(sentence)
    assert result.stderr.count("\n") == 1


def test_refuses_a_host_with_another_ggml(build_dir, plugin):
    host = build_dir / "tests" / "test_ggml_wrong_host"
    result = subprocess.run([host, plugin], capture_output=True, text=True,
                            env=os.environ | {"NAPIER_PLAN": "f32"})
    assert result.returncode == 2, result
    assert "cannot run in a program with ggml 0.1.2" in result.stderr
    assert result.stderr.count("\n") == 1


def test_preloading_leaves_other_programs_alone(plugin):
    result = subprocess.run(["sh", "-c", "echo $((6 * 7))"], capture_output=True, text=True,
                            env=os.environ | {"LD_PRELOAD": plugin, "NAPIER_PLAN": "nonsense"})
    assert (result.returncode, result.stdout, result.stderr) == (0, "42\n", "")


@pytest.mark.parametrize("operation, sample", [
    ("MUL_MAT", "type_a=(f32|f16|q4_0|q6_K),.*m=16,n=(1|9|10|16),k=(32|256),"),
    ("OUT_PROD", "type_a=(f32|f16|q4_0),.*n=(1|16),k=(1|16),"),
    ("MUL_MAT_ID", "n_mats=(1|4),n_used=.*m=(8|64),n=(1|16|17),k=(3|64|65|96|768),"),
])
def test_backend_ops(with_plugin, full_tier, operation, sample):
    result = with_plugin("test-backend-ops", "test", "-b", "NAPIER", "-o", operation,
                         *([] if full_tier else ["-p", sample]), by="GGML_BACKEND_PATH",
                         timeout=None)
    assert result.returncode == 0, result.stdout[-2000:]
    passed = re.search(r"(\d+)/(\d+) tests passed", result.stdout)
    assert passed and passed.group(1) == passed.group(2)
    assert int(passed.group(1)) >= 10
