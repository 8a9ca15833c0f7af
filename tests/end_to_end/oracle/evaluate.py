"""Perplexity and divergence, chunk by chunk, as llama-perplexity measures a text."""
from dataclasses import dataclass

import numpy as np


def log_softmax(logits):
    logits = logits.astype(np.float64)
    logits -= logits.max(axis=-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


@dataclass
class Figures:
    """Of each scored position: negative log-likelihood, divergence from the reference."""
    nll: np.ndarray
    kl: np.ndarray

    @property
    def perplexity(self):
        return float(np.exp(self.nll.mean()))

    @property
    def kl_mean(self):
        return float(self.kl.mean())


def evaluate(model, text, context, chunks, courses):
    """{name: Figures} for courses {name: multiply function}; "f32" is the reference of the others.

    The text is cut into chunks of `context` tokens, BOS in place of the first; of each, the second
    half's tokens but the first are predicted and scored.
    """
    first = context // 2
    nll, kl = {name: [] for name in courses}, {name: [] for name in courses}
    for chunk in range(chunks):
        tokens = np.array(text[chunk * context:(chunk + 1) * context])
        assert len(tokens) == context, "the text is too short"
        targets = tokens[first + 1:]
        tokens[0] = model.bos
        rows = {name: log_softmax(model.logits(tokens, multiply, first)[:-1])
                for name, multiply in courses.items()}
        reference = rows["f32"]
        for name, row in rows.items():
            nll[name].append(-row[np.arange(len(targets)), targets])
            kl[name].append((np.exp(reference) * (reference - row)).sum(axis=-1))
    return {name: Figures(np.concatenate(nll[name]), np.concatenate(kl[name])) for name in courses}
