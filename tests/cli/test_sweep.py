"""napier sweep: what it stores, resuming after kill -9, several ranks, its messages."""
import fcntl
import hashlib
import json
import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import time

import numpy as np
import pytest

SPEC = """
models = ["{model}"]
arithmetics = ["bf16", "lmul-m4"]
plans = ["kq-* -> lmul-m4; * -> f32"]
[[text]]
name = "stories"
path = "{text}"
context = 64
limit = 12
[[text]]
name = "documents"
path = "{text}"
context = 64
separator = "\\n\\n\\n"
limit = 4
[[task]]
task = "piqa"
path = "{piqa}"
limit = 10
"""


def dump(path):
    """All rows but the times, which differ from run to run."""
    connection = sqlite3.connect(path)
    lines = [line for line in connection.iterdump() if 'INTO "timing"' not in line]
    connection.close()
    return lines


@pytest.fixture(scope="module")
def spec(tmp_path_factory, shared, opening):
    path = tmp_path_factory.mktemp("sweep") / "sweep.toml"
    path.write_text(SPEC.format(model=shared("data/models/stories260K.gguf"),
                                text=opening("data/text/tinystories.txt"),
                                piqa=shared("data/tasks/commonsense/piqa.test.json")))
    return path


@pytest.fixture(scope="module")
def undisturbed(napier, spec):
    path = spec.with_name("undisturbed.db")
    done = napier("sweep", spec, "--db", path, "--threads", 1, "--json")
    assert done.returncode == 0, done.stderr
    return path, json.loads(done.stdout)


def test_results_are_those_of_eval_and_tasks(napier, shared, undisturbed, opening):
    _, document = undisturbed
    values = {(v["source"], v["subject"], v["metric"]): v["value"] for v in document["results"]}
    model, text = shared("data/models/stories260K.gguf"), opening("data/text/tinystories.txt")
    for source, more in [(0, ("--chunks", 12)), (1, ("--chunks", 4, "--separator", r"\n\n\n"))]:
        done = napier("eval", model, "--text", text, "--ctx", 64, *more, "--arith", "bf16,lmul-m4",
                      "--plan", "kq-* -> lmul-m4; * -> f32", "--json")
        evaluation = json.loads(done.stdout)
        for subject, result in enumerate([evaluation["reference"], *evaluation["results"]]):
            compared = [name for name in result if (source, subject, name) in values
                        and name != "tokens_per_second"]
            assert len(compared) > 30
            for name in compared:
                assert values[source, subject, name] == result[name], (source, subject, name)
    piqa = f"piqa={shared('data/tasks/commonsense/piqa.test.json')}"
    done = napier("tasks", model, "--task", piqa, "--limit", 10, "--arith", "bf16,lmul-m4",
                  "--json")
    task = json.loads(done.stdout)["tasks"][0]
    for subject, result in enumerate([task["reference"], *task["results"]]):
        for name, measure in result["measures"].items():
            assert values[2, subject, name] == measure["mean"]
            assert values[2, subject, name + "_high"] == measure["high"]
            assert values[2, subject, name + "_lost"] == len(measure["lost"])


def test_questions_that_are_made(napier, shared, tmp_path):
    model = shared("data/models/stories260K.gguf")
    spec, database = tmp_path / "made.toml", tmp_path / "made.db"
    spec.write_text(f"""
models = ["{model}"]
arithmetics = ["bf16"]
[[task]]
task = "arithmetic/nupa-add-integer-bare"
seed = 3
limit = 20
max_tokens = 4
context = 128
""")
    done = napier("sweep", spec, "--db", database, "--json")
    assert done.returncode == 0, done.stderr
    values = {(v["subject"], v["metric"]): v["value"]
              for v in json.loads(done.stdout)["results"]}
    asked = napier("tasks", model, "--task", "arithmetic/nupa-add-integer-bare=3", "--limit", 20,
                   "--max-tokens", 4, "--ctx", 128, "--arith", "bf16", "--json")
    task = json.loads(asked.stdout)["tasks"][0]
    for subject, result in enumerate([task["reference"], *task["results"]]):
        assert values[subject, "exact"] == result["measures"]["exact"]["mean"]
        for i, group in enumerate(result["by_length"]):
            part = f"_{group['shortest']}_{group['longest']}" if i else ""
            for name in ("digit_match", "dlength"):
                assert values[subject, name + part] == group[name]["mean"]
    page = tmp_path / "page.html"
    assert napier("report", database, "--output", page).returncode == 0
    assert "seed = 3" in page.read_text() and "exact" in page.read_text()
    again = napier("sweep", spec, "--db", database, "--json")
    assert again.returncode == 0 and "another" not in again.stderr
    for line, words in [("path = \"x.json\"", "'path'"), ("seed = -1", "'seed'")]:
        spec.write_text(spec.read_text().replace("seed = 3", line))
        done = napier("sweep", spec, "--db", tmp_path / "other.db")
        assert done.returncode == 2 and words in done.stderr and done.stderr.count("\n") == 1
        spec.write_text(spec.read_text().replace(line, "seed = 3"))


def test_the_schema_is_as_documented(undisturbed):
    """Blobs are float64, little-endian; what pandas would read with read_sql."""
    connection = sqlite3.connect(undisturbed[0])
    loss = []
    for blob, in connection.execute("SELECT nll FROM figures JOIN source s ON s.id = source WHERE "
                                    "s.name = 'stories' AND subject = 2 ORDER BY number"):
        loss.extend(np.frombuffer(blob, "<f8"))
    found, = connection.execute("SELECT value FROM result WHERE source = 0 AND subject = 2 AND "
                                "metric = 'loss'").fetchone()
    assert len(loss) == 12 * 31 and found == pytest.approx(np.mean(loss), rel=1e-12)
    hashes = dict(connection.execute("SELECT path, hash FROM model").fetchall())
    for path, value in hashes.items():
        told = subprocess.run(["sha256sum", path], capture_output=True, text=True).stdout.split()[0]
        assert value == f"sha256:{told}"
    connection.close()


def test_killed_ten_times_it_resumes_to_the_same_database(build_dir, spec, undisturbed, tmp_path,
                                                          seed):
    moments = random.Random(seed)
    path = tmp_path / "killed.db"
    command = [build_dir / "napier", "sweep", spec, "--db", path, "--threads", "1"]
    begin = time.monotonic()
    subprocess.run([*command[:-3], tmp_path / "timed.db", "--threads", "1"], capture_output=True)
    whole = time.monotonic() - begin
    counts = []
    for _ in range(10):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(moments.uniform(0.05, 0.5) * whole)
        process.send_signal(signal.SIGKILL)
        process.wait()
        if path.exists():
            try:
                connection = sqlite3.connect(path)
                counts.append(connection.execute("SELECT count(*) FROM unit").fetchone()[0])
            except sqlite3.OperationalError:
                counts.append(0)  # killed before the tables were there
            connection.close()
    assert counts == sorted(counts) and len(counts) >= 5
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert dump(path) == dump(undisturbed[0])
    again = subprocess.run(command, capture_output=True, text=True)  # nothing is left to do
    assert again.returncode == 0 and dump(path) == dump(undisturbed[0])


def stored_units(path):
    """How many units a sweep that goes on has stored; 0 before its database can be read. Read
    without locks: one who asks for them may wait while many short units are written."""
    try:
        connection = sqlite3.connect(f"file:{path}?immutable=1", uri=True)
        units = connection.execute("SELECT count(*) FROM unit").fetchone()[0]
        connection.close()
        return units
    except sqlite3.DatabaseError:
        return 0


def mpirun(count, *command):
    if not shutil.which("mpirun"):
        pytest.skip("SKIPPED: needs mpirun (openmpi-bin)")
    as_root = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    environment = os.environ | as_root
    return ["mpirun", "--oversubscribe", "-n", str(count), *map(str, command)], environment


def test_two_and_three_ranks_give_the_same_database(build_dir, spec, undisturbed, tmp_path):
    for ranks in (2, 3):
        path = tmp_path / f"ranks{ranks}.db"
        command, environment = mpirun(ranks, build_dir / "napier", "sweep", spec, "--db", path,
                                      "--threads", 1)
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("text stories") == 1
        assert dump(path) == dump(undisturbed[0])


def test_what_is_wrong_for_all_ranks_is_said_once(build_dir, spec, tmp_path):
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(spec.read_text().replace('"bf16"', '"bf17"'))
    command, environment = mpirun(3, build_dir / "napier", "sweep", wrong, "--threads", 1,
                                  "--db", tmp_path / "a.db")
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("napier: ") == 1, done.stderr
    assert "'bf17'" in done.stderr


def test_every_rank_must_have_the_same_files_and_only_the_first_writes(build_dir, spec, undisturbed,
                                                                       tmp_path, opening):
    """Each rank in a folder of its own, as on machines of their own; the second has no place for
    the database."""
    text = opening("data/text/tinystories.txt")
    for rank in (0, 1):
        folder = tmp_path / str(rank)
        folder.mkdir()
        (folder / "sweep.toml").write_text(spec.read_text().replace(str(text), "text.txt"))
        shutil.copy(text, folder / "text.txt")
    (tmp_path / "0" / "results").mkdir()
    script = (f"cd {tmp_path}/$OMPI_COMM_WORLD_RANK && exec {build_dir / 'napier'} sweep "
              "sweep.toml --db results/a.db --threads 1 --output results/table.txt")
    command, environment = mpirun(2, "sh", "-c", script)
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    figures = [[line for line in dump(path) if 'INTO "result"' in line]
               for path in (tmp_path / "0/results/a.db", undisturbed[0])]
    assert figures[0] == figures[1] and len(figures[0]) > 300
    with open(tmp_path / "1" / "text.txt", "a", encoding="utf-8") as file:
        file.write(" More of it.")
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("napier: ") == 1, done.stderr
    assert "rank 1: text.txt: is another file than on the first rank" in done.stderr
    for missing in ("text.txt", "sweep.toml"):
        (tmp_path / "1" / missing).unlink()
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 2, done.stderr
        assert done.stderr.count("napier: ") == 1, done.stderr
        assert f"rank 1: {missing}: " in done.stderr


def test_a_rank_that_fails_in_the_midst_says_why_alone(build_dir, tmp_path, shared, opening):
    """Its disk loses the second model while the first is at work."""
    for rank in (0, 1):
        folder = tmp_path / str(rank)
        folder.mkdir()
        for name in ("one.gguf", "two.gguf"):
            shutil.copy(shared("data/models/stories260K.gguf"), folder / name)
        # Slow units, so that rank 1 cannot have opened the second model when the first unit is
        # stored, and many, so that the other rank cannot do them all.
        arithmetics = [f"fp8_e4m3/acc=e4m{bits}" for bits in range(3, 9)]
        (folder / "sweep.toml").write_text(
            f"models = ['one.gguf', 'two.gguf']\narithmetics = {arithmetics}\n[[text]]\n"
            f"path = '{opening('data/text/tinystories.txt')}'\ncontext = 64\nlimit = 40\n")
    script = (f"cd {tmp_path}/$OMPI_COMM_WORLD_RANK && exec {build_dir / 'napier'} sweep "
              "sweep.toml --db a.db --threads 1")
    command, environment = mpirun(2, "sh", "-c", script)
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not stored_units(tmp_path / "0" / "a.db"):
        time.sleep(0.02)
    (tmp_path / "1" / "two.gguf").unlink()
    _, stderr = process.communicate(timeout=100)
    assert process.returncode != 0
    assert stderr.count("napier: ") == 1, stderr
    assert "rank 1: two.gguf: " in stderr


def test_a_first_rank_that_cannot_go_on_is_one_sentence(build_dir, spec, undisturbed, tmp_path):
    database = tmp_path / "a.db"
    shutil.copy(undisturbed[0], database)
    changed = tmp_path / "changed.toml"
    changed.write_text(spec.read_text().replace('"bf16", ', ""))
    command, environment = mpirun(2, build_dir / "napier", "sweep", changed, "--db", database,
                                  "--threads", 1)
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("napier: ") == 1, done.stderr
    assert "holds another sweep" in done.stderr


def test_files_that_a_task_reads_besides_count(napier, spec, tmp_path, shared):
    """MMLU's worked examples are in every prompt: with others it is another sweep."""
    mmlu = tmp_path / "mmlu"
    for part in ("test", "dev"):
        (mmlu / part).mkdir(parents=True)
        shutil.copy(shared(f"data/tasks/mmlu/{part}/anatomy_{part}.csv"), mmlu / part)
    path = tmp_path / "mmlu.toml"
    path.write_text(f"models = ['{shared('data/models/stories260K.gguf')}']\n"
                    "arithmetics = ['bf16']\n[[task]]\ntask = 'mmlu'\nlimit = 2\n"
                    "path = 'mmlu/test/anatomy_test.csv'\ncontext = 1024\n")
    database = tmp_path / "mmlu.db"
    assert napier("sweep", path, "--db", database, "--threads", 1).returncode == 0
    dev = mmlu / "dev" / "anatomy_dev.csv"
    page = napier("report", database).stdout
    assert page.count(hashlib.sha256(dev.read_bytes()).hexdigest()) == 1
    done = napier("sweep", path, "--db", dev)
    assert done.returncode == 2 and "is read as an input" in done.stderr
    dev.write_text(dev.read_text().replace(" the ", " a "))
    done = napier("sweep", path, "--db", database, "--threads", 1)
    assert done.returncode == 2 and "files that have changed" in done.stderr


def test_processes_that_do_not_know_of_each_other_are_refused(napier, spec, undisturbed, tmp_path):
    """As srun starts them without an MPI plugin of Slurm's; the first one says it."""
    def run(rank, **environment):
        return napier("sweep", spec, "--db", tmp_path / "slurm.db", "--threads", 1, env=os.environ |
                      {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "2", "SLURM_PROCID": str(rank)} |
                      environment)

    for rank in (0, 1):
        done = run(rank, SLURM_STEP_NUM_TASKS="2")
        assert done.returncode == 2 and done.stdout == ""
        assert ("srun --mpi=pmix" in done.stderr) == (rank == 0)
        assert done.stderr.count("\n") == (rank == 0)
    assert not (tmp_path / "slurm.db").exists()
    done = run(0)  # the script of a batch job itself
    assert done.returncode == 0, done.stderr
    assert dump(tmp_path / "slurm.db") == dump(undisturbed[0])


@pytest.mark.parametrize("lost", [0, 1])
def test_a_lost_rank_is_a_sentence_and_nothing_is_lost(build_dir, spec, undisturbed, tmp_path,
                                                       lost):
    path = tmp_path / "lost.db"
    command, environment = mpirun(2, build_dir / "napier", "sweep", spec, "--db", path, "--threads",
                                  1)
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE, text=True)
    victim = None
    for _ in range(600):
        time.sleep(0.02)
        if process.poll() is not None:
            break
        units = stored_units(path)
        children = subprocess.run(["pgrep", "-P", str(process.pid), "napier"], capture_output=True,
                                  text=True).stdout.split()
        ranks = {}
        for child in children:
            with open(f"/proc/{child}/environ", "rb") as file:
                for entry in file.read().split(b"\0"):
                    if entry.startswith(b"OMPI_COMM_WORLD_RANK="):
                        ranks[int(entry.split(b"=")[1])] = int(child)
        if units >= 1 and lost in ranks:
            victim = ranks[lost]
            os.kill(victim, signal.SIGKILL)
            break
    _, stderr = process.communicate(timeout=60)
    if victim is None:
        pytest.skip("SKIPPED: the sweep ended before a rank could be lost")
    assert process.returncode != 0
    assert stderr.count("a rank was lost; run it again") == 1, stderr
    resumed = subprocess.run([build_dir / "napier", "sweep", spec, "--db", path, "--threads", "1"],
                             capture_output=True, text=True)
    assert resumed.returncode == 0, resumed.stderr
    assert dump(path) == dump(undisturbed[0])


def test_what_cannot_be_done_is_said(napier, spec, undisturbed, tmp_path, shared, opening):
    def run(spec, database, **options):
        done = napier("sweep", spec, "--db", database, "--threads", 1, **options)
        assert done.stdout == "" and done.stderr.startswith("napier: "), (done.stdout, done.stderr)
        assert done.stderr.count("\n") == 1, done.stderr
        return done.returncode, done.stderr

    def edited(old, new):
        path = tmp_path / "edited.toml"
        assert old in spec.read_text()
        path.write_text(spec.read_text().replace(old, new, 1))
        return path

    held = undisturbed[0]
    code, line = run(edited('"bf16", ', ""), held)
    assert code == 2 and "holds another sweep" in line
    text = tmp_path / "text.txt"
    text.write_text("Once there was a dog. " * 200)
    changing = edited(str(opening("data/text/tinystories.txt")), str(text))
    database = tmp_path / "changing.db"
    assert napier("sweep", changing, "--db", database, "--threads", 1).returncode == 0
    text.write_text("Once there was a cat. " * 200)
    code, line = run(changing, database)
    assert code == 2 and "files that have changed" in line
    # A wrong file that never began to be swept is mended, and the same database taken.
    text.write_text("too short")
    begun = tmp_path / "begun.db"
    code, line = run(changing, begun)
    assert code == 2 and f"{text}: the text is too short" in line  # which of several
    text.write_text("Once there was a cat. " * 200)
    assert napier("sweep", changing, "--db", begun, "--threads", 1).returncode == 0
    with open(held, "rb+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        code, line = run(spec, held)
    assert code == 1 and "another process is sweeping into it" in line
    connection = sqlite3.connect(held, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    code, line = run(spec, held)
    connection.execute("ROLLBACK")
    connection.close()
    assert code == 1 and "locked by another process" in line
    code, line = run(spec, opening("data/text/tinystories.txt"))
    assert code == 2 and "is read as an input" in line
    foreign = tmp_path / "foreign.db"
    connection = sqlite3.connect(foreign)
    connection.execute("CREATE TABLE a (b)")
    connection.close()
    code, line = run(spec, foreign)
    assert code == 2 and "not of a sweep" in line

    def small_files():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000))

    full = tmp_path / "full.db"
    code, line = run(spec, full, preexec_fn=small_files)
    assert code == 1 and "full.db" in line
    assert napier("sweep", spec, "--db", full, "--threads", 1).returncode == 0
    assert dump(full) == dump(held)


@pytest.mark.parametrize("old, new, words", [
    ('models = ["', 'models = [3, "', "key 'models' must be a list of strings"),
    ("arithmetics", "arithmetic", "unknown key 'arithmetic'"),
    ('"bf16"', '"bf17"', "key 'arithmetics' holds what is none"),
    ("limit = 12", "limit = -1", "[[text]] 1: key 'limit' must be a number"),
    ('task = "piqa"', 'task = "pica"', "no task 'pica'"),
    ('name = "documents"', 'name = "stories"', "two sources are called 'stories'"),
    ("stories260K.gguf", "nosuch.gguf", "nosuch.gguf"),
    ("context = 64", "context = 3", "context of 3"),
    ("[[text]]", "[[text]", "line 5: is no sound TOML"),
    ("separator = ", 'jsonl = "text"\nseparator = ', "key 'separator' cannot stand beside 'jsonl'"),
    ('task = "piqa"', 'task = "arithmetic/add"', "key 'path' is not read"),
    ('name = "stories"', 'name = "two\\nlines"', "[[text]] 1: key 'name' must be one line"),
])
def test_broken_files(napier, spec, tmp_path, old, new, words):
    path = tmp_path / "broken.toml"
    path.write_text(spec.read_text().replace(old, new, 1))
    done = napier("sweep", path, "--db", tmp_path / "new.db")
    assert done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1
    assert words in done.stderr
    assert not (tmp_path / "new.db").exists()
