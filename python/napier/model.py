"""A language model (GGUF, through llama.cpp) under a plan."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napier import _core
from napier.results import Table

# The new process imports only the extension module, from where it lies.
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
        check_model(path, context, cache)
        if not isinstance(plan, _core.Plan):
            plan = _core.Plan.for_model(str(plan), self.path)
        self.plan = plan
        count = _core.get_threads() if threads is None else threads
        self._session = _core.Session(self.path, self.plan, context, count, cache)

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
        return self._session.tokenise(text, add_special, parse_special)

    def detokenise(self, tokens: Sequence[int]) -> str:
        """The text of tokens; bytes that are no UTF-8 are replaced."""
        return b"".join(self._session.piece(int(t)) for t in tokens).decode(errors="replace")

    def _tokens(self, text: str | Sequence[int]) -> list[int]:
        return self.tokenise(text) if isinstance(text, str) else [int(token) for token in text]

    def logits(self, text: str | Sequence[int], last: int | None = None) -> NDArray[np.float32]:
        """Logits after each token of a text (or of the `last` ones): (tokens, vocabulary)."""
        tokens = self._tokens(text)
        rows = len(tokens) if last is None else last
        out = np.empty((max(rows, 0), self.vocabulary_size), np.float32)
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
        count = len(tokens) - 1 if last is None else last
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
        stop: Sequence[str] = (),
        on_text: Callable[[str], Any] | None = None,
    ) -> str:
        """The text that follows a prompt: greedily, or sampled as llama.cpp does by default. Ends
        before the first of the strings in `stop`, at the model's own end, after `max_tokens`, or
        where the context is full. `on_text` is called with each piece as it comes."""
        if max_tokens < 1:
            raise ValueError(f"max_tokens is {max_tokens}: give at least 1")
        tokens = self.tokenise(prompt, True, True) if isinstance(prompt, str) else list(prompt)
        text = ""

        def take(piece: bytes) -> bool:
            nonlocal text
            said = piece.decode(errors="replace")
            text += said
            if on_text is not None:
                on_text(said)
            return not any(word in text for word in stop)

        self._session.generate(
            tokens, max_tokens, temperature, top_k, top_p, min_p, repeat_penalty, seed, take
        )
        ends = [text.index(word) for word in stop if word in text]
        return text[: min(ends)] if ends else text

    def coverage(self) -> Table:
        """Which matrix multiplications ran in which arithmetic so far (arith is empty where the
        engine computed), a record a role. Raises EngineError if one bypassed the plan."""
        return Table(self._session.coverage(), f"multiplications of {self.path}")

    def __repr__(self) -> str:
        return f"<napier.Model {self.path}, plan {self.plan}>"
