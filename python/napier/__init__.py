"""Napier: numbers, products and sums of any arithmetic, bit by bit, at nearly native speed.

    >>> import numpy as np, napier
    >>> a = np.float32([[1.5, 2.25]])
    >>> b = np.float32([[3.5], [0.75]])
    >>> napier.matmul(a, b, "lmul-m4")
    array([[7.25]], dtype=float32)

``napier.torch`` patches PyTorch models, ``napier.lm_eval`` is a model of lm-evaluation-harness.
"""

from napier._core import (
    Arithmetic,
    EngineError,
    Error,
    ParseError,
    Plan,
    __version__,
    format_names,
    get_threads,
    preset_names,
    rounding_names,
    set_threads,
)
from napier.format import Format
from napier.model import Model
from napier.products import PackedWeights, matmul, multiply, pack, quantise
from napier.results import Table
from napier.studies import cost, error
from napier.sweeps import read_sweep, read_where

__all__ = [
    "Arithmetic",
    "EngineError",
    "Error",
    "Format",
    "Model",
    "PackedWeights",
    "ParseError",
    "Plan",
    "Table",
    "__version__",
    "cost",
    "error",
    "format_names",
    "get_threads",
    "matmul",
    "multiply",
    "pack",
    "preset_names",
    "quantise",
    "read_sweep",
    "read_where",
    "rounding_names",
    "set_threads",
]
