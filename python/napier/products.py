"""Products of arrays under an arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from napier import _core
from napier._arrays import as_float32, result

ArithmeticLike = _core.Arithmetic | str


def as_arithmetic(arith: ArithmeticLike) -> _core.Arithmetic:
    """The arithmetic of a written form. Raises ParseError, or TypeError for what is neither."""
    if isinstance(arith, _core.Arithmetic):
        return arith
    if isinstance(arith, str):
        return _core.Arithmetic(arith)
    raise TypeError(
        f"arith is a {type(arith).__name__}: give a napier.Arithmetic or its written form, as "
        "'lmul-m4'"
    )


def _rows_and_k(shape: tuple[int, ...]) -> tuple[int, int]:
    k = shape[-1] if shape else 1
    return (int(np.prod(shape[:-1], dtype=np.int64)) if shape else 1), k


def multiply(x: Any, w: Any, arith: ArithmeticLike, dtype: Any = None) -> NDArray[Any]:
    """The products of `x` (activations) and `w` (weights), element by element, broadcast as
    NumPy's.

    Operands are quantised as the arithmetic says (scales per row or block run along the last axis,
    after broadcasting), products are the multiplier's, rounded to float32; nothing is summed.
    float32, or `dtype`, to which results are then rounded as NumPy does.

        >>> napier.multiply(np.float32([1.5, 3.0]), np.float32(1.75), "lmul-m4")
        array([2.75, 5.5 ], dtype=float32)
    """
    arithmetic = as_arithmetic(arith)
    x32, w32 = as_float32(x, "x"), as_float32(w, "w")
    try:
        x32, w32 = np.broadcast_arrays(x32, w32)
    except ValueError as error:
        raise ValueError(
            f"x and w have the shapes {x32.shape} and {w32.shape}, which do not broadcast"
        ) from error
    out = np.empty(x32.shape, np.float32)
    if out.size:
        _core.multiply(
            arithmetic, np.asarray(x32, order="C"), np.asarray(w32, order="C"),
            *_rows_and_k(x32.shape), out,
        )  # fmt: skip
    return result(out, dtype)


def quantise(values: Any, arith: ArithmeticLike, operand: str = "x") -> NDArray[np.float64]:
    """What operand "x" or "w" of an arithmetic makes of numbers: rounded, scales multiplied back.

    Scales per row or block run along the last axis. float64, which holds every such number.
    """
    if operand not in ("x", "w"):
        raise ValueError(f"operand is '{operand}': give 'x' (activations) or 'w' (weights)")
    array = np.asarray(as_float32(values, "values"), order="C")
    out = np.empty(array.shape, np.float64)
    if out.size:
        _core.quantise(as_arithmetic(arith), operand == "w", array, *_rows_and_k(array.shape), out)
    return out


def matmul(
    a: Any,
    b: Any,
    arith: ArithmeticLike,
    out: NDArray[np.float32] | None = None,
    dtype: Any = None,
) -> NDArray[Any]:
    """The matrix product of `a` (activations, (..., m, k)) and `b` (weights, (..., k, n)), shapes
    and broadcasting as numpy.matmul's.

    Rows of `a` and columns of `b` are what is scaled per row. A scale per tensor is taken over each
    matrix of a batch. float32, or `dtype`, to which results are then rounded as NumPy does; `out`
    is written to if given, and may be one of the operands. The bits do not depend on threads,
    strides or batches. Nothing is copied of float32 arrays but a `b` whose columns do not lie along
    the memory: transposed, packed weights do (see pack()). The interpreter's lock is not held.

        >>> napier.matmul(np.eye(2, dtype=np.float32), np.float32([[1.5, 2], [3, 4]]), "fp8_e4m3")
        array([[1.5, 2. ],
               [3. , 4. ]], dtype=float32)
    """
    arithmetic = as_arithmetic(arith)
    a32, b32 = as_float32(a, "a"), as_float32(b, "b")
    if a32.ndim == 0 or b32.ndim == 0:
        raise ValueError("a and b need at least one dimension; multiply() takes numbers")
    row, column = a32.ndim == 1, b32.ndim == 1
    left = a32[np.newaxis, :] if row else a32
    right = b32[:, np.newaxis] if column else b32
    if left.shape[-1] != right.shape[-2]:
        raise ValueError(
            f"a of shape {a32.shape} has {left.shape[-1]} columns and b of shape {b32.shape} "
            f"{right.shape[-2]} rows: these must be equal"
        )
    try:
        batch = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    except ValueError as error:
        raise ValueError(
            f"the batches of a and b, {left.shape[:-2]} and {right.shape[:-2]}, do not broadcast"
        ) from error
    m, k, n = left.shape[-2], left.shape[-1], right.shape[-1]
    shape = (*batch, *(() if row else (m,)), *(() if column else (n,)))
    target = _target(out, shape, dtype)
    written = _apart(target, left, right)
    if target.size and k:
        _core.matmul(
            arithmetic,
            np.broadcast_to(left, (*batch, m, k)),
            np.broadcast_to(right, (*batch, k, n)),
            written.reshape(*batch, m, n),
        )
    else:
        written[...] = 0
    if written is not target:
        target[...] = written
    return result(target, dtype) if shape or out is not None else result(target, dtype)[()]


def _target(out: Any, shape: tuple[int, ...], dtype: Any) -> NDArray[np.float32]:
    if out is None:
        return np.empty(shape, np.float32)
    if not isinstance(out, np.ndarray) or out.dtype != np.float32:
        kind = out.dtype if isinstance(out, np.ndarray) else type(out).__name__
        raise TypeError(f"out is of {kind}: give a NumPy array of float32")
    if dtype is not None and np.dtype(dtype) != np.float32:
        raise TypeError("out holds float32: give either out or dtype")
    if out.shape != shape:
        raise ValueError(f"out has the shape {out.shape}, the result {shape}")
    if not out.flags.c_contiguous or not out.flags.writeable:
        raise ValueError("out must be writeable and contiguous in C order")
    return out


def _apart(target: NDArray[np.float32], *operands: NDArray[np.float32]) -> NDArray[np.float32]:
    """Where results may be written before all operands are read: the target, or, where it shares
    memory with one of them, an array of its own."""
    shares = any(np.may_share_memory(target, operand) for operand in operands)
    return np.empty(target.shape, np.float32) if shares else target


class PackedWeights:
    """Weights made ready for one arithmetic: quantised and laid out once, used many times.

    Made by pack(). Immutable; threads may share it.
    """

    def __init__(self, weights: _core.Weights) -> None:
        self._weights = weights

    @property
    def arithmetic(self) -> _core.Arithmetic:
        return self._weights.arithmetic

    @property
    def kernel(self) -> str:
        """Which kernel runs it."""
        return self._weights.kernel

    @property
    def shape(self) -> tuple[int, int]:
        """(n, k): output channels and elements of each."""
        return self._weights.n, self._weights.k

    @property
    def nbytes(self) -> int:
        return self._weights.bytes

    def __call__(
        self, x: Any, out: NDArray[np.float32] | None = None, dtype: Any = None
    ) -> NDArray[Any]:
        """x (..., k) times the transposed weights: (..., n). All rows of x are one matrix. `out`
        and `dtype` are matmul()'s."""
        x32 = as_float32(x, "x")
        n, k = self.shape
        if x32.ndim == 0 or x32.shape[-1] != k:
            raise ValueError(f"x of shape {x32.shape} must have a last dimension of {k}")
        target = _target(out, (*x32.shape[:-1], n), dtype)
        if target.size:
            written = _apart(target, x32)
            self._weights.multiply(x32.reshape(-1, k), written)
            if written is not target:
                target[...] = written
        return result(target, dtype)

    def __repr__(self) -> str:
        n, k = self.shape
        return f"<napier.PackedWeights {n} x {k}, {self.arithmetic.name}, kernel {self.kernel}>"


def pack(w: Any, arith: ArithmeticLike) -> PackedWeights:
    """Weights `w` (n, k), as PyTorch's Linear has them, made ready for x @ w.T under `arith`.

    >>> w = napier.pack(np.float32([[1.5, 0.5]]), "lmul-m4")
    >>> w(np.float32([[3.0, 2.0]]))
    array([[5.625]], dtype=float32)
    """
    w32 = as_float32(w, "w")
    if w32.ndim != 2 or not w32.size:
        raise ValueError(f"w has the shape {w32.shape}: give (n, k), neither of them 0")
    return PackedWeights(_core.Weights(as_arithmetic(arith), w32))
