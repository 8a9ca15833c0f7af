#!/usr/bin/env python3
"""What many evaluations in one command cost, by the wall clock of a machine that does nothing else:

- twelve arithmetics in one `napier eval` against twelve runs, of whose time that of all reference
  passes but one is taken off (bar: at most 1.05);
- a sweep on one rank of one thread against two ranks of one thread (bar: 1.8), whose databases must
  hold the same figures.

    bench/sweep_speed.py MODEL.gguf TEXT [--chunks 40] [--sweep-chunks 200]

Every rank cuts the text into tokens by itself, which takes seconds for a text of a megabyte: a
sweep must be long for its ranks to be worth their start.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ARITHMETICS = ("bf16", "f16", "fp8_e4m3", "fp8_e5m2", "int8", "mxfp8_e4m3", "mxfp4", "nvfp4",
               "lmul-m4", "lmul-m4-rne", "lmul-m3", "lmul-m7")  # fmt: skip


def seconds(command: list[str]) -> tuple[float, str]:
    begin = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stderr}")
    return time.perf_counter() - begin, done.stdout


def reference_pass(report: dict) -> float:
    """Seconds of the reference's pass in one run of eval."""
    return report["tokens"] / report["reference"]["tokens_per_second"]


def one_command(napier: str, model: str, text: str, chunks: int) -> None:
    shared = [napier, "eval", model, "--text", text, "--chunks", str(chunks), "--json", "--arith"]
    together, report = seconds([*shared, ",".join(ARITHMETICS)])
    one_pass = reference_pass(json.loads(report))
    alone = one_pass
    for arith in ARITHMETICS:
        took, report = seconds([*shared, arith])
        alone += took - reference_pass(json.loads(report))
    print(
        f"twelve arithmetics in one command: {together:.2f} s; in twelve, and one reference pass "
        f"of {one_pass:.2f} s: {alone:.2f} s; ratio {together / alone:.3f} (bar 1.05)"
    )


def figures(database: Path) -> list[tuple]:
    with sqlite3.connect(database) as open_database:
        return open_database.execute(
            "SELECT model, source, subject, metric, value FROM result ORDER BY 1, 2, 3, 4"
        ).fetchall()


def ranks(napier: str, model: str, text: str, chunks: int, repeats: int) -> None:
    best = {1: float("inf"), 2: float("inf")}
    with tempfile.TemporaryDirectory() as folder:
        sweep = Path(folder) / "sweep.toml"
        sweep.write_text(
            f"models = [{json.dumps(model)}]\n"
            'arithmetics = ["bf16", "lmul-m4", "fp8_e4m3"]\n'
            f"[[text]]\npath = {json.dumps(text)}\nlimit = {chunks}\n"
        )
        held = {}
        for repeat in range(repeats):
            for count in best:
                database = Path(folder) / f"{count}-{repeat}.db"
                root = ["--allow-run-as-root"] if Path("/root").stat().st_uid == 0 else []
                took, _ = seconds(["mpirun", *root, "--oversubscribe", "-n", str(count), napier,
                                   "sweep", str(sweep), "--db", str(database),
                                   "--threads", "1"])  # fmt: skip
                best[count] = min(best[count], took)
                held[count] = figures(database)
        if held[1] != held[2]:
            sys.exit("the figures of two ranks are not those of one")
    ratio = best[1] / best[2]
    print(
        f"a sweep on one rank: {best[1]:.2f} s, on two {best[2]:.2f} s; ratio {ratio:.3f} (bar 1.8)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=lambda path: str(Path(path).resolve()))
    parser.add_argument("text", type=lambda path: str(Path(path).resolve()))
    parser.add_argument("--chunks", type=int, default=40, help="of the twelve arithmetics")
    parser.add_argument("--sweep-chunks", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--napier", default=str(ROOT / "build" / "napier"))
    options = parser.parse_args()
    of = (options.napier, options.model, options.text)
    one_command(*of, options.chunks)
    ranks(*of, options.sweep_chunks, options.repeats)


if __name__ == "__main__":
    main()
