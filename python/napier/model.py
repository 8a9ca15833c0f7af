"""A language model (GGUF, through llama.cpp) under a plan."""

from __future__ import annotations

import operator
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napier import _core
from napier.results import Table

# Run by a new process, which imports the package from where this one lies.
_PROBE = """
import sys
from napier import _core
try:
    _core.probe_model(sys.argv[1], int(sys.argv[2]), sys.argv[3])
except _core.Error as error:
    print(error)
    sys.exit(2)
except _core.EngineError as error:
    print(error)
    sys.exit(1)
"""


def check_model(path: str | os.PathLike[str], context: int, cache: str) -> None:
    """Tries a file in a process of its own, since llama.cpp aborts on some broken ones. Raises
    FileNotFoundError, Error or EngineError."""
    if not os.path.exists(path):
        raise FileNotFoundError(f"{os.fspath(path)}: there is no such file; give a GGUF file")
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    folders = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, "-c", _PROBE, os.fspath(path), str(context), cache],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(folders)},
        stdin=subprocess.DEVNULL, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode == 0:
        return
    lines = (done.stdout.strip() or done.stderr.strip()).splitlines()
    sentence = lines[-1] if lines else f"{os.fspath(path)} could not be tried"
    raise (_core.Error if done.returncode == 2 else _core.EngineError)(sentence)


_LONGEST = 1 << 24  # tokens of a context
_LARGEST = 2**31 - 1


def _integer(name: str, value: Any, least: int, most: int) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} is {value!r}: give an integer") from None
    if not least <= number <= most:
        raise ValueError(f"{name} is {number}: give an integer from {least} to {most}")
    return number


def _real(name: str, value: Any, least: float, most: float) -> float:
    if not isinstance(value, float | int) or not least <= value <= most:
        raise ValueError(f"{name} is {value!r}: give a number from {least:g} to {most:g}")
    return float(value)


class Model:
    """A GGUF model with a plan: one sequence at a time, logits, likelihoods, text.

    `plan` is an arithmetic for every matrix multiplication ("lmul-m4"), rules
    ("kq*->lmul-m4; *->bf16") or a recipe file. `context` is how many tokens fit (0: as many as the
    model was trained on), `cache` what keys and values are kept in ("f32" or "f16"). Threads may
    share a model, and models a process; they take turns. What two sequences in a row share at
    their beginning is computed once.

    Raises FileNotFoundError, Error (a broken file, a rule that decides nothing) or EngineError.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        plan: str | _core.Plan | _core.Arithmetic = "f32",
        *,
        context: int = 0,
        threads: int | None = None,
        cache: str = "f32",
    ) -> None:
        self.path = os.fspath(path)
        if not isinstance(self.path, str):
            raise TypeError(f"path is {path!r}: give a str or a path")
        if not isinstance(plan, str | _core.Plan | _core.Arithmetic):
            raise TypeError(
                f"plan is a {type(plan).__name__}: give a plan, an arithmetic or its written form, "
                "as 'lmul-m4'"
            )
        context = _integer("context", context, 0, _LONGEST)
        check_model(path, context, cache)
        if not isinstance(plan, _core.Plan):
            plan = _core.Plan.for_model(str(plan), self.path)
        self.plan = plan
        count = _core.get_threads() if threads is None else _integer("threads", threads, 1, 512)
        self._process = os.getpid()
        self._made = _core.Session(self.path, self.plan, context, count, cache)

    @property
    def _session(self) -> _core.Session:
        if self._process != os.getpid():
            # A fork has the memory, not the threads that work on it: it would wait for ever.
            raise RuntimeError(
                f"{self.path}: this Model was made by another process: make it again in this one"
            )
        return self._made

    @property
    def description(self) -> str:
        """llama.cpp's own words, such as "llama 3B Q8_0"."""
        return self._session.description

    @property
    def vocabulary_size(self) -> int:
        return self._session.vocabulary_size

    @property
    def context(self) -> int:
        """How many tokens fit."""
        return self._session.context

    @property
    def bos(self) -> int | None:
        """The token that begins a text, or None."""
        return self._session.bos if self._session.bos >= 0 else None

    @property
    def eos(self) -> int | None:
        """The token that ends a text, or None."""
        return self._session.eos if self._session.eos >= 0 else None

    @property
    def adds_bos(self) -> bool:
        """Whether the vocabulary wants BOS before a text."""
        return self._session.adds_bos

    @property
    def matmul_names(self) -> list[str]:
        """The model's matrix multiplications, as plans match them."""
        return self._session.matmul_names

    def tokenise(
        self, text: str, add_special: bool = True, parse_special: bool = False
    ) -> list[int]:
        """A text's tokens. `add_special` puts BOS and EOS where the vocabulary wants them;
        `parse_special` reads spelt-out control tokens as such."""
        if not isinstance(text, str):
            raise TypeError(f"text is a {type(text).__name__}: give a str")
        return self._session.tokenise(text, add_special, parse_special)

    def detokenise(self, tokens: Sequence[int]) -> str:
        """The text of tokens; bytes that are no UTF-8 are replaced."""
        if isinstance(tokens, str):
            raise TypeError("tokens is a str: give integers")
        pieces = (self._session.piece(token) for token in self._tokens(tokens))
        return b"".join(pieces).decode(errors="replace")

    def _tokens(self, text: str | Sequence[int]) -> list[int]:
        if isinstance(text, str):
            return self.tokenise(text)
        return [_integer("a token", token, -_LARGEST, _LARGEST) for token in text]

    def logits(self, text: str | Sequence[int], last: int | None = None) -> NDArray[np.float32]:
        """Logits after each token of a text (or of the `last` ones): (tokens, vocabulary)."""
        tokens = self._tokens(text)
        rows = len(tokens) if last is None else _integer("last", last, 1, _LARGEST)
        out = np.empty((rows, self.vocabulary_size), np.float32)
        self._session.logits(tokens, out)
        return out

    def log_likelihoods(
        self, text: str | Sequence[int], last: int | None = None
    ) -> NDArray[np.float64]:
        """The log-likelihood of each token but the first (or of the `last` ones) given those before
        it, in nats. -sum() / size is the loss."""
        return self.score(text, last)[0]

    def score(
        self, text: str | Sequence[int], last: int | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """log_likelihoods(), and whether each token is the likeliest."""
        tokens = self._tokens(text)
        count = len(tokens) - 1 if last is None else _integer("last", last, 0, _LARGEST)
        if count < 1:
            raise _core.Error("no token is left to score: give at least two, or last=1 or more")
        out = np.empty(count, np.float64)
        likeliest = np.empty(count, np.bool_)
        self._session.log_likelihoods(tokens, out, likeliest)
        return out, likeliest

    def generate(
        self,
        prompt: str | Sequence[int],
        max_tokens: int = 128,
        *,
        temperature: float = 0.0,
        top_k: int = 40,
        top_p: float = 0.95,
        min_p: float = 0.05,
        repeat_penalty: float = 1.0,
        seed: int = -1,
        stop: str | Sequence[str] = (),
        on_text: Callable[[str], Any] | None = None,
    ) -> str:
        """The text that follows a prompt: greedily, or sampled as llama.cpp does by default. Ends
        before the first of the strings in `stop`, at the model's own end, after `max_tokens`, or
        where the context is full. `on_text` is called with each piece as it comes."""
        stops = [stop] if isinstance(stop, str) else list(stop)
        if not all(isinstance(word, str) and word for word in stops):
            raise ValueError(f"stop is {stop!r}: give a str, or some, none of them empty")
        tokens = (
            self.tokenise(prompt, True, True) if isinstance(prompt, str) else self._tokens(prompt)
        )
        text = ""
        ended = False

        def take(piece: bytes) -> bool:
            nonlocal text, ended
            if ended:  # what was left of the last character
                return False
            said = piece.decode(errors="replace")
            text += said
            if on_text is not None:
                on_text(said)
            ended = any(word in text for word in stops)
            return not ended

        self._session.generate(
            tokens,
            _integer("max_tokens", max_tokens, 1, _LARGEST),
            _real("temperature", temperature, 0, 1000),
            _integer("top_k", top_k, 0, _LARGEST),
            _real("top_p", top_p, 0, 1),
            _real("min_p", min_p, 0, 1),
            _real("repeat_penalty", repeat_penalty, 0.01, 100),
            _integer("seed", seed, -1, 2**32 - 2),
            take,
        )
        ends = [text.index(word) for word in stops if word in text]
        return text[: min(ends)] if ends else text

    def coverage(self) -> Table:
        """Which matrix multiplications ran in which arithmetic so far (arith is empty where the
        engine computed), a record a role. Raises EngineError if one bypassed the plan."""
        return Table(self._session.coverage(), f"multiplications of {self.path}")

    def __repr__(self) -> str:
        return f"<napier.Model {self.path}, plan {self.plan}>"
