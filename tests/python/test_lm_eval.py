"""lm-evaluation-harness, with tasks of its own kind made here, running a model of Napier's."""
import json
import os
import subprocess
import sys

import napier
import numpy as np
import pytest

pytest.importorskip("lm_eval", reason="SKIPPED: needs lm_eval (tests/requirements-optional.txt)")

QUESTIONS = [
    {"q": "Once upon a time, there was a little girl named", "choices": ["Lily", "xylophone"],
     "answer": 0},
    {"q": "The sun was", "choices": ["qq", "shining"], "answer": 1},
    {"q": "She was very", "choices": ["the", "happy", "of"], "answer": 1},
]
STORIES = [{"text": "Once upon a time, there was a big dog. The dog liked to run."},
           {"text": "Tom and Lily went to the park. " * 30}]
COMMON = "dataset_path: json\ntest_split: test\nmetadata: {version: 1.0}\n"
TASKS = {
    "choice": """
output_type: multiple_choice
doc_to_text: "{{q}}"
doc_to_choice: "{{choices}}"
doc_to_target: answer
metric_list: [{metric: acc}]
""",
    "rolling": """
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{text}}"
metric_list: [{metric: byte_perplexity}]
""",
    "writing": """
output_type: generate_until
doc_to_text: "{{q}}"
doc_to_target: "{{choices[answer]}}"
generation_kwargs: {until: ["."], max_gen_toks: 24}
metric_list: [{metric: exact_match}]
""",
}


@pytest.fixture(scope="module")
def results(shared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tasks")
    for name, task in TASKS.items():
        rows = STORIES if name == "rolling" else QUESTIONS
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        (folder / f"{name}.yaml").write_text(
            f"task: napier_{name}\ndataset_kwargs: {{data_files: {{test: "
            f"'{folder / name}.jsonl'}}}}\n" + COMMON + task)
    model = shared("data/models/stories260K.gguf")
    environment = os.environ | {"HF_HOME": str(folder / "hf"), "HF_HUB_OFFLINE": "1",
                                "HF_DATASETS_OFFLINE": "1", "TQDM_DISABLE": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "napier.lm_eval", "--model", "napier", "--model_args",
         f"pretrained={model},arith=lmul-m4,max_length=128", "--tasks",
         ",".join(f"napier_{name}" for name in TASKS), "--include_path", folder, "--output_path",
         folder / "out", "--log_samples"],
        env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    found = {}
    for path in (folder / "out").glob("**/*.json*"):
        if path.name.startswith("samples_"):
            name = path.name.split("_")[2]
            found[name] = [json.loads(line) for line in path.read_text().splitlines()]
        else:
            found["results"] = json.loads(path.read_text())["results"]
    return found


@pytest.fixture(scope="module")
def model(shared):
    return napier.Model(shared("data/models/stories260K.gguf"), "lmul-m4", context=128)


def log_softmax(rows):
    rows = rows.astype(np.float64)
    return rows - rows.max(-1, keepdims=True) - np.log(
        np.exp(rows - rows.max(-1, keepdims=True)).sum(-1, keepdims=True))


def test_choices(results, model):
    right = 0
    for question, sample in zip(QUESTIONS, sorted(results["choice"], key=lambda s: s["doc_id"]),
                                strict=True):
        scores = []
        for choice, (said, greedy) in zip(question["choices"], (r[0] for r in sample["resps"]),
                                          strict=True):
            tokens = model.tokenise(question["q"] + " " + choice)
            given = len(model.tokenise(question["q"]))
            rows = model.logits(tokens)[given - 1:-1]
            want = log_softmax(rows)[np.arange(len(tokens) - given), tokens[given:]].sum()
            assert float(said) == pytest.approx(want, abs=1e-6)
            assert str(greedy) == str(bool((rows.argmax(-1) == tokens[given:]).all()))
            scores.append(want)
        right += int(np.argmax(scores)) == question["answer"]
    assert results["results"]["napier_choice"]["acc,none"] == pytest.approx(right / 3)
    assert right >= 2  # the model tells these stories


def test_rolling_texts_longer_than_the_context(results, model):
    total = length = 0
    for story in STORIES:
        tokens = model.tokenise(story["text"], add_special=False)
        length += len(story["text"].encode())
        for start in range(0, len(tokens), 128):
            part = tokens[start:start + 128]
            if start + 128 <= len(tokens) or start == 0:
                before = [model.bos if start == 0 else tokens[start - 1]]
                total += model.log_likelihoods(before + part, last=len(part)).sum()
            else:  # the last window reaches back to be full
                total += model.log_likelihoods(tokens[-129:], last=len(part)).sum()
    got = results["results"]["napier_rolling"]["byte_perplexity,none"]
    assert got == pytest.approx(np.exp(-total / length), rel=1e-6)


def test_writing(results, model):
    for question, sample in zip(QUESTIONS, sorted(results["writing"], key=lambda s: s["doc_id"]),
                                strict=True):
        tokens = model.tokenise(question["q"])
        text = ""
        for _ in range(24):  # greedily, by the logits
            tokens.append(int(model.logits(tokens, last=1)[0].argmax()))
            text = model.detokenise(tokens)[len(model.detokenise(model.tokenise(question["q"]))):]
            if "." in text or tokens[-1] == model.eos:
                break
        assert sample["resps"][0][0] == text.split(".")[0]


def test_lm_eval_itself_learns_the_name(shared):
    """As installed: a .pth file loads the hook when Python starts."""
    source = shared("data/models/stories260K.gguf")
    program = ("import napier_lm_eval_hook\nfrom lm_eval.api.registry import get_model\n"
               "import lm_eval.models\n"
               "m = get_model('napier').create_from_arg_string("
               f"'pretrained={source},arith=lmul-m4/acc=bf16', {{'batch_size': 1}})\n"
               "print(m.model.plan)")
    done = subprocess.run([sys.executable, "-c", program], text=True, capture_output=True)
    assert "acc=bf16" in done.stdout, done.stderr
