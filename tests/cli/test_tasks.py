"""napier tasks: outputs, flips, and what it says of broken files."""
import csv
import io
import json

import pytest


@pytest.fixture(scope="module")
def tasks(napier, shared):
    def run(*arguments, threads=1):
        return napier("tasks", shared("data/models/stories260K.gguf"), "--threads", threads,
                      *arguments)
    return run


@pytest.fixture(scope="module")
def piqa(shared):
    return f"piqa={shared('data/tasks/commonsense/piqa.test.json')}"


def test_outputs_agree_and_flips_are_those_of_the_answers(tasks, piqa):
    arguments = ("--task", piqa, "--arith", "lmul-m3,f32", "--limit", 24)
    done = tasks(*arguments, "--json")
    assert done.returncode == 0 and done.stderr == "", done.stderr
    task = json.loads(done.stdout)["tasks"][0]
    reference, lmul, f32 = task["reference"], *task["results"]
    assert f32["answers"] == reference["answers"] and lmul["answers"] != reference["answers"]
    for measure, name in enumerate(["acc", "acc_norm"]):
        before = [answer["right"][measure] for answer in reference["answers"]]
        after = [answer["right"][measure] for answer in lmul["answers"]]
        found = lmul["measures"][name]
        assert found["lost"] == [i for i in range(24) if before[i] and not after[i]]
        assert found["gained"] == [i for i in range(24) if after[i] and not before[i]]
        assert found["mean"] == pytest.approx(sum(after) / 24)
        variance = found["mean"] * (1 - found["mean"]) / 23  # as the harness has it
        assert found["error"] == pytest.approx(variance**.5)
        assert found["low"] <= found["mean"] <= found["high"]
        for answer, right in zip(lmul["answers"], task["right"]):
            assert answer["right"][measure] == (answer["chosen"][measure] == right)
    rows = list(csv.DictReader(io.StringIO(tasks(*arguments, "--csv").stdout)))
    assert [(row["arith"], row["measure"]) for row in rows] == [
        (arith, name) for arith in ("f32", "lmul-m3", "f32") for name in ("acc", "acc_norm")]
    assert float(rows[2]["mean"]) == lmul["measures"]["acc"]["mean"]
    table = tasks(*arguments).stdout
    assert "24 questions" in table and "lmul-m3" in table and "McNemar" in table


def test_answers_repeat_and_do_not_depend_on_threads_or_what_comes_before(tasks, shared):
    request = f"svamp={shared('data/tasks/commonsense/SVAMP.test.json')}"

    def answers(*arguments, threads=1):
        done = tasks("--task", request, "--arith", "lmul-m4", "--ctx", 1400, "--max-tokens", 6,
                     "--json", *arguments, threads=threads)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)["tasks"][0]["results"][0]["answers"]

    assert answers("--limit", 2, threads=2) == answers("--limit", 3)[:2]


def test_tasks_are_listed(napier):
    done = napier("tasks", "--list")
    assert done.returncode == 0 and "winogrande" in done.stdout and "not comparable" in done.stdout


def test_broken_files_and_requests(tasks, piqa, tmp_path):
    def refused(*arguments):
        done = tasks("--arith", "f32", *arguments)
        assert done.returncode == 2 and done.stdout == "", done
        assert done.stderr.startswith("napier: ") and done.stderr.count("\n") == 1, done.stderr
        return done.stderr

    def file(name, text):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    assert "nosuch.json" in refused("--task", "piqa=nosuch.json")
    assert "no task 'pica'" in refused("--task", "pica=a")
    assert "NAME=FILE" in refused("--task", "piqa")
    assert "give MODEL.gguf and --task" in refused()
    assert "b.json: is not JSON" in refused("--task", f"piqa={file('b.json', '[{')}")
    assert "no questions" in refused("--task", f"piqa={file('e.json', '[]')}")
    entry = '[{"instruction": "Please", "answer": "solution1"}]'
    assert "p.json: entry 1: the instruction" in refused("--task", f"piqa={file('p.json', entry)}")
    line = '{"question": "a", "answer": "b"}\n{"question": '
    assert "g.jsonl: line 2: is not JSON" in refused("--task",
                                                     f"gsm8k_cot={file('g.jsonl', line)}")
    assert "_test.csv" in refused("--task", f"mmlu={file('m.csv', 'a')}")
    assert "x_dev.csv" in refused("--task", f"mmlu={file('x_test.csv', 'a')}")
    good = file("good.jsonl", '{"question": "a", "answer": "b"}\n')
    assert "leave no room" in refused("--task", f"gsm8k_cot={good}", "--max-tokens", 512)
    assert "more than a context of 8" in refused("--task", piqa, "--ctx", 8)
