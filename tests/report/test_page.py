"""napier report: one whole page that needs no other file, its figures those of the database."""
import csv
import html.parser
import io
import json
import os
import re
import shutil
import sqlite3
import subprocess
import tomllib
import xml.etree.ElementTree

import matplotlib.image
import numpy as np
import pytest
from gguf import GGUFReader

SPEC = """
models = ["{model}"]
arithmetics = ["bf16", "lmul-m4", "fp8_e5m2"]
plans = ["kq-* -> lmul-m4; * -> f32"]
[[text]]
name = "stories <&> |"
path = "{text}"
context = 64
limit = 10
[[task]]
task = "piqa"
path = "{piqa}"
limit = 32
"""
VOID = {"meta", "br", "hr", "img", "link"}


class Page(html.parser.HTMLParser):
    """Balanced tags, the rows of tables, what is fetched from elsewhere."""

    def __init__(self):
        super().__init__()
        self.open, self.rows, self.pre, self.fetched = [], [], [], []

    def handle_starttag(self, tag, attributes):
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attributes:
            if name in ("src", "href") and not value.startswith("#"):
                self.fetched.append(value)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag == "pre":
            self.pre.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, (tag, self.getpos())

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_data(self, data):
        if "td" in self.open or "th" in self.open:
            self.rows[-1][-1] += data
        if self.open and self.open[-1] == "pre":
            self.pre[-1] += data


@pytest.fixture(scope="module")
def database(tmp_path_factory, shared, napier):
    folder = tmp_path_factory.mktemp("report")
    spec = folder / "sweep.toml"
    spec.write_text(SPEC.format(model=shared("data/models/stories260K.gguf"),
                                text=shared("data/text/tinystories.txt"),
                                piqa=shared("data/tasks/commonsense/piqa.test.json")))
    done = napier("sweep", spec, "--db", folder / "a.db", "--threads", 1)
    assert done.returncode == 0, done.stderr
    return folder / "a.db"


def rows_of(database):
    connection = sqlite3.connect(database)
    rows = connection.execute(
        "SELECT s.id, a.id, metric, value FROM result JOIN source s ON s.id = source "
        "JOIN subject a ON a.id = subject").fetchall()
    connection.close()
    return {(source, subject, metric): value for source, subject, metric, value in rows}


@pytest.fixture(scope="module")
def page(napier, database):
    path = database.with_name("page.html")
    assert napier("report", database, "--output", path).returncode == 0
    parsed = Page()
    parsed.feed(path.read_text(encoding="utf-8"))
    parsed.close()
    assert parsed.open == []
    return path, parsed


def test_the_page_is_whole_and_its_figures_are_the_databases(page, database):
    _, parsed = page
    assert parsed.fetched == []
    values = rows_of(database)
    tables = {row[0]: row for row in parsed.rows if len(row) == 11}
    names = ["f32 (reference)", "bf16", "lmul-m4", "fp8_e5m2", "kq-* -> lmul-m4; * -> f32"]
    for subject, name in enumerate(names):
        row = tables[name]
        assert row[1] == f"{values[0, subject, 'perplexity']:.4f}"
        assert row[4] == f"{values[0, subject, 'kl_mean']:.6f}"
        assert row[6] == f"{100 * values[0, subject, 'top1_agreement']:.2f}"
        assert row[9] == f"{values[0, subject, 'weight_bits']:.2f}"
    flips = [row for row in parsed.rows if len(row) == 5 and row[2] in ("lost", "gained")]
    expected = sum(values[1, s, f"acc_{kind}"] for s in range(5) for kind in ("lost", "gained"))
    assert len(flips) == expected > 0


def test_the_page_says_how_to_reproduce_it(page, database, napier, tmp_path):
    _, parsed = page
    spec = tmp_path / "sweep.toml"
    spec.write_text(parsed.pre[0])
    assert len(tomllib.loads(parsed.pre[0])["plans"]) == 4
    done = napier("sweep", spec, "--db", tmp_path / "again.db", "--threads", 1)
    assert done.returncode == 0, done.stderr
    assert rows_of(tmp_path / "again.db") == rows_of(database)
    assert all(re.search(r"sha256:[0-9a-f]{64}", row[1]) for row in parsed.rows if len(row) == 2
               and row[0] != "file")


def test_columns_sort(page, tmp_path):
    chromium = shutil.which("chromium")
    if not chromium:
        pytest.skip("SKIPPED: needs chromium")
    text = page[0].read_text(encoding="utf-8")
    click = ('<script>for (let i = 0; i < 2; ++i) document.querySelectorAll("table.sortable")[0]'
             '.tHead.rows[0].cells[4].querySelector("button").click();</script></body>')
    sorted_page = tmp_path / "sorted.html"
    sorted_page.write_text(text.replace("</body>", click), encoding="utf-8")
    done = subprocess.run([chromium, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom",
                           sorted_page.as_uri()], capture_output=True, text=True, timeout=120)
    parsed = Page()
    parsed.feed(done.stdout)
    divergences = [float(row[4]) for row in parsed.rows if len(row) == 11 and row[4][0] in "01"]
    assert len(divergences) == 5 and divergences == sorted(divergences, reverse=True)


def test_tables_and_plots(napier, database, tmp_path):
    values = rows_of(database)
    rows = list(csv.DictReader(io.StringIO(napier("report", database, "--format", "csv").stdout)))
    told = {(row["source"], row["arith"], row["metric"]): row["value"] for row in rows}
    assert float(told["piqa", "lmul-m4", "acc"]) == values[1, 2, "acc"]
    markdown = napier("report", database, "--format", "markdown").stdout
    lines = [line for line in markdown.splitlines() if line.startswith("| ")]
    assert {len(re.split(r"(?<!\\)\|", line)) for line in lines} == {11}
    latex = napier("report", database, "--format", "latex", "--plots", tmp_path / "plots").stdout
    tables = [block.split("\\end")[0] for block in latex.split("\\begin{tabular}")[1:]]
    for table, columns in zip(tables, (9, 9), strict=True):
        assert table.startswith("{l" + "r" * (columns - 1) + "}")
        rows = [row for row in table.splitlines() if row.endswith("\\\\")]
        assert len(rows) == 6 and {len(re.split(r"(?<!\\)&", row)) for row in rows} == {columns}
    assert latex.count("\\begin{tabular}") == latex.count("\\end{tabular}") == 2
    assert "kq-* -\\textgreater{} lmul-m4; " in latex  # > alone is another character there
    assert "fp8\\_e5m2 & " in latex and "change \\%" in latex
    plots = sorted((tmp_path / "plots").iterdir())
    kinds = ("bits", "change", "energy", "speed")
    names = [f"stories260K-stories______-{kind}.svg" for kind in kinds]
    assert [plot.name for plot in plots] == ["stories260K-piqa-accuracy.svg", *names]
    for plot in plots:
        root = xml.etree.ElementTree.parse(plot).getroot()
        assert root.tag.endswith("svg") and "NaN" not in plot.read_text()


def test_bits_a_weight_are_those_stored(database, shared):
    values = rows_of(database)
    assert [values[0, s, "weight_bits"] for s in range(5)] == [32, 16, 13, 8, 32]
    assert values[1, 2, "weight_bits"] == 13


def test_names_that_are_no_line_or_not_alone(napier, database, shared, tmp_path):
    """Two models of one name, a plan of two lines: told apart, and the page's file is sound."""
    model = shared("data/models/stories260K.gguf")
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        shutil.copy(model, tmp_path / folder / "model.gguf")
    spec = tmp_path / "sweep.toml"
    spec.write_text(f"""models = ["a/model.gguf", "b/model.gguf"]
arithmetics = ["x=bf16/w=int4@row"]
plans = ["kq-* -> lmul-m4;\\n* -> f32"]
[[text]]
path = "{shared('data/text/tinystories.txt')}"
context = 64
limit = 2
""")
    done = napier("sweep", spec, "--db", tmp_path / "two.db", "--threads", 1)
    assert done.returncode == 0, done.stderr
    assert "\nkq-* -> lmul-m4; * -> f32 " in done.stdout
    done = napier("report", tmp_path / "two.db", "--plots", tmp_path / "plots")
    assert done.returncode == 0, done.stderr
    parsed = Page()
    parsed.feed(done.stdout)
    assert len(tomllib.loads(parsed.pre[0])["plans"]) == 2
    for folder in ("a", "b"):
        assert f"<h2>{tmp_path}/{folder}/model.gguf, tinystories</h2>" in done.stdout
    assert len(list((tmp_path / "plots").iterdir())) == 2 * 4
    # Four bits and the scale of each row, an f32; rows of the embedding are looked up.
    rows = elements = 0
    for tensor in GGUFReader(model).tensors:
        if len(tensor.shape) == 2 and tensor.name != "token_embd.weight":
            rows += int(tensor.shape[1])
            elements += int(tensor.n_elements)
    bits = rows_of(tmp_path / "two.db")[0, 1, "weight_bits"]
    assert bits == pytest.approx(4 + 32 * rows / elements, rel=1e-9)


def test_an_empty_answer_is_no_choice(napier, database, tmp_path):
    """What a model wrote, if it wrote nothing, beside what it wrote under the reference."""
    path = tmp_path / "written.db"
    shutil.copy(database, path)
    connection = sqlite3.connect(path)
    connection.execute("UPDATE answer SET log_likelihoods = '[]', chosen = 0, chosen_norm = 0, "
                       "text = iif(is_right, 'The answer is 4.', '')")
    connection.commit()
    connection.close()
    parsed = Page()
    parsed.feed(napier("report", path).stdout)
    flips = [row for row in parsed.rows if len(row) == 5 and row[2] in ("lost", "gained")]
    assert flips and {answer for row in flips for answer in row[3:]} == {"The answer is 4.", ""}


def test_energy_is_that_of_napier_cost(napier, database, shared):
    done = napier("cost", shared("data/models/stories260K.gguf"), "--arith", "f32,bf16,lmul-m4",
                  "--ctx", 64, "--json")
    values = rows_of(database)
    costs = [one["pj"]["total"] for one in json.loads(done.stdout)["plans"]]
    assert [values[0, subject, "energy_pj"] for subject in range(3)] == costs
    assert costs[0] > costs[1] > 0


def test_plots_as_images(napier, database, tmp_path):
    """Twice as fine as the SVG, its colours in it: no program of CSS variables is needed."""
    if not shutil.which("rsvg-convert"):
        pytest.skip("SKIPPED: needs rsvg-convert (librsvg2-bin)")
    folder = tmp_path / "plots"
    done = napier("report", database, "--format", "csv", "--plots", folder, "--png")
    assert done.returncode == 0, done.stderr
    assert len(list(folder.glob("*.png"))) == len(list(folder.glob("*.svg"))) == 5
    for plot in folder.glob("*.png"):
        image = matplotlib.image.imread(plot)
        root = xml.etree.ElementTree.parse(plot.with_suffix(".svg")).getroot()
        assert image.shape[:2] == tuple(2 * int(root.get(side)) for side in ("height", "width"))
        ink, paper, series = ((0x1c, 0x24, 0x30), (255, 255, 255), (0, 0x72, 0xb2))
        pixels = np.rint(image[..., :3] * 255).astype(int).reshape(-1, 3)
        for colour in (ink, paper, series):
            assert (abs(pixels - colour).sum(axis=1) < 6).sum() > 20, (plot, colour)


def test_images_need_a_program(napier, database, tmp_path):
    empty = os.environ | {"PATH": str(tmp_path)}
    done = napier("report", database, "--plots", tmp_path / "plots", "--png", env=empty)
    assert done.returncode == 2 and "rsvg-convert (Debian: apt-get install" in done.stderr
    assert done.stderr.count("\n") == 1 and done.stdout == ""
    done = napier("report", database, "--png")
    assert done.returncode == 2 and "give --plots FOLDER" in done.stderr


def test_what_cannot_be_reported_is_said(napier, database, tmp_path):
    def refused(*arguments):
        done = napier("report", *arguments)
        assert done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1, done
        return done.stderr

    assert "nosuch.db" in refused(tmp_path / "nosuch.db")
    text = tmp_path / "text.txt"
    text.write_text("no database at all, but long enough to be looked at" * 20)
    assert "is no SQLite database" in refused(text)
    empty = tmp_path / "empty.db"
    sqlite3.connect(empty).execute("CREATE TABLE a (b)").connection.close()
    assert "not of a sweep" in refused(empty)
    assert "is no SVG" in refused(database, "--embed", text)
    assert "is read as an input" in refused(database, "--output", database)
