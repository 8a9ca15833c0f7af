"""A model's matrix multiplications put under a plan, by the paths of its modules."""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from napier import _core
from napier.products import PackedWeights, pack
from napier.results import Table
from napier.torch.products import Gradients, array, check_tensor, linear, matmul

_FORWARD = "_napier_forward"  # where a patched module keeps its Patch; no state, no parameter
_PREFIX = "_orig_mod."  # of modules that torch.compile wraps
_F32 = _core.Arithmetic("f32")


def _is_pytorchs(arithmetic: _core.Arithmetic, gradients: Gradients) -> bool:
    """Whether PyTorch's own product of float32 tensors is this arithmetic, there and back: its
    operands, products and sums are f32, and f32 says nothing of the order of a sum. Not where the
    user has allowed PyTorch narrower products (torch.set_float32_matmul_precision)."""
    return (
        all(a in (_F32, None) for a in (gradients.activation, gradients.weight))
        and arithmetic == _F32
        and torch.get_float32_matmul_precision() == "highest"
    )


class Patch:
    """A patched model: leave the `with` block, or call unpatch(model), to have it back.

    Multiplications are known to the plan by names made of the path of the module that does them:

      layers.0.q_proj            a product with a weight of the module: Linear, GPT-2's Conv1D
      layers.0.self_attn.kq      the two products of scaled_dot_product_attention: queries and keys,
      layers.0.self_attn.kqv     soft-max and values
      layers.0.self_attn.matmul-1   any other matmul, bmm, baddbmm, addmm or einsum, numbered from
                                 0 within one call of the module

    The first operand is taken for the activations x, the second (of Linear the weight) for w.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        plan: _core.Plan,
        rule: str,
        activation_gradients: _core.Plan | None,
        weight_gradients: _core.Plan | None,
    ) -> None:
        self.model = model
        self.plan = plan
        self._rule = rule
        self._gradient_plans = (activation_gradients, weight_gradients)
        self._counts: dict[tuple[str, str], list[int]] = {}
        self._decided = [False] * len(plan.rules)
        self._packed: dict[str, tuple[tuple[Any, ...], PackedWeights]] = {}
        self._local = threading.local()
        Gradients(rule, *(p.rules[0][1] if p else None for p in self._gradient_plans))

    # What multiplications ask for.

    def _arithmetic(self, name: str) -> tuple[_core.Arithmetic, Gradients] | None:
        index = self.plan.match(name)
        if index is None:
            return None
        self._decided[index] = True

        def of(plan: _core.Plan | None) -> _core.Arithmetic | None:
            found = None if plan is None else plan.match(name)
            return None if plan is None or found is None else plan.rules[found][1]

        arithmetic = self.plan.rules[index][1]
        return arithmetic, Gradients(self._rule, *map(of, self._gradient_plans))

    def _count(self, name: str, arithmetic: str, multiplications: int) -> None:
        entry = self._counts.setdefault((name, arithmetic), [0, 0])
        entry[0] += 1
        entry[1] += multiplications

    def _packed_weight(
        self, name: str, weight: torch.Tensor, arithmetic: _core.Arithmetic
    ) -> PackedWeights:
        """A weight made ready, kept as long as it is the same numbers: optimisers and users write
        to weights in ways that PyTorch does not count, so they are looked at each time."""
        values = array(weight)
        dense = values if values.flags.c_contiguous else values.T
        key = (weight.shape, weight.stride(), arithmetic,
               _core.fingerprint(dense if dense.flags.c_contiguous else values.copy()))  # fmt: skip
        held = self._packed.get(name)
        if held is None or held[0] != key:
            held = self._packed[name] = (key, pack(values, arithmetic))
        return held[1]

    # Where in the model a call is.

    @contextmanager
    def _inside(self, module: torch.nn.Module, path: str) -> Iterator[None]:
        stack: list[_Place] = self._local.__dict__.setdefault("stack", [])
        stack.append(_Place(module, path))
        try:
            if len(stack) == 1:
                with _Interception(self):
                    yield
            else:
                yield
        finally:
            stack.pop()

    def _place(self) -> _Place:
        place: _Place = self._local.stack[-1]
        return place

    def coverage(self) -> Table:
        """Which multiplications ran in which arithmetic so far, a record a name; `arith` is empty
        where no rule matches and PyTorch computed."""
        return Table(
            [
                {"name": name, "arith": arith, "matmuls": calls, "multiplications": products}
                for (name, arith), (calls, products) in self._counts.items()
            ],
            "multiplications of the patched model",
        )

    def check(self) -> None:
        """Raises Error if a rule of the plan has decided nothing in what ran so far."""
        for (pattern, arithmetic), decided in zip(self.plan.rules, self._decided, strict=True):
            if not decided:
                names = ", ".join(sorted({name for name, _ in self._counts})[:4])
                raise _core.Error(
                    f"the rule {pattern} -> {arithmetic.name} decided nothing: multiplications "
                    f"have names such as {names or '(none has run yet)'}"
                )

    def __enter__(self) -> Patch:
        return self

    def __exit__(self, *exception: object) -> None:
        unpatch(self.model)
        self._packed.clear()

    def __repr__(self) -> str:
        return f"<napier.torch.Patch of {type(self.model).__name__}, plan {self.plan}>"


class _Place:
    """A module in the middle of its forward, and how many products it has done without weights."""

    def __init__(self, module: torch.nn.Module, path: str) -> None:
        self.module = module
        self.path = path
        self.products = 0

    def name(self, suffix: str = "") -> str:
        return f"{self.path}.{suffix}".removeprefix(".") if suffix else self.path

    def owns(self, tensor: Any) -> bool:
        """Whether a tensor is a weight of this very module, perhaps transposed."""
        at = tensor.untyped_storage().data_ptr()
        weights = self.module._parameters.values()
        return any(w is not None and w.untyped_storage().data_ptr() == at for w in weights)

    def next_name(self) -> str:
        self.products += 1
        return self.name(f"matmul-{self.products - 1}")


def _product(patch: Patch, a: torch.Tensor, b: torch.Tensor, name: str | None = None) -> Any:
    """a times b, or None where the plan leaves it to PyTorch."""
    place = patch._place()
    own = place.owns(b)
    if name is None:
        name = place.name() if own else place.next_name()
    found = patch._arithmetic(name)
    rows = a.numel() // max(1, a.shape[-1])
    size = rows * a.shape[-1] * (b.shape[-1] if b.ndim > 1 else 1)
    if b.ndim > 2:
        size = math.prod(torch.broadcast_shapes(a.shape[:-2], b.shape[:-2]))
        size *= (a.shape[-2] if a.ndim > 1 else 1) * a.shape[-1] * b.shape[-1]
    if found is None:
        patch._count(name, "", size)
        return None
    arithmetic, gradients = found
    check_tensor(a, f"{name}'s activations")
    check_tensor(b, f"{name}'s weights")
    patch._count(name, arithmetic.name, size)
    if a.dtype == b.dtype == torch.float32 and _is_pytorchs(arithmetic, gradients):
        return None
    if own and b.ndim == 2:
        weight = b.t()
        packed = patch._packed_weight(name, weight, arithmetic) if weight.numel() else None
        return linear(a, weight, None, arithmetic, gradients, packed)
    return matmul(a, b, arithmetic, gradients)


def _linear(
    patch: Patch, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
) -> Any:
    out = _product(patch, x, weight.t(), patch._place().name())
    return out if out is None or bias is None else out + bias


def _matmul(patch: Patch, input: torch.Tensor, other: torch.Tensor) -> Any:
    return _product(patch, input, other)


def _reversed_matmul(patch: Patch, self: torch.Tensor, other: torch.Tensor) -> Any:
    return _product(patch, other, self)


def _bmm(patch: Patch, input: torch.Tensor, mat2: torch.Tensor) -> Any:
    return _product(patch, input, mat2)


def _addmm(
    patch: Patch, input: torch.Tensor, mat1: torch.Tensor, mat2: torch.Tensor, *,
    beta: float = 1, alpha: float = 1,
) -> Any:  # fmt: skip
    out = _product(patch, mat1, mat2)
    if out is None:
        return None
    out = out if alpha == 1 else alpha * out
    # PyTorch ignores `input` where beta is 0, whatever it holds.
    return out if beta == 0 else out + (input if beta == 1 else beta * input)


def _baddbmm(
    patch: Patch, input: torch.Tensor, batch1: torch.Tensor, batch2: torch.Tensor, *,
    beta: float = 1, alpha: float = 1,
) -> Any:  # fmt: skip
    return _addmm(patch, input, batch1, batch2, beta=beta, alpha=alpha)


def _einsum(patch: Patch, equation: str, *operands: Any) -> Any:
    tensors = list(operands[0]) if len(operands) == 1 and not isinstance(
        operands[0], torch.Tensor) else list(operands)  # fmt: skip
    if not isinstance(equation, str):
        raise TypeError("torch.einsum's form with sublists is not known here: give an equation")
    if len(tensors) != 2:
        if len(tensors) < 2:
            return None
        raise NotImplementedError(
            f"einsum '{equation}' has {len(tensors)} operands: write it as products of two"
        )
    if "." in equation:
        raise NotImplementedError(f"einsum '{equation}': write the dimensions of ... out")
    inputs, _, output = equation.replace(" ", "").partition("->")
    left, right = inputs.split(",")
    if "->" not in equation:
        output = "".join(sorted(c for c in set(left + right) if (left + right).count(c) == 1))
    if any(len(set(word)) != len(word) for word in (left, right, output)):
        raise NotImplementedError(f"einsum '{equation}' repeats an index within one operand")
    a, b = tensors
    # What only one operand has, and the result has not, is summed before there is a product.
    for word, tensor, other in ((left, a, right), (right, b, left)):
        lone = [i for i, c in enumerate(word) if c not in other and c not in output]
        if lone:
            kept = "".join(c for c in word if c in other or c in output)
            if tensor is a:
                a, left = tensor.sum(lone), kept
            else:
                b, right = tensor.sum(lone), kept
    batch = [c for c in left if c in right and c in output]
    summed = [c for c in left if c in right and c not in output]
    rows = [c for c in left if c not in right]
    columns = [c for c in right if c not in left]
    size = dict(zip(left, a.shape, strict=True)) | dict(zip(right, b.shape, strict=True))

    def arranged(tensor: torch.Tensor, word: str, *groups: list[str]) -> torch.Tensor:
        order = [word.index(c) for group in groups for c in group]
        return tensor.permute(order).reshape(
            [size[c] for c in batch]
            + [math.prod(size[c] for c in group) for group in groups[1:]]
        )

    out = _product(
        patch,
        arranged(a, left, batch, rows, summed),
        arranged(b, right, batch, summed, columns),
    )
    if out is None:
        return None
    have = batch + rows + columns
    return out.reshape([size[c] for c in have]).permute([have.index(c) for c in output])


def _attention(
    patch: Patch,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    """torch.nn.functional.scaled_dot_product_attention as its documentation defines it."""
    place = patch._place()
    names = place.name("kq"), place.name("kqv")
    found = [patch._arithmetic(name) for name in names]
    if all(f is None or (query.dtype == torch.float32 and _is_pytorchs(*f)) for f in found):
        for name, f in zip(names, found, strict=True):
            patch._count(name, f[0].name if f else "", query.numel() * key.shape[-2])
        return None
    length, width = query.shape[-2], key.shape[-2]
    if enable_gqa:
        heads = query.shape[-3]
        key = key.repeat_interleave(heads // key.shape[-3], -3)
        value = value.repeat_interleave(heads // value.shape[-3], -3)
    scores = _or_torch(patch, query, key.transpose(-1, -2), names[0])
    scores = scores * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
    if is_causal:
        allowed = torch.ones(length, width, dtype=torch.bool).tril()
        scores = scores.masked_fill(allowed.logical_not(), -math.inf)
    if attn_mask is not None:
        if attn_mask.dtype == torch.bool:
            scores = scores.masked_fill(attn_mask.logical_not(), -math.inf)
        else:
            scores = scores + attn_mask
    weights = torch.softmax(scores, -1)
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        # A row that may look at nothing is zero, as in PyTorch.
        weights = weights.masked_fill((scores == -math.inf).all(-1, keepdim=True), 0.0)
    weights = torch.dropout(weights, dropout_p, dropout_p > 0)
    return _or_torch(patch, weights, value, names[1])


def _or_torch(patch: Patch, a: torch.Tensor, b: torch.Tensor, name: str) -> torch.Tensor:
    out = _product(patch, a, b, name)
    result: torch.Tensor = torch.matmul(a, b) if out is None else out
    return result


# One line each: what multiplies matrices in PyTorch, and what does it here.
_FUNCTIONS: dict[Any, Callable[..., Any]] = {
    torch.nn.functional.linear: _linear,
    torch.matmul: _matmul,
    torch.Tensor.matmul: _matmul,
    torch.Tensor.__matmul__: _matmul,
    torch.Tensor.__rmatmul__: _reversed_matmul,
    torch.mm: _bmm,
    torch.Tensor.mm: _bmm,
    torch.mv: _bmm,
    torch.Tensor.mv: _bmm,
    torch.bmm: _bmm,
    torch.Tensor.bmm: _bmm,
    torch.addmm: _addmm,
    torch.Tensor.addmm: _addmm,
    torch.baddbmm: _baddbmm,
    torch.Tensor.baddbmm: _baddbmm,
    torch.einsum: _einsum,
    torch.nn.functional.scaled_dot_product_attention: _attention,
}

# They multiply matrices out of sight: a plan that names their module must not pass them by.
_OPAQUE = {
    torch.nn.functional.multi_head_attention_forward,
    torch.nn.functional.bilinear,
    torch.nn.functional.conv1d,
    torch.nn.functional.conv2d,
    torch.nn.functional.conv3d,
    torch.lstm,
    torch.gru,
}


class _Interception(TorchFunctionMode):  # type: ignore[misc]
    """Sees every function of PyTorch that is called within a patched model's forward."""

    def __init__(self, patch: Patch) -> None:
        super().__init__()
        self._patch = patch

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        ours = _FUNCTIONS.get(func)
        if ours is not None and "out" not in kwargs:
            result = ours(self._patch, *args, **kwargs)
            if result is not None:
                return result
        elif func in _OPAQUE and self._patch.plan.match(self._patch._place().path) is not None:
            raise NotImplementedError(
                f"{self._patch._place().path}: {func.__name__} multiplies matrices where the plan "
                "does not reach; leave this module out of the plan"
            )
        return func(*args, **kwargs)


def patch(
    model: torch.nn.Module,
    plan: str | _core.Plan | _core.Arithmetic,
    gradient: str = "exact",
    *,
    activation_gradients: str | _core.Plan | None = None,
    weight_gradients: str | _core.Plan | None = None,
) -> Patch:
    """Puts the matrix multiplications of a model's forward under a plan, in place.

    For a while, `with patch(model, plan): ...`, or until unpatch(model). Parameters, buffers and
    state_dict are not touched. What no rule matches is left to PyTorch, bit by bit. `gradient` is
    "exact" or "own" (see Gradients); the plans of gradients match the forward names. A compiled
    model runs, uncompiled from the outermost patched module on.

    Raises Error for a plan that cannot be read or an arithmetic without a derivative of its own,
    ValueError for a model that is patched already. What goes wrong with a multiplication (device,
    dtype, a block that does not divide its length) is raised by the model's call.
    """

    def read(text: str | _core.Plan | _core.Arithmetic | None) -> _core.Plan | None:
        return text if text is None or isinstance(text, _core.Plan) else _core.Plan(str(text))

    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"model is a {type(model).__name__}: give a torch.nn.Module")
    target = getattr(model, "_orig_mod", model)
    if any(_FORWARD in module.__dict__ for module in target.modules()):
        raise ValueError("the model, or a part of it, is patched already: unpatch it first")
    read_plan = read(plan)
    assert read_plan is not None
    made = Patch(target, read_plan, gradient, read(activation_gradients), read(weight_gradients))
    for (pattern, arithmetic), treatment in zip(read_plan.rules, read_plan.treatments, strict=True):
        if treatment:
            raise _core.Error(
                f"the rule {pattern} -> {arithmetic.name}{treatment}: treatments run in GGUF "
                "models (napier.Model); give PyTorch an arithmetic alone"
            )
        Gradients(gradient).check(arithmetic)
    for path, module in target.named_modules():
        _replace_forward(made, module, path.replace(_PREFIX, ""))
    torch._dynamo.reset()  # what was compiled before is stale
    return made


def _replace_forward(made: Patch, module: torch.nn.Module, path: str) -> None:
    original = module.forward

    @torch._dynamo.disable  # type: ignore[untyped-decorator]
    @functools.wraps(original)
    def forward(*args: Any, **kwargs: Any) -> Any:
        with made._inside(module, path):
            return original(*args, **kwargs)

    # Not by setattr, which is the module's own; `original` may itself be an instance's attribute.
    module.__dict__[_FORWARD] = module.__dict__.get("forward")
    module.__dict__["forward"] = forward


def unpatch(model: torch.nn.Module) -> None:
    """Gives a patched model its own multiplications back; another one stays as it is."""
    target = getattr(model, "_orig_mod", model)
    for module in target.modules():
        if _FORWARD not in module.__dict__:
            continue
        before = module.__dict__.pop(_FORWARD)
        if before is None:
            del module.__dict__["forward"]
        else:
            module.__dict__["forward"] = before
    torch._dynamo.reset()
