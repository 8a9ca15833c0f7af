"""Without any other arithmetic, `napier eval` measures what llama-perplexity measures."""
import json
import re
import subprocess

import pytest

# Of the unmodified llama.cpp, on tinystories.txt, 40 chunks of 512, attention not fused, K and V
# in f32.
KNOWN = {"stories260K": 4.9772, "stories3M": 7.5304}
LAST_DIGIT = 1e-4


@pytest.mark.parametrize("name", KNOWN)
def test_perplexity_is_llama_cpps(name, napier, shared, text_path, build_dir, until_written,
                                  report):
    model = shared(f"data/models/{name}.gguf")
    size = ["--chunks", "40"]
    tool = build_dir / "bin/llama-perplexity"
    if not tool.exists():
        pytest.skip(f"SKIPPED: needs {tool} (target napier_llama_tools)")
    command = [tool, "-m", model, "-f", text_path, "-c", "512", *size, "-fa", "off", "-ctk", "f32",
               "-ctv", "f32", "-t", "2"]
    estimate = r"Final estimate: PPL = ([0-9.]+)"
    theirs = until_written(lambda: subprocess.run(command, capture_output=True, text=True),
                           estimate)
    found = re.search(estimate, theirs.stdout + theirs.stderr)
    assert found, theirs.stderr[-2000:]
    assert abs(float(found[1]) - KNOWN[name]) <= LAST_DIGIT

    ours = napier("eval", model, "--text", text_path, "--ctx", 512, *size, "--arith", "f32",
                  "--json")
    assert ours.returncode == 0, ours.stderr
    perplexity = json.loads(ours.stdout)["reference"]["perplexity"]
    report(f"{name}: llama-perplexity {found[1]}, napier eval {perplexity:.6f}")
    assert abs(perplexity - float(found[1])) <= LAST_DIGIT
