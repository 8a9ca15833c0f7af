"""A model's matrix multiplications put under a plan, by the paths of its modules."""

from __future__ import annotations

import copy
import functools
import inspect
import math
import re
import threading
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from typing import Any, cast

import torch
import torch.utils.checkpoint
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from napier import _core
from napier.products import PackedWeights, pack
from napier.results import Table
from napier.torch.products import Gradients, array, check_tensor, linear, matmul

_FORWARD = "_napier_forward"  # where a patched module keeps its own forward, if it had one
_PREFIX = "_orig_mod."  # of modules that torch.compile wraps
_F32 = _core.Arithmetic("f32")


def _is_pytorchs(arithmetic: _core.Arithmetic, gradients: Gradients) -> bool:
    """Whether PyTorch's own product of float32 tensors is this arithmetic, there and back: its
    operands, products and sums are f32, and f32 says nothing of the order of a sum. Not where the
    user has allowed PyTorch narrower products (torch.set_float32_matmul_precision)."""
    if arithmetic != _F32 or any(
        a not in (_F32, None) for a in (gradients.activation, gradients.weight)
    ):
        return False
    try:
        return bool(torch.get_float32_matmul_precision() == "highest")
    except RuntimeError:  # the newer torch.backends.*.fp32_precision is in use
        return False


class Patch:
    """A patched model: leave the `with` block, or call unpatch(model), to have it back.

    Multiplications are known to the plan by names made of the path of the module that does them:

      layers.0.q_proj            a product with a weight of the module: Linear, GPT-2's Conv1D
      layers.0.self_attn.kq      the two products of scaled_dot_product_attention: queries and keys,
      layers.0.self_attn.kqv     soft-max and values
      layers.0.self_attn.matmul-1   any other matmul, bmm, baddbmm, addmm, einsum and their like,
                                 numbered from 0 within one call of the module

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
        plans = (plan, *filter(None, self._gradient_plans))
        self._decided = {id(p): [False] * len(p.rules) for p in plans}
        self._packed: dict[str, tuple[tuple[Any, ...], PackedWeights]] = {}
        self._local = threading.local()
        Gradients(rule, *(p.rules[0][1] if p else None for p in self._gradient_plans))

    # What multiplications ask for.

    def _arithmetic(self, name: str) -> tuple[_core.Arithmetic, Gradients] | None:
        index = self.plan.match(name)
        if index is None:
            return None
        self._decided[id(self.plan)][index] = True

        def of(plan: _core.Plan | None) -> _core.Arithmetic | None:
            found = None if plan is None else plan.match(name)
            if plan is None or found is None:
                return None
            self._decided[id(plan)][found] = True
            return plan.rules[found][1]

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
    def _inside(self, *places: _Place) -> Generator[None, None, None]:
        stack: list[_Place] = self._local.__dict__.setdefault("stack", [])
        outermost = not stack
        before = len(stack)
        stack.extend(places)
        try:
            with ExitStack() as modes:
                if outermost or _active() is not self:
                    _threads.patches.append(self)
                    modes.callback(_threads.patches.pop)
                    modes.enter_context(_Watch(self))
                    modes.enter_context(_Interception(self))
                yield
        finally:
            del stack[before:]

    def _place(self) -> _Place:
        place: _Place = self._local.stack[-1]
        return place

    def _names_a_product_of(self, place: _Place) -> bool:
        """Whether the plan has a rule for any multiplication that the place may do now."""
        suffixes = ("", "kq", "kqv", f"matmul-{place.products}")
        return any(self.plan.match(place.name(suffix)) is not None for suffix in suffixes)

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
        for plan in (self.plan, *filter(None, self._gradient_plans)):
            for (pattern, arithmetic), decided in zip(
                plan.rules, self._decided[id(plan)], strict=True
            ):
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
        self.refused = ""  # why it could not go on

    def name(self, suffix: str = "") -> str:
        return f"{self.path}.{suffix}".removeprefix(".") if suffix else self.path

    def owns(self, tensor: Any) -> bool:
        """Whether a tensor is a weight of this very module, perhaps transposed."""
        try:
            at = tensor.untyped_storage().data_ptr()
            weights = self.module._parameters.values()
            return any(w is not None and w.untyped_storage().data_ptr() == at for w in weights)
        except (NotImplementedError, RuntimeError):  # sparse, or of a transformation's own
            return False

    def next_name(self) -> str:
        self.products += 1
        return self.name(f"matmul-{self.products - 1}")


def _autocast() -> torch.dtype | None:
    """What PyTorch would convert a product's operands to here (torch.autocast), if to anything."""
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else None


def _size(a: torch.Tensor, b: torch.Tensor) -> int:
    """Multiplications of numbers in a (..., m, k) times b (..., k, n)."""
    if a.ndim == 0 or b.ndim == 0:
        return 0  # PyTorch refuses
    if b.ndim <= 2:
        return int(a.numel() * (b.shape[-1] if b.ndim > 1 else 1))
    batch = math.prod(torch.broadcast_shapes(a.shape[:-2], b.shape[:-2]))
    return int(batch * (a.shape[-2] if a.ndim > 1 else 1) * a.shape[-1] * b.shape[-1])


def _product(patch: Patch, a: torch.Tensor, b: torch.Tensor, name: str | None = None) -> Any:
    """a times b, or None where the plan leaves it to PyTorch."""
    place = patch._place()
    own = place.owns(b)
    if name is None:
        name = place.name() if own else place.next_name()
    found = patch._arithmetic(name)
    if found is None:
        strided = all(t.layout == torch.strided and not t.is_nested for t in (a, b))
        patch._count(name, "", _size(a, b) if strided else 0)
        return None
    arithmetic, gradients = found
    check_tensor(a, f"{name}'s activations")
    check_tensor(b, f"{name}'s weights")
    patch._count(name, arithmetic.name, _size(a, b))
    narrow = _autocast()
    if narrow is not None:
        a, b = a.to(narrow), b.to(narrow)
    if a.dtype == b.dtype == torch.float32 and _is_pytorchs(arithmetic, gradients):
        return None
    if own and b.ndim == 2:
        weight = b.t()
        packed = patch._packed_weight(name, weight, arithmetic) if weight.numel() else None
        return linear(a, weight, None, arithmetic, gradients, packed)
    return matmul(a, b, arithmetic, gradients)


def _linear(
    patch: Patch, input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
) -> Any:
    out = _product(patch, input, weight.t(), patch._place().name())
    return out if out is None or bias is None else out + bias.to(out.dtype)


def _two(patch: Patch, a: torch.Tensor, b: torch.Tensor) -> Any:
    """matmul and its like, whatever PyTorch calls their operands."""
    return _product(patch, a, b)


def _reversed_matmul(patch: Patch, b: torch.Tensor, a: torch.Tensor) -> Any:
    return _product(patch, a, b)


def _added(
    patch: Patch, input: torch.Tensor, a: torch.Tensor, b: torch.Tensor, *,
    beta: float = 1, alpha: float = 1,
) -> Any:  # fmt: skip
    """addmm, addmv, baddbmm."""
    out = _product(patch, a, b)
    if out is None:
        return None
    out = out if alpha == 1 else alpha * out
    # PyTorch ignores `input` where beta is 0, whatever it holds.
    return out if beta == 0 else out + (input if beta == 1 else beta * input)


def _addbmm(
    patch: Patch, input: torch.Tensor, a: torch.Tensor, b: torch.Tensor, *,
    beta: float = 1, alpha: float = 1,
) -> Any:  # fmt: skip
    """The products of a batch, summed: one product over all of k."""
    if a.ndim != 3 or b.ndim != 3:
        return None  # PyTorch refuses
    return _added(
        patch, input, a.transpose(0, 1).flatten(1), b.flatten(0, 1), beta=beta, alpha=alpha
    )


def _tensordot(patch: Patch, a: torch.Tensor, b: torch.Tensor, dims: Any = 2) -> Any:
    if isinstance(dims, torch.Tensor):
        dims = dims.tolist()
    if isinstance(dims, int):
        dims = (list(range(a.ndim - dims, a.ndim)), list(range(dims)))
    of_a, of_b = ([d % t.ndim for d in ds] for ds, t in zip(dims, (a, b), strict=True))
    if any(a.shape[i] != b.shape[j] for i, j in zip(of_a, of_b, strict=True)):
        return None  # broadcast or refused by PyTorch
    rows = [d for d in range(a.ndim) if d not in of_a]
    columns = [d for d in range(b.ndim) if d not in of_b]
    k = math.prod(a.shape[d] for d in of_a)
    shape = [a.shape[d] for d in rows] + [b.shape[d] for d in columns]
    out = _product(
        patch,
        a.permute(*rows, *of_a).reshape(math.prod(a.shape[d] for d in rows), k),
        b.permute(*of_b, *columns).reshape(k, math.prod(b.shape[d] for d in columns)),
    )
    return None if out is None else out.reshape(shape)


def _inner(patch: Patch, a: torch.Tensor, b: torch.Tensor) -> Any:
    if a.ndim == 0 or b.ndim == 0:
        return None  # no sum
    return _tensordot(patch, a, b, ([-1], [-1]))


def _einsum(patch: Patch, equation: str, *operands: Any) -> Any:
    tensors = list(operands[0]) if len(operands) == 1 and not isinstance(
        operands[0], torch.Tensor) else list(operands)  # fmt: skip
    place = patch._place()
    own = len(tensors) == 2 and place.owns(tensors[1])
    if patch.plan.match(place.name() if own else place.name(f"matmul-{place.products}")) is None:
        # Whatever its form, it is PyTorch's.
        patch._count(place.name() if own else place.next_name(), "", 0)
        return None
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
    words = [left, right]
    if any(len(word) != tensor.ndim for word, tensor in zip(words, tensors, strict=True)):
        return None  # PyTorch refuses
    size: dict[str, int] = {}
    for word, tensor in zip(words, tensors, strict=True):
        for c, length in zip(word, tensor.shape, strict=True):
            size[c] = max(length, size.get(c, 0))
    for n in (0, 1):
        lengths = dict(zip(words[n], tensors[n].shape, strict=True))
        if any(length not in (1, size[c]) for c, length in lengths.items()):
            return None  # PyTorch refuses
        # A dimension of 1 beside a longer one is repeated: without it the product is the same.
        ones = tuple(i for i, c in enumerate(words[n]) if lengths[c] != size[c])
        if ones:
            tensors[n] = tensors[n].squeeze(ones)
            words[n] = "".join(c for i, c in enumerate(words[n]) if i not in ones)
    for n, other in ((0, 1), (1, 0)):
        # What only one operand has, and the result has not, is summed before there is a product.
        lone = [i for i, c in enumerate(words[n]) if c not in words[other] and c not in output]
        if lone:
            tensors[n] = tensors[n].sum(lone)
            words[n] = "".join(c for i, c in enumerate(words[n]) if i not in lone)
    (left, right), (a, b) = words, tensors
    batch = [c for c in left if c in right and c in output]
    summed = [c for c in left if c in right and c not in output]
    rows = [c for c in left if c not in right]
    columns = [c for c in right if c not in left]

    def arranged(tensor: torch.Tensor, word: str, *groups: list[str]) -> torch.Tensor:
        order = [word.index(c) for group in groups for c in group]
        return tensor.permute(order).reshape(
            [size[c] for c in batch] + [math.prod(size[c] for c in group) for group in groups[1:]]
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
    narrow = _autocast() or query.dtype
    if all(f is None or (narrow == torch.float32 and _is_pytorchs(*f)) for f in found):
        for name, f in zip(names, found, strict=True):
            size = 0 if query.is_nested else query.numel() * key.shape[-2]
            patch._count(name, f[0].name if f else "", size)
        return None
    for tensor, role in ((query, "queries"), (key, "keys"), (value, "values")):
        check_tensor(tensor, f"{place.name()}'s {role}")
        if tensor.dtype != query.dtype and _autocast() is None:
            raise TypeError(
                f"{place.name()}'s {role} have dtype {tensor.dtype} and the queries "
                f"{query.dtype}: give one for all"
            )
    # Scores stay in float32 until they are weights, as in PyTorch's own for narrow tensors.
    query, key, value = (t.to(narrow).to(torch.float32) for t in (query, key, value))
    length, width = query.shape[-2], key.shape[-2]
    if enable_gqa:
        heads = query.shape[-3]
        key = key.repeat_interleave(heads // key.shape[-3], -3)
        value = value.repeat_interleave(heads // value.shape[-3], -3)
    with torch.autocast("cpu", enabled=False):
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
        if attn_mask is not None:
            # A row that may look at nothing is zero, as in PyTorch.
            weights = weights.masked_fill((scores == -math.inf).all(-1, keepdim=True), 0.0)
        weights = torch.dropout(weights, dropout_p, dropout_p > 0)
        return _or_torch(patch, weights, value, names[1]).to(narrow)


def _or_torch(patch: Patch, a: torch.Tensor, b: torch.Tensor, name: str) -> torch.Tensor:
    out = _product(patch, a, b, name)
    result: torch.Tensor = torch.matmul(a, b) if out is None else out
    return result


# One line each: what multiplies matrices in PyTorch, and what does it here.
_FUNCTIONS: dict[Any, Callable[..., Any]] = {
    torch.nn.functional.linear: _linear,
    torch.matmul: _two,
    torch.linalg.matmul: _two,
    torch.Tensor.matmul: _two,
    torch.Tensor.__matmul__: _two,
    torch.Tensor.__rmatmul__: _reversed_matmul,
    torch.mm: _two,
    torch.Tensor.mm: _two,
    torch.mv: _two,
    torch.Tensor.mv: _two,
    torch.dot: _two,
    torch.Tensor.dot: _two,
    torch.bmm: _two,
    torch.Tensor.bmm: _two,
    torch.addmm: _added,
    torch.Tensor.addmm: _added,
    torch.addmv: _added,
    torch.Tensor.addmv: _added,
    torch.baddbmm: _added,
    torch.Tensor.baddbmm: _added,
    torch.addbmm: _addbmm,
    torch.Tensor.addbmm: _addbmm,
    torch.inner: _inner,
    torch.Tensor.inner: _inner,
    torch.tensordot: _tensordot,
    torch.einsum: _einsum,
    torch.nn.functional.scaled_dot_product_attention: _attention,
}

# What PyTorch calls the operands of these, where they are given by name.
_OPERANDS = {
    "other": "b", "mat2": "b", "tensor": "b", "vec2": "b", "mat1": "a", "batch1": "a",
    "batch2": "b", "vec": "b", "mat": "a",
}  # fmt: skip


def _arguments(ours: Callable[..., Any], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Keywords as ours has them. `input` is the first operand of what adds nothing."""
    if not kwargs:
        return {}
    names = inspect.signature(ours).parameters
    renamed = {}
    for name, value in kwargs.items():
        if name not in names:
            name = "a" if name in ("input", "self") else _OPERANDS.get(name, name)
        renamed[name] = value
    return renamed


# Operations of PyTorch's core that sum products, whatever called them.
_SUMS_PRODUCTS = re.compile(
    r"(^|::|_)(mm|addmm|bmm|baddbmm|addbmm|mv|addmv|dot|vdot|matmul|linear|trilinear|bilinear"
    r"|conv|conv\dd|conv_transpose\dd|conv_tbc|convolution|rnn|rnn_tanh|rnn_relu|lstm|gru|cdist"
    r"|euclidean_dist|scaled_dot_product\w*|flash_attention|efficient_attention"
    r"|multi_head_attention|transformer_encoder\w*)(_|$)"
)


class _Watch(TorchDispatchMode):  # type: ignore[misc]
    """Sees every operation that PyTorch computes within a patched model's forward: none that the
    plan names may be PyTorch's without a word, however it was called."""

    def __init__(self, patch: Patch) -> None:
        super().__init__()
        self._patch = patch

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if _active() is self._patch and not _threads.left_to_pytorch:
            place = self._patch._place()
            if _is_sum_of_products(func) and self._patch._names_a_product_of(place):
                place.refused = (
                    f"{place.name() or 'the model'}: {func} multiplies matrices where the plan "
                    "does not reach; leave this module out of the plan"
                )
                raise NotImplementedError(place.refused)
        return func(*args, **(kwargs or {}))


@functools.cache
def _is_sum_of_products(operation: Any) -> bool:
    return _SUMS_PRODUCTS.search(operation._schema.name.partition("::")[2]) is not None


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
        # A model that is patched by itself keeps its own plan within another.
        ours = _FUNCTIONS.get(func) if _active() is self._patch else None
        if ours is None or kwargs.get("out") is not None:
            return func(*args, **kwargs)
        given = {name: value for name, value in kwargs.items() if name != "out"}
        try:
            result = ours(self._patch, *args, **_arguments(ours, given))
        except TypeError as error:
            if func not in (torch.Tensor.__matmul__, torch.Tensor.__rmatmul__):
                raise
            raise _core.Error(str(error)) from error  # Python would drop a TypeError of `@`
        if result is not None:
            return result
        with _left_to_pytorch():
            return func(*args, **kwargs)


class _Threads(threading.local):
    """What is at work on this thread."""

    def __init__(self) -> None:
        self.patches: list[Patch] = []  # the innermost last
        self.left_to_pytorch = False  # a product that the plan does not name


_threads = _Threads()


def _active() -> Patch | None:
    return _threads.patches[-1] if _threads.patches else None


@contextmanager
def _left_to_pytorch() -> Generator[None, None, None]:
    before = _threads.left_to_pytorch
    _threads.left_to_pytorch = True
    try:
        yield
    finally:
        _threads.left_to_pytorch = before


def _keeping_its_place(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that is computed again on the way back (torch.utils.checkpoint) does so where it
    was in the model, under its patch, although the forward is over by then."""
    patch = _active()
    if patch is None:
        return function
    here = patch._place()
    kept = [copy.copy(place) for place in patch._local.stack]

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        if _active() is patch and patch._place() is here:
            return function(*args, **kwargs)
        with patch._inside(*(copy.copy(place) for place in kept)):
            return function(*args, **kwargs)

    return run


def _keep_places_in_checkpoints() -> None:
    module: Any = torch.utils.checkpoint
    reentrant: Any = getattr(module, "CheckpointFunction", None)
    other: Any = getattr(module, "_checkpoint_without_reentrant_generator", None)
    if reentrant is None or other is None:
        return

    class Reentrant(reentrant):  # type: ignore[misc]
        @staticmethod
        def forward(ctx: Any, function: Any, *args: Any) -> Any:
            return reentrant.forward(ctx, _keeping_its_place(function), *args)

    @functools.wraps(other)
    def without_reentrant(function: Any, *args: Any, **kwargs: Any) -> Any:
        return other(_keeping_its_place(function), *args, **kwargs)

    module.CheckpointFunction = Reentrant
    module._checkpoint_without_reentrant_generator = without_reentrant


_keep_places_in_checkpoints()


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

    def read(name: str, text: str | _core.Plan | _core.Arithmetic) -> _core.Plan:
        if not isinstance(text, str | _core.Plan | _core.Arithmetic):
            raise TypeError(
                f"{name} is a {type(text).__name__}: give a plan, an arithmetic or its written "
                "form, as 'lmul-m4'"
            )
        read = text if isinstance(text, _core.Plan) else _core.Plan(str(text))
        for (pattern, arithmetic), treatment in zip(read.rules, read.treatments, strict=True):
            if treatment:
                raise _core.Error(
                    f"the rule {pattern} -> {arithmetic.name}{treatment}: treatments run in GGUF "
                    "models (napier.Model); give PyTorch an arithmetic alone"
                )
        return read

    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"model is a {type(model).__name__}: give a torch.nn.Module")
    target = getattr(model, "_orig_mod", model)
    if any(_FORWARD in module.__dict__ for module in target.modules()):
        raise ValueError("the model, or a part of it, is patched already: unpatch it first")
    made = Patch(
        target,
        read("plan", plan),
        gradient,
        None
        if activation_gradients is None
        else read("activation_gradients", activation_gradients),
        None if weight_gradients is None else read("weight_gradients", weight_gradients),
    )
    for _, arithmetic in made.plan.rules:
        Gradients(gradient).check(arithmetic)
    for path, module in target.named_modules():
        forward = _Forward(made, module, path.replace(_PREFIX, ""))
        # Not by setattr, which is the module's own.
        module.__dict__[_FORWARD] = module.__dict__.get("forward")
        module.__dict__["forward"] = forward
    torch._dynamo.reset()  # what was compiled before is stale
    return made


class _Forward:
    """A module's forward under a patch. It stands among the module's attributes, so that a copy of
    the module gets one of its own."""

    def __init__(self, patch: Patch, module: torch.nn.Module, path: str) -> None:
        self._patch = patch
        self._module = module
        self._path = path
        self._original = module.forward
        functools.update_wrapper(cast(Callable[..., Any], self), self._original)

    @torch._dynamo.disable  # type: ignore[untyped-decorator]
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        place = _Place(self._module, self._path)
        with self._patch._inside(place):
            try:
                return self._original(*args, **kwargs)
            except RuntimeError as error:
                if place.refused and not isinstance(error, NotImplementedError):
                    raise NotImplementedError(place.refused) from error  # TorchScript's wrapping
                raise

    def __deepcopy__(self, memo: dict[int, Any]) -> _Forward:
        module = memo.get(id(self._module))
        if module is None:
            raise TypeError("a patched model's forward was copied without the model")
        # The copy has no attributes yet: its forward is that of its class.
        made = _Forward(self._patch, module, self._path)
        own = self._module.__dict__.get(_FORWARD)
        if own is not None:
            made._original = copy.deepcopy(own, memo)
        return made

    def __reduce__(self) -> Any:
        raise TypeError(
            "a patched model cannot be pickled: unpatch it first, or save its state_dict()"
        )


def unpatch(model: torch.nn.Module) -> None:
    """Gives a patched model its own multiplications back; another one stays as it is."""
    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"model is a {type(model).__name__}: give a torch.nn.Module")
    target = cast(torch.nn.Module, getattr(model, "_orig_mod", model))
    for module in target.modules():
        if _FORWARD not in module.__dict__:
            continue
        before = module.__dict__.pop(_FORWARD)
        if before is None:
            del module.__dict__["forward"]
        else:
            module.__dict__["forward"] = before
    torch._dynamo.reset()
