"""Gradients and loss curves against PyTorch's autograd and AdamW, from equal weights and data."""
import subprocess

import numpy as np
import pytest

torch = pytest.importorskip(
    "torch", reason="SKIPPED: needs torch (tests/requirements-optional.txt)")
gguf = pytest.importorskip("gguf")

from torch_llama import Llama  # noqa: E402

torch.set_num_threads(1)  # the models are small

CONFIG = """
name = "traced"
output = "unused"
[model]
layers = 2
heads = 4
width = 32
context = 24
{model}
[data]
task = "add-plain"
samples = 500
[train]
steps = 40
batch = 4
passes = {passes}
warmup = 5
rate = 3e-3
clip = 0.0
"""

MODELS = {
    "tied, one head each": ('kv_heads = 4\ntied = true', 1),
    "grouped queries, untied": ('kv_heads = 2\ntied = false', 1),
    "no positions": ('kv_heads = 1\npositions = "none"', 1),
    "squared ReLU, two passes": ('kv_heads = 2\nfeed_forward = "relu2"', 2),
    "learned positions, GELU": ('kv_heads = 2\nfeed_forward = "gelu"', 1),
}


@pytest.fixture(params=MODELS)
def traced(request, build_dir, tmp_path):
    """The folder that tests/train/trace wrote for a model."""
    model, passes = MODELS[request.param]
    (tmp_path / "c.toml").write_text(CONFIG.format(model=model, passes=passes))
    subprocess.run([build_dir / "tests/train_trace", tmp_path / "c.toml", tmp_path, "40"],
                   check=True)
    return tmp_path


def batch(folder, step, context=24):
    return [torch.tensor(np.fromfile(folder / f"{kind}-{step}.i32", np.int32).reshape(-1, context),
                         dtype=torch.long) for kind in ("tokens", "targets")]


def tensors(path):
    return {t.name: np.array(t.data, np.float64) for t in gguf.GGUFReader(path).tensors}


def test_gradients_are_autograd_s(traced):
    model = Llama(traced / "start.gguf")
    model.loss(*batch(traced, 1)).backward()
    ours = tensors(traced / "gradients-1.gguf")
    assert set(ours) == set(model.weights)
    for name, weight in model.weights.items():
        theirs = weight.grad.numpy()
        assert np.abs(theirs).max() > 0, name
        error = np.linalg.norm(ours[name] - theirs) / np.linalg.norm(theirs)
        assert error < 1e-5, (name, error)


def test_every_tensor_moves_at_the_first_step(traced):
    before, after = tensors(traced / "start.gguf"), tensors(traced / "weights-1.gguf")
    for name, values in before.items():
        # Characters that the batch lacks move too: their logits do, or weight decay.
        assert (values != after[name]).mean() > 0.5, name


def test_the_loss_curve_is_that_of_torch(traced):
    model = Llama(traced / "start.gguf")
    rows = np.loadtxt(traced / "losses.txt")
    matrices = [w for w in model.weights.values() if w.dim() > 1]
    vectors = [w for w in model.weights.values() if w.dim() == 1]
    optimiser = torch.optim.AdamW([{"params": matrices, "weight_decay": 0.1},
                                   {"params": vectors, "weight_decay": 0.0}], betas=(0.9, 0.99))
    losses = []
    for step, (_, _, rate) in enumerate(rows, 1):
        for group in optimiser.param_groups:
            group["lr"] = rate
        optimiser.zero_grad()
        loss = model.loss(*batch(traced, step))
        loss.backward()
        losses.append(loss.item())
        optimiser.step()
    assert rows[-5:, 0].mean() < rows[:5, 0].mean() - 0.1  # it learns
    # f32 against f64: differences grow with the steps.
    assert np.abs(rows[:5, 0] - losses[:5]).max() < 1e-5
    assert np.abs(rows[:, 0] - losses).max() < 2e-2
