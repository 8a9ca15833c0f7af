"""Products of tensors under an arithmetic, with gradients."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import napier
from napier import _core
from napier.products import ArithmeticLike, as_arithmetic

_DTYPES = (torch.float32, torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class Gradients:
    """What a product's derivative is taken to be on the way back. Rounding into formats counts as
    the identity in all of them ("straight through"), as in quantisation-aware training.

    rule="exact": the exact product's: dx = g w, dw = g x, of the operands as they came. These are
    multiplications too: in f32 by PyTorch, or, where they are given, in the arithmetics
    `activation` (of dx) and `weight` (of dw), with the incoming gradient g as the operand x.
    rule="own": the arithmetic's, of the rounded operands, piecewise as "Multiplication-Free
    Transformer Training via Piecewise Affine Operations" (arXiv 2305.17190) has it: with
    y = +-2^e (1 + m) the other operand, +-2^e for L-Mul's formula, +-2^e times 1, 2 or 4, as the
    mantissas' sum carries, where patterns are added, y for exact products. In f32.
    """

    rule: str = "exact"
    activation: _core.Arithmetic | None = None
    weight: _core.Arithmetic | None = None

    def __post_init__(self) -> None:
        if self.rule not in ("exact", "own"):
            raise ValueError(f"the gradient is '{self.rule}': give 'exact' or 'own'")
        if self.rule == "own" and (self.activation or self.weight):
            raise ValueError("the gradient 'own' is computed in f32: give no arithmetics for it")

    def check(self, arithmetic: _core.Arithmetic) -> None:
        """Raises Error where the arithmetic has no such derivative."""
        if self.rule == "own" and not _core.has_own_derivative(arithmetic):
            raise _core.Error(
                f"{arithmetic.name} has no derivative of its own: its multiplier is neither "
                "exact, L-Mul nor Mitchell's; take gradient='exact'"
            )


def as_gradients(gradient: str | Gradients) -> Gradients:
    return gradient if isinstance(gradient, Gradients) else Gradients(gradient)


def check_tensor(tensor: Any, name: str) -> None:
    """Raises TypeError or BufferError for what Napier does not compute with."""
    if not isinstance(tensor, torch.Tensor):
        raise TypeError(f"{name} is a {type(tensor).__name__}: give a torch.Tensor")
    if tensor.device.type != "cpu":
        raise BufferError(
            f"{name} lies on {tensor.device}, and Napier computes on the CPU: move tensors and "
            "models there first, as by .cpu()"
        )
    if tensor.dtype not in _DTYPES:
        raise TypeError(
            f"{name} has dtype {tensor.dtype}: give float32, bfloat16 or float16, which float32 "
            "holds"
        )
    if tensor.layout != torch.strided:
        raise TypeError(f"{name} has the layout {tensor.layout}: give a dense tensor")


def array(tensor: torch.Tensor) -> NDArray[np.float32]:
    """A float32 view of a tensor's numbers, or a copy where they are narrower."""
    values: NDArray[np.float32] = tensor.detach().to(torch.float32).resolve_neg().numpy()
    return values


def _swapped(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.transpose(-1, -2)


def _own(
    arithmetic: _core.Arithmetic, of_w: bool, at: torch.Tensor, other: torch.Tensor,
    gradient: torch.Tensor,
) -> torch.Tensor:  # fmt: skip
    """at (..., m, n), other (..., k, n), gradient (..., m, k), all of one batch: (..., m, n)."""
    out = torch.empty(at.shape, dtype=torch.float32)
    batch = tuple(at.shape[:-2])
    left, right, back = array(at), array(other), array(gradient)
    target = out.numpy()
    for i in np.ndindex(batch):
        _core.own_derivative(arithmetic, of_w, left[i], right[i], back[i], target[i])
    return out


class _Product(torch.autograd.Function):  # type: ignore[misc]
    """a (..., m, k) times b (..., k, n), batches broadcast."""

    @staticmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any,
        a: torch.Tensor,
        b: torch.Tensor,
        arithmetic: _core.Arithmetic,
        gradients: Gradients,
        packed: napier.PackedWeights | None,
    ) -> torch.Tensor:
        ctx.save_for_backward(a, b)
        ctx.arithmetic, ctx.gradients = arithmetic, gradients
        out = packed(array(a)) if packed else napier.matmul(array(a), array(b), arithmetic)
        return torch.from_numpy(out).to(a.dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, g: torch.Tensor
    ) -> tuple[torch.Tensor | None, ...]:
        a, b = ctx.saved_tensors
        gradients: Gradients = ctx.gradients
        d_a = d_b = None
        if gradients.rule == "own":
            batch = g.shape[:-2]
            x = a.expand(*batch, *a.shape[-2:])
            w = _swapped(b).expand(*batch, b.shape[-1], b.shape[-2])
            if ctx.needs_input_grad[0]:
                d_a = _own(ctx.arithmetic, False, x, w, g)
            if ctx.needs_input_grad[1]:
                d_b = _swapped(_own(ctx.arithmetic, True, w, x, _swapped(g)))
        else:
            if ctx.needs_input_grad[0]:
                d_a = _multiplied(g, _swapped(b), gradients.activation)
            if ctx.needs_input_grad[1]:
                # As `napier train` has it: the incoming gradient is x, the activations are w.
                d_b = _swapped(_multiplied(_swapped(g), a, gradients.weight))
        if d_a is not None:
            d_a = d_a.sum_to_size(a.shape).to(a.dtype)
        if d_b is not None:
            d_b = d_b.sum_to_size(b.shape).to(b.dtype)
        return d_a, d_b, None, None, None


def _multiplied(
    a: torch.Tensor, b: torch.Tensor, arithmetic: _core.Arithmetic | None
) -> torch.Tensor:
    if arithmetic is None:
        return torch.matmul(a.to(torch.float32), b.to(torch.float32))
    return torch.from_numpy(napier.matmul(array(a), array(b), arithmetic))


def _checked(
    arith: ArithmeticLike, gradient: str | Gradients, **operands: torch.Tensor
) -> tuple[_core.Arithmetic, Gradients]:
    """What a product is computed under. Raises for operands that it does not take, by name."""
    arithmetic, gradients = as_arithmetic(arith), as_gradients(gradient)
    gradients.check(arithmetic)
    for name, tensor in operands.items():
        check_tensor(tensor, name)
    (left, a), (right, b) = operands.items()
    if a.dtype != b.dtype:
        raise TypeError(f"{left} has dtype {a.dtype} and {right} {b.dtype}: give one for both")
    return arithmetic, gradients


def matmul(
    a: torch.Tensor, b: torch.Tensor, arith: ArithmeticLike, gradient: str | Gradients = "exact"
) -> torch.Tensor:
    """torch.matmul(a, b) under an arithmetic; `a` are the activations, `b` the weights.

    float32, bfloat16 or float16 on the CPU; computed from these numbers, whose type the result is
    rounded to. A scale per tensor is taken over each matrix of a batch. Raises TypeError,
    BufferError (device), ValueError (shapes), Error.
    """
    arithmetic, gradients = _checked(arith, gradient, a=a, b=b)
    if a.ndim == 0 or b.ndim == 0:
        raise ValueError("a and b need at least one dimension")
    left = a.unsqueeze(0) if a.ndim == 1 else a
    right = b.unsqueeze(-1) if b.ndim == 1 else b
    if left.shape[-1] != right.shape[-2]:
        raise ValueError(
            f"a of shape {tuple(a.shape)} has {left.shape[-1]} columns and b of shape "
            f"{tuple(b.shape)} {right.shape[-2]} rows: these must be equal"
        )
    out: torch.Tensor = _Product.apply(left, right, arithmetic, gradients, None)
    if a.ndim == 1:
        out = out.squeeze(-2)
    return out.squeeze(-1) if b.ndim == 1 else out


def linear(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    arith: ArithmeticLike = "f32",
    gradient: str | Gradients = "exact",
    packed: napier.PackedWeights | None = None,
) -> torch.Tensor:
    """torch.nn.functional.linear under an arithmetic: x (..., k), weight (n, k): (..., n). All rows
    of x are one matrix; the bias is added by PyTorch. `packed` is the weight made ready, if it is
    at hand."""
    arithmetic, gradients = _checked(arith, gradient, x=x, weight=weight)
    if weight.ndim != 2 or x.ndim == 0 or x.shape[-1] != weight.shape[1]:
        raise ValueError(
            f"x of shape {tuple(x.shape)} and weight of shape {tuple(weight.shape)} do not match: "
            "give (..., k) and (n, k)"
        )
    if packed is not None and (
        packed.arithmetic != arithmetic or packed.shape != tuple(weight.shape)
    ):
        raise ValueError(
            f"packed holds weights of shape {packed.shape} under {packed.arithmetic.name}: give "
            f"{tuple(weight.shape)} under {arithmetic.name}"
        )
    rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
    out: torch.Tensor = _Product.apply(rows, weight.t(), arithmetic, gradients, packed)
    out = out.reshape(*x.shape[:-1], weight.shape[0])
    return out if bias is None else out + bias
