"""Whatever is wrong with a request or an input: one sentence on stderr, exit code 2, no signal."""
import random
import struct
import subprocess

import pytest

STORY = "Once upon a time there was a little girl. She had a red ball and a small brown dog. "


@pytest.fixture(scope="module")
def model(shared):
    return shared("data/models/stories260K.gguf")


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "story.txt"
    path.write_text(STORY * 40)
    return path


@pytest.fixture
def refused(napier):
    """refused(...): runs napier, which must exit with 2 and one line; returns that line."""

    def run(*arguments):
        done = napier(*arguments, timeout=120)
        assert done.returncode == 2, (done.returncode, done.stderr)
        assert done.stdout == ""
        assert done.stderr.startswith("napier: ") and done.stderr.count("\n") == 1, done.stderr
        return done.stderr

    return run


@pytest.fixture
def evaluation_refused(refused, model, text):
    """With the model, text or further arguments replaced."""

    def run(*arguments, model=model, text=text):
        arguments = arguments or ("--arith", "f32")
        return refused("eval", model, "--text", text, "--threads", 1, "--ctx", 128, *arguments)

    return run


def copy_of(model, path, edit):
    data = bytearray(model.read_bytes())
    data = edit(data) or data
    path.write_bytes(data)
    return path


def metadata_end(model):
    from gguf import GGUFReader
    return GGUFReader(model).data_offset


def test_models_that_are_none(evaluation_refused, text, tmp_path):
    assert "no such file" in evaluation_refused(model=tmp_path / "missing.gguf")
    assert "directory" in evaluation_refused(model=tmp_path)
    assert "GGUF" in evaluation_refused(model=text)
    empty = tmp_path / "empty.gguf"
    empty.write_bytes(b"")
    assert "truncated" in evaluation_refused(model=empty)


def test_truncated_models(evaluation_refused, model, tmp_path):
    size = model.stat().st_size
    end = metadata_end(model)
    for length in [1, 4, 8, 23, 24, 100, end // 2, end - 1, end, end + 1, size // 2, size - 1]:
        broken = copy_of(model, tmp_path / "truncated.gguf", lambda data: data[:length])
        assert "truncated.gguf" in evaluation_refused(model=broken), length


def test_bits_flipped_in_the_metadata(napier, model, text, tmp_path, seed, full_tier):
    end = metadata_end(model)
    broken = tmp_path / "flipped.gguf"
    codes = {}
    for i in range(2000 if full_tier else 200):
        random_bits = random.Random(seed * 10000 + i)
        # Every second one in the keys and tensors' descriptions at the ends, not in the tokens.
        where = random_bits.randrange(end) if i % 2 else random_bits.randrange(min(end, 700))
        bit = random_bits.randrange(8)

        def flip(data):
            data[where] ^= 1 << bit

        copy_of(model, broken, flip)
        done = napier("eval", broken, "--text", text, "--arith", "f32", "--ctx", 64, "--chunks", 1,
                      "--threads", 1, "--json", timeout=200)
        assert done.returncode in (0, 2), (i, where, bit, done.returncode, done.stderr)
        sentences = [s for s in done.stderr.splitlines() if not s.startswith("napier: warning")]
        assert len(sentences) == (1 if done.returncode else 0), (i, where, bit, done.stderr)
        codes[done.returncode] = codes.get(done.returncode, 0) + 1
    print(codes)
    assert set(codes) == {0, 2}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite(evaluation_refused, model, tmp_path, value):
    from gguf import GGUFReader
    for name in ["blk.3.ffn_up.weight", "output.weight", "blk.0.attn_norm.weight"]:
        tensor = next(t for t in GGUFReader(model).tensors if t.name == name)

        def plant(data):
            struct.pack_into("<f", data, tensor.data_offset + tensor.n_bytes - 4, value)

        sentence = evaluation_refused(model=copy_of(model, tmp_path / "planted.gguf", plant))
        assert f"'{name}'" in sentence and "finite" in sentence


def test_unknown_architecture(evaluation_refused, model, tmp_path):
    def rename(data):
        key = b"general.architecture" + struct.pack("<IQ", 8, 5)
        at = data.index(key) + len(key)
        assert data[at:at + 5] == b"llama"
        data[at:at + 5] = b"lxama"

    sentence = evaluation_refused(model=copy_of(model, tmp_path / "unknown.gguf", rename))
    assert "unknown model architecture" in sentence and "lxama" in sentence


def test_texts(evaluation_refused, tmp_path):
    empty = tmp_path / "empty.txt"
    empty.write_text("")
    assert "empty" in evaluation_refused(text=empty)
    short = tmp_path / "short.txt"
    short.write_text("Once upon a time")
    sentence = evaluation_refused(text=short)
    assert "128" in sentence and "tokens" in sentence
    assert "cannot be read" in evaluation_refused(text=tmp_path / "missing.txt")
    assert "directory" in evaluation_refused(text=tmp_path)


def test_arithmetics_and_plans(evaluation_refused, tmp_path):
    assert "lmul-m99" in evaluation_refused("--arith", "lmul-m99")
    assert "position" in evaluation_refused("--arith", "bf16,x=e4m3:rtzz")
    assert "nothing to evaluate" in evaluation_refused("--chunks", 1)
    assert "matches no matrix multiplication" in evaluation_refused("--plan", "foo* -> bf16")
    assert "never reached" in evaluation_refused("--plan", "kq* -> bf16; kqv-* -> f32")
    assert "position" in evaluation_refused("--plan", "kq* -> ")
    assert "do not divide" in evaluation_refused("--arith", "x=e4m3@block7")
    assert "recipe" in evaluation_refused("--plan", tmp_path / "missing.toml")
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("name = 'a'\nplan = 'f32'\n")
    assert "'source'" in evaluation_refused("--plan", recipe)


@pytest.mark.parametrize("arithmetic, words", [
    ("mxfp5", ["did you mean 'mxfp4'"]), ("x=e4m3fm", ["unknown format"]),
    ("x=e2m1@blok16", ["block<n>"]), ("x=bitmod4", ["needs a scale"]),
    ("x=e12m3", ["0 to 11"]), ("x=e8m24", ["0 to 23"]), ("x=e11m23", ["32 bits"]),
    ("x=int33", ["32 bits"]), ("acc=int63", ["62 bits"]), ("x=pow9a50", ["2 to 8 bits"]),
    ("x=f64", ["accumulator"]), ("w=int8@block48", ["w's blocks of 48", "rows of 64"]),
    ("x=e2m1@block16(e4m3)@block32", ["fine to coarse"]), ("mul=table", ["file"])])
def test_numbers_that_cannot_be(evaluation_refused, arithmetic, words):
    """Typos, formats wider than there are, blocks that do not divide a matrix's rows."""
    sentence = evaluation_refused("--arith", arithmetic)
    assert all(word in sentence for word in words), sentence


@pytest.mark.parametrize("content, word", [
    (b"", "0 bytes"), (b"\0" * 131070, "131070 bytes"), (b"1 " * 1000, "1000 numbers"),
    (b"1 nan " + b"1 " * 65534, "finite"), (struct.pack("<f", float("nan")) * 65536, "finite"),
    (b"one " * 65536, "'one'")], ids=["empty", "bytes", "few", "nan", "nans", "words"])
def test_tables_of_products_that_are_none(evaluation_refused, tmp_path, content, word):
    path = tmp_path / "products"
    path.write_bytes(content)
    sentence = evaluation_refused("--arith", f"x=int8@row/w=int8@row/mul=table(file={path})")
    assert word in sentence and str(path) in sentence
    assert str(path) + "x" in evaluation_refused(
        "--arith", f"x=int8@row/w=int8@row/mul=table(file={path}x)")


def test_options(evaluation_refused, refused):
    f32 = ("--arith", "f32")
    for option, value in [("--chunks", -1), ("--chunks", 100000), ("--kv", "q8_0"),
                          ("--nonsense", 1)]:
        evaluation_refused(*f32, option, value)
    evaluation_refused(*f32, "--json", "--csv")
    refused()
    refused("nonsense")
    refused("eval")
    refused("explain", "nonsense")
    refused("explain", "lmul-m4", "--x", "much")


@pytest.mark.parametrize("option, value", [("--ctx", 1), ("--ctx", "many"), ("--ctx", -5),
                                           ("--threads", 0), ("--threads", 100000)])
def test_numbers_out_of_range(refused, model, text, option, value):
    refused("eval", model, "--text", text, "--arith", "f32", option, value)


def test_output_that_cannot_be_written(evaluation_refused, tmp_path):
    for path in [tmp_path / "missing" / "out.json", tmp_path]:
        assert str(path) in evaluation_refused("--arith", "f32", "--output", path)


def test_an_input_is_never_written_over(evaluation_refused, refused, model, text, tmp_path):
    own = tmp_path / "own.gguf"
    own.write_bytes(model.read_bytes())
    (tmp_path / "link.json").symlink_to(own)
    common = ["--arith", "f32", "--chunks", "1"]
    for path in [own, tmp_path / "link.json"]:  # a model, whether it is the one evaluated or not
        assert str(own) in evaluation_refused(*common, "--output", path)
        assert str(own) in evaluation_refused(*common, "--output", path, model=own)
    assert own.read_bytes() == model.read_bytes()
    words = tmp_path / "words.txt"
    words.write_text("Once upon a time " * 20)
    assert "input" in evaluation_refused(*common, "--output", words, text=words)
    kept = tmp_path / "kept.json"
    kept.write_text("kept")
    kept.chmod(0o444)
    assert str(kept) in evaluation_refused(*common, "--output", kept)


def test_a_context_beyond_the_text(refused, model, tmp_path):
    words = tmp_path / "words.txt"
    words.write_text("Once upon a time")
    for context in [1000, 1000000, 2000000000]:
        sentence = refused("eval", model, "--text", words, "--arith", "f32", "--ctx", context)
        assert "too" in sentence


def test_plan_paths(evaluation_refused, tmp_path):
    for path in [tmp_path, tmp_path / "missing", "/dev/null", "./nope"]:
        assert str(path) in evaluation_refused("--plan", path)


def test_run(refused, model, tmp_path):
    refused("run", tmp_path / "missing.gguf", "-p", "Once")
    refused("run", model)
    refused("run", model, "-p", "Once", "--arith", "nonsense")
    refused("run", model, "-p", "Once", "--top-p", 3)
    refused("run", model, "-p", "Once upon a time there was", "--ctx", 2)
    refused("run", model, "-p", "Once", "-n", -1)
    refused("run", model, "-p", "Once", "-n", 1 << 31)
    refused("run", model, "-p", "Once", "--plan", "foo -> bf16")
    refused("run", model, "-p", "Once", "--plan", "f32", "--arith", "f32")
    for option in ["--temp", "--top-p", "--min-p", "--repeat-penalty"]:
        refused("run", model, "-p", "Once", option, "nan")


def test_a_closed_stderr_changes_no_exit_code(build_dir):
    command = f"{build_dir}/napier explain bogus 2>&-"
    assert subprocess.run(["sh", "-c", command], stdout=subprocess.DEVNULL).returncode == 2


@pytest.mark.parametrize("arith, words", [
    ("mxfp5", ["mxfp5", "did you mean"]),
    ("x=int99/w=int8", ["int99", "62 bits"]),
    ("x=int40/w=int8", ["at most 32 bits"]),
    ("x=int8@block7/w=int8", ["blocks of 7", "do not divide"]),
    ("mxfp4", ["blocks of 32", "do not divide"]),  # attention's heads have 8 elements here
])
def test_formats_and_blocks_that_cannot_be(evaluation_refused, arith, words):
    sentence = evaluation_refused("--arith", arith)
    assert all(word in sentence for word in words), sentence


@pytest.mark.parametrize("content, words", [
    (b"1 2 3", ["3 numbers", "65536"]),
    (b"\0" * 100, ["100 bytes", "131072"]),
    (b"0 " * 70 + b"nan " + b"0 " * 65465, ["codes 0 and 70", "finite"]),
], ids=["few", "bytes", "nan"])
def test_tables_of_products(evaluation_refused, tmp_path, content, words):
    path = tmp_path / "products.bin"
    path.write_bytes(content)
    arith = f"x=int8@row/w=int8@row/mul=table(file={path})"
    sentence = evaluation_refused("--arith", arith)
    assert str(path) in sentence and all(word in sentence for word in words), sentence


def test_league_of_nothing(refused, model, text):
    """Blocks of 128 divide no matrix of this model."""
    assert "blocks" in refused("league", model, "--text", text, "--arith", "bitmod4", "--chunks", 1)
    assert "did you mean" in refused("league", model, "--text", text, "--arith", "lmul-m33")


def test_documents_and_references(evaluation_refused, shared, tmp_path):
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"text": "A dog ran."}\n{"text": "A cat')
    line = evaluation_refused("--arith", "f32", "--jsonl", "text", text=broken)
    assert "broken.jsonl: line 2: is not JSON" in line
    assert "line 1" in evaluation_refused("--arith", "f32", "--jsonl", "story", text=broken)
    assert "1 documents, not 5" in evaluation_refused("--arith", "f32", "--separator", "#",
                                                      "--chunks", 5)
    assert "excludes" in evaluation_refused("--arith", "f32", "--separator", "#", "--jsonl", "a")
    other = shared("data/models/stories3M.gguf")
    assert "different vocabularies" in evaluation_refused("--arith", "f32", "--reference", other)
    assert "nosuch" in evaluation_refused("--arith", "f32", "--reference", "nosuch")
    taken = tmp_path / "taken"
    taken.write_text("")
    assert "taken" in evaluation_refused("--arith", "f32", "--logits", taken)


def test_a_task_file_is_never_written_over(refused, model, shared, tmp_path):
    questions = tmp_path / "piqa.json"
    questions.write_bytes(shared("data/tasks/commonsense/piqa.test.json").read_bytes())
    before = questions.read_bytes()
    line = refused("tasks", model, "--task", f"piqa={questions}", "--arith", "bf16", "--output",
                   questions)
    assert "is read as an input" in line and questions.read_bytes() == before


@pytest.mark.parametrize("sums, unit, words", [
    ("exact", "step", "64 at most"), ("exact", "add", "not made one by one"),
    ("f32(align=4,extra=2)", "step", "not made one by one"), ("f32", "dot", "that the accumulator"),
])
def test_sums_without_circuit_or_price(refused, sums, unit, words):
    arith = f"x=bf16/w=bf16/acc={sums}"
    assert words in refused("hw", "verilog", arith, "--unit", unit)
    if sums != "f32":
        line = refused("cost", "llama-3.1-8b", "--arith", arith)
        assert f"no price of 'step exact bf16+{sums}'" in line and "--free add" in line


def test_names_that_are_nearly_right(refused, tmp_path):
    assert "did you mean 'eval'?" in refused("evl", "m.gguf")
    assert "did you mean 'piqa'?" in refused("tasks", "m.gguf", "--arith", "f32", "--task", "pqa=x")
    (tmp_path / "sweep.toml").write_text("model = ['m.gguf']\n")
    assert "did you mean 'models'?" in refused("sweep", tmp_path / "sweep.toml", "--db", "x.db")
    assert "did you mean 'file'?" in refused("explain", "x=uint8/w=uint8/mul=table(fil=t.txt)")


@pytest.mark.parametrize("option", ["--arith", "--jsonl", "--separator", "--output", "--logits"])
def test_empty_values(evaluation_refused, option):
    assert f"{option}: the value is empty" in evaluation_refused("--arith", "f32", option, "")


@pytest.mark.parametrize("command", [
    ("sweep", "{}", "--db", "x.db"), ("report", "{}"), ("cost", "llama-3.1-8b", "--prices", "{}"),
    ("explain", "x=uint8/w=uint8/mul=table(file={})"),
    ("run", "m.gguf", "-p", "a", "--plan", "{}"),
    ("tasks", "m.gguf", "--arith", "f32", "--task", "piqa={}"),
])
@pytest.mark.parametrize("place, words", [("/tmp", "directory"), ("/dev/zero", "device"),
                                          ("./no_such.toml", "o such")])
def test_folders_and_devices_in_place_of_files(refused, command, place, words):
    if command[0] == "report" and words == "device":
        words = "database"
    assert words in refused(*(part.format(place) for part in command))


def test_two_results_are_never_in_one_file(refused, model, text, tmp_path):
    same = tmp_path / "same"
    for command in (["where", model, "--text", text, "--arith", "f32", "--svg", same],
                    ["league", model, "--text", text, "--arith", "f32", "--plot", same],
                    ["error", "--show", "dots", "--lengths", 16, "--svg", same]):
        assert "written twice" in refused(*command, "--output", same)
        assert not same.exists()


def test_logits_are_never_written_over_an_input(evaluation_refused, model, text, tmp_path):
    held = tmp_path / "1.npy"
    held.write_bytes(model.read_bytes())
    assert "read as an input" in evaluation_refused(
        "--arith", "bf16", "--logits", tmp_path, "--chunks", 1, model=held)
    assert held.read_bytes() == model.read_bytes()
    table = tmp_path / "table.txt"
    table.write_text(" ".join(str((i >> 8) * (i & 255)) for i in range(65536)))
    assert "read as an input" in evaluation_refused(
        "--arith", f"x=uint8@row/w=uint8@row/mul=table(file={table})", "--output", table)


def test_more_threads_than_the_machine_runs(refused, model, text):
    for command in (["eval", model, "--text", text, "--arith", "f32"], ["bench"], ["error"]):
        assert "cores; give 1 to" in refused(*command, "--threads", 4096)


def test_prices_of_rules_that_decide_nothing(refused):
    assert "decides no matrix multiplication" in refused(
        "cost", "llama-3.1-8b", "--plan", "nothing -> f32")


def test_results_that_are_no_numbers(napier, model, text, tmp_path, shared):
    """Sums overflow: shown as far as they go, then one sentence and exit code 1."""
    overflowing = "x=f16:inf/w=f16:inf/acc=e2m2:inf"
    question = shared("data/tasks/commonsense/piqa.test.json")
    sweep = tmp_path / "sweep.toml"
    sweep.write_text(f"models = ['{model}']\narithmetics = ['{overflowing}']\n"
                     f"[[task]]\ntask = 'piqa'\npath = '{question}'\nlimit = 2\n")
    on_text = [model, "--text", text, "--arith", overflowing, "--ctx", 128, "--chunks", 1]
    for command in (["eval", *on_text], ["where", *on_text, "--parts", "role"],
                    ["league", *on_text],
                    ["tasks", model, "--arith", overflowing, "--task", f"piqa={question}",
                     "--limit", 2],
                    ["sweep", sweep, "--db", tmp_path / "sweep.db"]):
        done = napier(*command, timeout=120)
        assert done.returncode == 1, (command, done.stderr)
        assert "number" in done.stderr and done.stderr.count("\n") == 1, done.stderr
        assert "-nan" not in done.stdout and done.stdout


def test_csv_leaves_out_what_is_no_number(napier, model, text):
    """One chunk has no standard error."""
    done = napier("where", model, "--text", text, "--arith", "bf16", "--ctx", 128, "--chunks", 1,
                  "--parts", "role", "--csv", timeout=120)
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and len(lines) > 5
    for line in lines[1:]:
        assert "nan" not in line and line.endswith(",") and line.count(",") == 6


def test_a_damaged_sweep_database(napier, refused, model, text, tmp_path):
    import sqlite3
    sweep, database = tmp_path / "sweep.toml", tmp_path / "sweep.db"
    sweep.write_text(f"models = ['{model}']\narithmetics = ['bf16']\n"
                     f"[[text]]\npath = '{text}'\ncontext = 128\nlimit = 1\n")
    assert napier("sweep", sweep, "--db", database, timeout=120).returncode == 0
    whole = database.read_bytes()
    for damage in ("DELETE FROM model", "DELETE FROM subject", "DELETE FROM source",
                   "UPDATE meta SET value = '{}' WHERE key = 'identity'"):
        database.write_bytes(whole)
        with sqlite3.connect(database) as connection:
            connection.execute(damage)
        assert "is damaged" in refused("report", database)
