"""Prompts, log-likelihoods and scores of napier tasks against lm-evaluation-harness: its own task
definitions on the same questions, its own tokenising of pairs, and llama.cpp as it is for the
model, without Napier.

The files come in instruction form; here they are turned back into the harness's fields by other
code than Napier's. Small models score at chance, so likelihoods are compared, and scores with them.
Tasks that the harness lacks are defined here, in its own language, as the documents describe them.
"""
import csv
import json
import re

import numpy as np
import pytest
from gguf import GGUFReader

from oracle.evaluate import log_softmax

lm_eval = pytest.importorskip("lm_eval", reason="SKIPPED: needs lm_eval "
                              "(tests/requirements-optional.txt)")
from lm_eval.api.model import TemplateLM  # noqa: E402
from lm_eval.tasks import TaskManager  # noqa: E402

CONTEXT, MAX_TOKENS = 1024, 12
TASKS = lm_eval.tasks.__path__[0] + "/"


def options_of(entry, lead, label):
    text = entry["instruction"].removeprefix(lead)
    question, *options = re.split(rf"\s*{label}\d:\s*", text.split("Answer format:")[0])
    return question.strip(), [option.strip() for option in options], int(entry["answer"][-1]) - 1


def answers(entry):
    return options_of(entry, "Please choose the correct answer to the question: ", "Answer")


def arc(entry):
    question, options, right = answers(entry)
    labels = "ABCDE"[:len(options)]
    return {"question": question, "question_stem": question, "answerKey": labels[right],
            "choices": {"text": options, "label": list(labels)}}


def piqa(entry):
    question, options, right = options_of(
        entry, "Please choose the correct solution to the question: ", "Solution")
    return {"goal": question, "sol1": options[0], "sol2": options[1], "label": right}


def siqa(entry):
    question, options, right = answers(entry)
    context, question = question.rsplit(". ", 1) if ". " in question else question.split(" ", 1)
    context += "." if entry["instruction"].count(context + ". ") else ""
    return {"context": context, "question": question, "label": str(right + 1),
            **{f"answer{letter}": option for letter, option in zip("ABC", options)}}


def winogrande(entry):
    sentence, options, right = options_of(
        entry, "Please choose the correct answer to fill in the blank to complete the given "
        "sentence: ", "Option")
    return {"sentence": sentence, "option1": options[0], "option2": options[1],
            "answer": str(right + 1)}


def commonsense_qa(entry):
    choices = entry["question"]["choices"]
    return {"question": entry["question"]["stem"], "answerKey": entry["answerKey"],
            "choices": {"text": [c["text"] for c in choices],
                        "label": [c["label"] for c in choices]}}


def mmlu(row):
    return {"question": row["question"], "choices": [row[f"choice{i}"] for i in range(4)],
            "answer": int(row["answer"])}


def boolq(entry):
    question = entry["instruction"].split("question: ", 1)[1].split("\n\nAnswer format:")[0]
    return {"question": question, "label": ["false", "true"].index(entry["answer"])}


def word_problem(entry):
    return {"question": entry["instruction"].strip(), "answer": entry["answer"]}


def itself(entry):
    return entry


CHOICE = """\
output_type: multiple_choice
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
  - {metric: acc_norm, aggregation: mean, higher_is_better: true}
"""
BOOLQ = CHOICE + """\
doc_to_text: "Question: {{question}}\\nAnswer:"
doc_to_target: label
doc_to_choice: ["no", "yes"]
"""
# The answers of the whole file, in the order of their code points.
BBH = CHOICE + """\
doc_to_text: "Q: {{input}}\\nA:"
doc_to_target: "{{choices.index(target)}}"
doc_to_choice: "{{choices}}"
"""
EXAMPLES = "gsm8k/gsm8k-cot.yaml"

# Napier's name: (file, the harness's definition or one of ours, entry to document, questions,
# few-shot examples)
CASES = {
    "arc_easy": ("commonsense/ARC-Easy.test.json", "arc/arc_easy.yaml", arc, 8, 0),
    "arc_challenge": ("commonsense/ARC-Challenge.test.json", "arc/arc_challenge.yaml", arc, 6, 0),
    "openbookqa": ("commonsense/openbookqa.test.json", "openbookqa/openbookqa.yaml", arc, 6, 0),
    "piqa": ("commonsense/piqa.test.json", "piqa/piqa.yaml", piqa, 6, 0),
    "social_iqa": ("commonsense/social_i_qa.test.json", "siqa/siqa.yaml", siqa, 6, 0),
    "winogrande": ("commonsense/winogrande.test.json", "winogrande/default.yaml", winogrande, 8, 0),
    "commonsense_qa": ("commonsense/CommonsenseQA_dev_rand_split.jsonl",
                       "commonsense_qa/default.yaml", commonsense_qa, 6, 0),
    "mmlu": ("mmlu/test/anatomy_test.csv", "mmlu/default/mmlu_anatomy.yaml", mmlu, 3, 5),
    "gsm8k_cot": ("gsm8k/test.jsonl", "gsm8k/gsm8k-cot.yaml", itself, 2, 8),
    "gsm8k_cot_zeroshot": ("gsm8k/test.jsonl", "gsm8k/gsm8k-cot-zeroshot.yaml", itself, 4, 0),
    "bbh_cot": ("bbh/boolean_expressions.json", "bbh/cot_fewshot/boolean_expressions.yaml", itself,
                4, 3),
    "boolq": ("commonsense/boolq.test.json", BOOLQ, boolq, 12, 0),
    "bbh": ("bbh/date_understanding.json", BBH, itself, 6, 0),
    "svamp": ("commonsense/SVAMP.test.json", EXAMPLES, word_problem, 2, 8),
    "multiarith": ("commonsense/MultiArith.test.json", EXAMPLES, word_problem, 2, 8),
    "addsub": ("commonsense/AddSub.test.json", EXAMPLES, word_problem, 2, 8),
    "singleeq": ("commonsense/SingleEq.test.json", EXAMPLES, word_problem, 2, 8),
}


def entries_of(path):
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".csv":
        return list(csv.DictReader(text.splitlines(keepends=True)))
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in text.splitlines()]
    document = json.loads(text)
    return document["examples"] if isinstance(document, dict) else document


class LlamaCpp(TemplateLM):
    """The harness's interface over llama.cpp as it is; f32, greedy."""
    backend = "causal"
    eot_token_id = 2

    def __init__(self, bridge, path):
        super().__init__()
        self.bridge, self.path, self.calls = bridge, path, []
        field = GGUFReader(path).fields["tokenizer.ggml.tokens"]
        self.pieces = [bytes(field.parts[i]) for i in field.data]
        self.logits = bridge.engine(path, CONTEXT, len(self.pieces))

    def tok_encode(self, text, add_special_tokens=True, **_):
        tokens = self.bridge.tokenise(self.path, text)  # with BOS
        return tokens if add_special_tokens else tokens[1:]

    def _loglikelihood_tokens(self, requests, disable_tqdm=False):
        results = []
        for (context, continuation), before, scored in requests:
            ids = np.array((before + scored)[-(CONTEXT + 1):][:-1])
            rows = log_softmax(self.logits(ids, len(ids) - len(scored)))
            picked = rows[np.arange(len(scored)), scored]
            self.calls.append((context, continuation))
            results.append((float(picked.sum()), bool((rows.argmax(-1) == scored).all())))
        return results

    def generate_until(self, requests, disable_tqdm=False):
        results = []
        for request in requests:
            context, options = request.args
            self.calls.append((context, ""))
            ids, text = self.tok_encode(context)[-(CONTEXT - MAX_TOKENS):], b""
            for _ in range(MAX_TOKENS):
                token = int(self.logits(ids, len(ids) - 1)[-1].argmax())
                if token == self.eot_token_id:
                    break
                ids.append(token)
                piece = self.pieces[token]
                text += (bytes.fromhex(piece[3:5].decode()) if piece.startswith(b"<0x")
                         else piece.replace("\u2581".encode(), b" "))
                cut = min((text.find(stop.encode()) % (len(text) + 1) for stop in options["until"]))
                if cut < len(text):
                    text = text[:cut]
                    break
            results.append(text.decode("utf-8", "replace"))
        return results

    def loglikelihood_rolling(self, requests, disable_tqdm=False):
        raise NotImplementedError


@pytest.fixture(scope="module", params=CASES)
def both(request, tmp_path_factory, napier, shared, bridge, model_path):
    """(Napier's result, the harness's samples by question, the model's calls) of one task."""
    name = request.param
    file, definition, document_of, count, shots = CASES[name]
    path = shared("data/tasks/" + file)
    folder = tmp_path_factory.mktemp(name)
    documents = [document_of(entry) for entry in entries_of(path)[:count]]
    if name == "bbh":
        choices = sorted({entry["target"] for entry in entries_of(path)})
        documents = [document | {"choices": choices} for document in documents]
    (folder / "test.jsonl").write_text("".join(json.dumps(d) + "\n" for d in documents))
    files = {"test": str(folder / "test.jsonl")}
    more = ""
    if name == "mmlu":
        dev = entries_of(path.parents[1] / "dev/anatomy_dev.csv")
        (folder / "dev.jsonl").write_text("".join(json.dumps(mmlu(row)) + "\n" for row in dev))
        files["dev"] = str(folder / "dev.jsonl")
        more = "fewshot_split: dev\n"
    elif shots == 0:
        more = "fewshot_split: null\n"
    base = f"include: {TASKS}{definition}\n" if definition.endswith(".yaml") else definition
    (folder / "local.yaml").write_text(
        f"{base}task: local_{name}\ntag: null\n{more}"
        "dataset_path: json\ndataset_name: null\ntest_split: test\nvalidation_split: null\n"
        f"training_split: null\ndataset_kwargs:\n  data_files: {json.dumps(files)}\n"
        f"num_fewshot: {shots}\n")
    lm = LlamaCpp(bridge, model_path)
    harness = lm_eval.simple_evaluate(
        model=lm, tasks=[f"local_{name}"], log_samples=True, bootstrap_iters=0, limit=count,
        task_manager=TaskManager(include_path=str(folder), include_defaults=False))
    samples = {}
    for sample in harness["samples"][f"local_{name}"]:
        samples.setdefault(sample["doc_id"], []).append(sample)
    done = napier("tasks", model_path, "--task", f"{name}={path}", "--arith", "f32", "--limit",
                  count, "--ctx", CONTEXT, "--max-tokens", MAX_TOKENS, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["tasks"][0], samples, lm.calls


def test_answers(both, report):
    ours, samples, _ = both
    document_of = CASES[ours["task"]][2]
    assert ours["questions"] == len(samples)
    worst = 0
    for i, answer in enumerate(ours["reference"]["answers"]):
        sample = samples[i][0]
        if "log_likelihoods" in answer:
            theirs = [response[0][0] for response in sample["resps"]]
            worst = max(worst, float(np.abs(np.subtract(answer["log_likelihoods"], theirs)).max()))
            assert answer["right"][0] == sample["acc"]
            assert answer["right"][1] == sample.get("acc_norm", answer["right"][1])
            continue
        assert answer["text"] == sample["resps"][0][0]
        found = {s["filter"]: s for s in samples[i]}
        strict = found.get("strict-match") or found["get-answer"]
        flexible = found.get("flexible-extract") or strict
        assert answer["found"] == [strict["filtered_resps"][0], flexible["filtered_resps"][0]]
        # Of word problems ours compares numbers, the harness's definition texts.
        if document_of is not word_problem or not any(answer["right"]):
            assert answer["right"] == [strict["exact_match"], flexible["exact_match"]]
    report(f"{ours['task']}: {len(samples)} questions as the harness has them; log-likelihoods at "
           f"most {worst:.1e} apart")
    assert worst < 2e-3


def test_a_wrong_prompt_would_be_found(both):
    """Log-likelihoods of different choices differ by far more than the tolerance."""
    ours, _, _ = both
    for answer in ours["reference"]["answers"]:
        values = sorted(answer.get("log_likelihoods", [0, 1]))
        assert min(b - a for a, b in zip(values, values[1:])) > 2e-3 or len(set(values)) == 1
