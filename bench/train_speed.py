"""Tokens a second of a training step: Napier beside PyTorch, in turns, on the same machine.

    build/venv/bin/python bench/train_speed.py [--batch 8] [--rounds 3] [--arith bf16,lmul-m4]

Teaching Arithmetic's model (10.6 M parameters: 6 layers, 6 heads, width 384, context 256), as a
llama.
PyTorch runs f32 and bf16 (autocast), its own fused attention, with 1 and with all threads; its best
counts. Peak memory is the processes' largest resident size.
"""
import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LAYERS, HEADS, WIDTH, HIDDEN, CONTEXT, VOCABULARY = 6, 6, 384, 1024, 256, 16


def torch_worker(kind, threads, batch, steps):
    import torch
    import torch.nn.functional as F
    torch.set_num_threads(threads)

    class Block(torch.nn.Module):
        def __init__(self):
            super().__init__()
            linear = lambda a, b: torch.nn.Linear(a, b, bias=False)  # noqa: E731
            self.norm1, self.norm2 = torch.nn.RMSNorm(WIDTH), torch.nn.RMSNorm(WIDTH)
            self.qkv, self.out = linear(WIDTH, 3 * WIDTH), linear(WIDTH, WIDTH)
            self.gate, self.up = linear(WIDTH, HIDDEN), linear(WIDTH, HIDDEN)
            self.down = linear(HIDDEN, WIDTH)

        def forward(self, x, cos, sin):
            b, t, _ = x.shape
            q, k, v = (y.view(b, t, HEADS, -1).transpose(1, 2)
                       for y in self.qkv(self.norm1(x)).split(WIDTH, -1))

            def turn(y):
                a, c = y.chunk(2, -1)
                return torch.cat([a * cos - c * sin, a * sin + c * cos], -1).to(v.dtype)

            y = F.scaled_dot_product_attention(turn(q), turn(k), v, is_causal=True)
            x = x + self.out(y.transpose(1, 2).reshape(b, t, WIDTH))
            h = self.norm2(x)
            return x + self.down(F.silu(self.gate(h)) * self.up(h))

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = torch.nn.Embedding(VOCABULARY, WIDTH)
            self.blocks = torch.nn.ModuleList(Block() for _ in range(LAYERS))
            self.norm = torch.nn.RMSNorm(WIDTH)
            angles = torch.arange(CONTEXT)[:, None] * 1e4 ** (
                -torch.arange(WIDTH // HEADS // 2) / (WIDTH // HEADS // 2))
            self.cos, self.sin = angles.cos(), angles.sin()

        def forward(self, tokens, targets):
            x = self.embedding(tokens)
            for block in self.blocks:
                x = block(x, self.cos, self.sin)
            logits = self.norm(x) @ self.embedding.weight.T
            return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())

    model = Model()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    tokens = torch.randint(VOCABULARY, (batch, CONTEXT + 1))

    def step():
        optimiser.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=kind == "bf16"):
            loss = model(tokens[:, :-1], tokens[:, 1:])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()

    step()
    begin = time.perf_counter()
    for _ in range(steps):
        step()
    rate = steps * batch * CONTEXT / (time.perf_counter() - begin)
    print(json.dumps({"rate": rate, "mib": peak(resource.RUSAGE_SELF)}))


def peak(who):
    return resource.getrusage(who).ru_maxrss / 1024


def napier(plan, threads, batch, steps):
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "speed.toml"
        config.write_text(f"""
name = "speed"
output = "out"
[model]
layers = {LAYERS}
heads = {HEADS}
width = {WIDTH}
hidden = {HIDDEN}
context = {CONTEXT}
[data]
task = "add-plain"
[train]
steps = {steps}
batch = {batch}
[arithmetic]
forward = "{plan}"
activation_gradients = "{plan}"
weight_gradients = "{plan}"
""")
        command = [ROOT / "build/napier", "train", config, "-t", str(threads), "--json"]
        result = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        return {"rate": result["tokens_per_second"], "mib": result["bytes"] / 2**20}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--arith", default="f32,bf16,lmul-m4")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        kind, threads = arguments.worker
        return torch_worker(kind, int(threads), arguments.batch, arguments.steps)
    threads = len(os.sched_getaffinity(0))
    best = {}

    def note(name, result):
        if name not in best or result["rate"] > best[name]["rate"]:
            best[name] = result

    for _ in range(arguments.rounds):
        for kind in ("f32", "bf16"):
            for count in sorted({1, threads}):
                command = [sys.executable, __file__, "--batch", str(arguments.batch), "--steps",
                           str(arguments.steps), "--worker", kind, str(count)]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                note(f"PyTorch {kind}, {count} threads", json.loads(done.stdout))
        for plan in arguments.arith.split(","):
            note(f"Napier {plan}, {threads} threads",
                 napier(plan, threads, arguments.batch, arguments.steps))
    torch_best = max(r["rate"] for name, r in best.items() if name.startswith("PyTorch"))
    for name, result in best.items():
        print(f"{name:28} {result['rate']:8.0f} tokens/s  {result['rate'] / torch_best:5.2f}  "
              f"{result['mib']:6.0f} MiB")


if __name__ == "__main__":
    main()
