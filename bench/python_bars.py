#!/usr/bin/env python3
"""What Python costs: napier.matmul against the C++ kernel, and against the emulation that people
write in PyTorch, all in one run. `make python-bench` builds what it needs.

    PYTHONPATH=build/python python bench/python_bars.py [--size 1024] [--arith lmul-m4,bf16]

Each time is the best of the repeats, which take turns. The kernel's time is measured in C++, with
as many threads; operands and results are the same arrays. With --threads 1 all times but the
emulation's are the thread's own work, so that what else the machine does is not in them.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path

import napier
import numpy as np

ROOT = Path(__file__).resolve().parents[1]


def kernel_seconds(bridge: ctypes.CDLL, arith: str, x, w, out) -> tuple[float, float]:
    """(packing, multiplying), measured in C++."""
    packing, multiplying = ctypes.c_double(), ctypes.c_double()
    sizes = (ctypes.c_int64(v) for v in (len(x), len(w), x.shape[1]))
    refused = bridge.bridge_seconds(
        arith.encode(), *sizes, napier.get_threads(), int(napier.get_threads() == 1),
        *(ctypes.c_void_p(a.ctypes.data) for a in (x, w, out)),
        ctypes.byref(packing), ctypes.byref(multiplying),
    )  # fmt: skip
    if refused:
        sys.exit(f"{arith} was refused")
    return packing.value, multiplying.value


def timed(work: Callable[[], object]) -> float:
    clock = time.thread_time if napier.get_threads() == 1 else time.perf_counter
    begin = clock()
    work()
    return clock() - begin


def emulated_lmul(x, w, mantissa_bits: int = 4, rows: int = 8):
    """L-Mul as one writes it in PyTorch: mantissas cut off, patterns added by broadcasting, summed;
    a few rows at a time, since all products at once need gigabytes."""
    import torch

    shift, bias, offset = 23 - mantissa_bits, 127 << 23, 1 << (23 - 3)  # l(4) = 3
    xi, wi = ((torch.from_numpy(v).view(torch.int32) >> shift) << shift for v in (x, w))
    low = 0x7FFFFFFF
    out = torch.empty(len(x), len(w))
    wm, wz = wi & low, (wi & low) == 0
    for i in range(0, len(x), rows):
        part = xi[i : i + rows, None, :]
        magnitude = (part & low) + wm - (bias - offset)
        product = (magnitude | ((part ^ wi) & ~low)).view(torch.float32)
        product = torch.where(((part & low) == 0) | wz, torch.zeros(()), product)
        out[i : i + rows] = product.sum(-1)
    return out.numpy()


def emulated_exact(x, w, dtype: str, rows: int = 8):
    """Fake-quantised operands, products by broadcasting, rounded sums left to PyTorch."""
    import torch

    xq, wq = (torch.from_numpy(v).to(getattr(torch, dtype)).float() for v in (x, w))
    out = torch.empty(len(x), len(w))
    for i in range(0, len(x), rows):
        out[i : i + rows] = (xq[i : i + rows, None, :] * wq).sum(-1)
    return out.numpy()


EMULATIONS = {
    "lmul-m4": emulated_lmul,
    "bf16": lambda x, w: emulated_exact(x, w, "bfloat16"),
    "fp8_e4m3": lambda x, w: emulated_exact(x, w, "float8_e4m3fn"),
}


def measure(arith: str, size: int, repeats: int) -> dict[str, object]:
    bridge = ctypes.CDLL(str(ROOT / "build" / "tests" / "napier_python_bridge.so"))
    random = np.random.default_rng(1)
    x, w = (random.standard_normal((size, size)).astype(np.float32) for _ in range(2))
    wt = np.ascontiguousarray(w.T)
    out, theirs = np.empty((size, size), np.float32), np.empty((size, size), np.float32)
    packed = napier.pack(w, arith)
    best: dict[str, float] = {}
    ways = {
        "matmul(x, w.T)": lambda: napier.matmul(x, w.T, arith, out=out),
        "matmul(x, wt), wt along n": lambda: napier.matmul(x, wt, arith, out=out),
        "pack(w)(x)": lambda: packed(x, out=out),
    }
    kernel_seconds(bridge, arith, x, w, theirs)
    for name, way in ways.items():
        out[...] = np.nan
        way()
        assert np.array_equal(out, theirs), f"{name}: Python's bits are not C++'s"
    for repeat in range(-1, repeats):
        packing, multiplying = kernel_seconds(bridge, arith, x, w, theirs)
        seconds = {
            "C++: pack + multiply": packing + multiplying,
            "C++: multiply": multiplying,
        } | {name: timed(way) for name, way in ways.items()}
        if repeat >= 0:  # the first is to warm up
            best = {key: min(best.get(key, math.inf), value) for key, value in seconds.items()}
    try:
        import torch

        torch.set_num_threads(napier.get_threads())
        emulate = EMULATIONS.get(arith)
    except ImportError:
        emulate = None
    if emulate is not None:
        close = np.abs(emulate(x[:16], w) - out[:16]).max() / np.abs(out[:16]).max()
        assert close < 1e-4, f"the emulation is another arithmetic: {close}"
        best["PyTorch, emulated"] = timed(lambda: emulate(x, w))
    whole = best["C++: pack + multiply"]
    return {
        "arith": arith, "size": size, "threads": napier.get_threads(), "kernel": packed.kernel,
        "seconds": best,
        "matmul over C++": best["matmul(x, w.T)"] / whole,
        "matmul across the memory over C++": best["matmul(x, wt), wt along n"] / whole,
        "packed over C++": best["pack(w)(x)"] / best["C++: multiply"],
        "emulation over matmul": best.get("PyTorch, emulated", math.nan) / best["matmul(x, w.T)"],
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--arith", default="lmul-m4,bf16,fp8_e4m3")
    parser.add_argument("--threads", type=int, default=napier.get_threads())
    parser.add_argument("--no-emulation", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    napier.set_threads(options.threads)
    if options.no_emulation:
        EMULATIONS.clear()
    rows = [measure(a, options.size, options.repeats) for a in options.arith.split(",")]
    if options.json:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        print(f"{row['arith']}, {row['size']}^3, {row['threads']} threads, kernel {row['kernel']}")
        for name, seconds in row["seconds"].items():  # type: ignore[attr-defined]
            print(f"  {name:28}{1e3 * seconds:10.2f} ms")
        for name in ("matmul over C++", "matmul across the memory over C++", "packed over C++",
                     "emulation over matmul"):  # fmt: skip
            print(f"  {name:34}{row[name]:10.3f}")


if __name__ == "__main__":
    main()
