#!/usr/bin/env python3
"""What evaluating many arithmetics at once saves, and what a second process brings.

    bench/sweep_speed.py MODEL.gguf TEXT [--napier build/napier] [--rounds 5] [--chunks 12]
        [--context 512] [--only together|ranks]

together: one command for twelve arithmetics (T) against twelve commands (S1 to S12) and one of the
reference alone (R), one thread each. S less R is an arithmetic without its reference pass (and
without starting up, which is so charged to T), thus T / (sum of (S - R) + R) is 1 where nothing is
lost. Also the largest memory of T and of one arithmetic.

ranks: a sweep by one process of one thread against the same by two (mpirun -n 2), for bf16 and
lmul-m4, into a new database each time; the figures of the databases must be equal.

All commands of a round run in turn, in a new order each round; a ratio is made within its round.
Wall time is worth something on a quiet machine alone; time of the processor is printed beside it.
"""
import argparse
import os
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from pathlib import Path

ARITHMETICS = ["bf16", "fp8_e4m3", "fp8_e5m2", "int8", "lmul-m3", "lmul-m4", "lmul-m4-rne",
               "lmul-m6", "lmul-m7", "lmul-formula-m3", "lmul-formula-m4", "mitchell"]


def run(command, environment=None):
    """(wall seconds, processor's seconds, MiB at most) of a command."""
    begin = time.monotonic()
    pid = os.posix_spawnp(command[0], command, os.environ | (environment or {}), file_actions=[
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)])
    _, status, usage = os.wait4(pid, 0)
    wall = time.monotonic() - begin
    if status != 0:
        sys.exit(f"failed: {' '.join(command)}")
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def in_turns(commands, rounds):
    """By round: {name: what run() gave}."""
    order, results = list(commands), []
    for number in range(rounds):
        random.Random(number).shuffle(order)
        results.append({name: commands[name]() for name in order})
        print(f"round {number + 1} of {rounds} done", file=sys.stderr)
    return results


def told(name, ratios):
    print(f"  {name}: median {statistics.median(ratios):.3f}, of {len(ratios)} rounds "
          f"{min(ratios):.3f} to {max(ratios):.3f}")


def together(options):
    def command(*arithmetics):
        return lambda: run([options.napier, "eval", options.model, "--text", options.text, "-c",
                            str(options.context), "--chunks", str(options.chunks), "-t", "1",
                            "--json", "--arith", ",".join(arithmetics)])

    singles = {name: command(name) for name in ARITHMETICS}
    results = in_turns({"reference": command("f32"), "all": command(*ARITHMETICS)} | singles,
                       options.rounds)
    print(f"twelve arithmetics in one command, of twelve commands less their reference passes plus "
          f"one ({options.chunks} chunks of {options.context}, one thread):")
    for which, what in enumerate(["wall time", "processor's time"]):
        ratios = []
        for times in results:
            reference = times["reference"][which]
            parts = sum(times[name][which] - reference for name in ARITHMETICS)
            ratios.append(times["all"][which] / (parts + reference))
        told(what, ratios)
    largest = {name: max(times[name][2] for times in results) for name in results[0]}
    one = max(largest[name] for name in ARITHMETICS)
    print(f"  memory: {largest['all']:.0f} MiB; one arithmetic {one:.0f}, the reference alone "
          f"{largest['reference']:.0f}")
    print(f"  one command: {statistics.median(times['all'][0] for times in results):.2f} s, its "
          f"reference alone {statistics.median(t['reference'][0] for t in results):.2f} s")


def figures_of(path):
    connection = sqlite3.connect(path)
    lines = [line for line in connection.iterdump() if 'INTO "timing"' not in line]
    connection.close()
    return lines


def ranks(options):
    with tempfile.TemporaryDirectory() as folder:
        sweep = Path(folder) / "sweep.toml"
        sweep.write_text(f"models = ['{Path(options.model).resolve()}']\n"
                         "arithmetics = ['bf16', 'lmul-m4']\n[[text]]\n"
                         f"path = '{Path(options.text).resolve()}'\ncontext = {options.context}\n"
                         f"limit = {8 * options.chunks}\n")
        as_root = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
        same = []

        def command(count):
            def go():
                database = Path(folder) / f"{count}.db"
                database.unlink(missing_ok=True)
                start = ["mpirun", "--oversubscribe", "-n", str(count)] if count > 1 else []
                taken = run([*start, options.napier, "sweep", str(sweep), "--db", str(database),
                             "-t", "1"], as_root)
                same.append(figures_of(database))
                return taken
            return go

        results = in_turns({"one": command(1), "two": command(2)}, options.rounds)
    print(f"a sweep ({8 * options.chunks} chunks of {options.context}) by two ranks of one thread, "
          f"of one rank of one thread:")
    told("speed", [times["one"][0] / times["two"][0] for times in results])
    told("processor's time", [times["two"][1] / times["one"][1] for times in results])
    print(f"  one rank: {statistics.median(times['one'][0] for times in results):.2f} s")
    if any(figures != same[0] for figures in same):
        sys.exit("the databases differ")
    print("  the databases are equal, times apart")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model")
    parser.add_argument("text")
    parser.add_argument("--napier", default="build/napier")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--chunks", type=int, default=12)
    parser.add_argument("--context", type=int, default=512)
    parser.add_argument("--only", choices=["together", "ranks"])
    options = parser.parse_args()
    if options.only != "ranks":
        together(options)
    if options.only != "together":
        ranks(options)


if __name__ == "__main__":
    main()
