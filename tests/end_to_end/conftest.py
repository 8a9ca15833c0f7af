"""What the end-to-end tests share: the model, its text as tokens, Napier's matrix products."""
import ctypes

import numpy as np
import pytest

from oracle.llama import Llama

FLOATS = np.ctypeslib.ndpointer(np.float32, flags="C")


@pytest.fixture(scope="session")
def model_path(shared):
    return shared("data/models/stories260K.gguf")


@pytest.fixture(scope="session")
def text_path(shared):
    return shared("data/text/tinystories.txt")


@pytest.fixture(scope="session")
def model(model_path):
    return Llama(model_path)


class Bridge:
    """bridge.cpp for Python."""

    def __init__(self, path):
        library = ctypes.CDLL(str(path))
        sizes = [ctypes.c_int64] * 3
        self._multiply = library.bridge_multiply
        self._multiply.restype = ctypes.c_char_p
        self._multiply.argtypes = [ctypes.c_char_p, *sizes, FLOATS, FLOATS, FLOATS, ctypes.c_int,
                                   ctypes.c_char_p]
        self._products = library.bridge_products
        self._products.restype = ctypes.c_char_p
        self._products.argtypes = [ctypes.c_char_p, *sizes, FLOATS, FLOATS, FLOATS,
                                   ctypes.c_char_p]
        self._tokenise = library.bridge_tokenise
        self._open = library.bridge_open
        self._open.restype = ctypes.c_void_p
        self._open.argtypes = [ctypes.c_char_p, ctypes.c_uint32]
        self._logits = library.bridge_logits
        self._logits.argtypes = [ctypes.c_void_p, np.ctypeslib.ndpointer(np.int32, flags="C"),
                                 ctypes.c_int32, ctypes.c_int32, FLOATS]
        self._error = ctypes.create_string_buffer(512)

    def _checked(self, kernel):
        if kernel is None:
            raise ValueError(self._error.value.decode())
        return kernel.decode()

    def multiply(self, arithmetic, x, w, threads=1):
        """(x w^T, the kernel's name) for matrices x[m, k], w[n, k]."""
        out = np.empty((len(x), len(w)), np.float32)
        kernel = self._multiply(arithmetic.encode(), len(x), len(w), x.shape[1],
                                np.ascontiguousarray(x), np.ascontiguousarray(w), out, threads,
                                self._error)
        return out, self._checked(kernel)

    def products(self, arithmetic, x, w):
        """[k, m, n]: every single product, each a matrix product with K = 1."""
        out = np.empty((x.shape[1], len(x), len(w)), np.float32)
        kernel = self._products(arithmetic.encode(), len(x), len(w), x.shape[1],
                                np.ascontiguousarray(x), np.ascontiguousarray(w), out, self._error)
        return out, self._checked(kernel)

    def tokenise(self, model_path, text):
        """llama.cpp's tokens of a text."""
        text = text.encode()
        tokens = (ctypes.c_int32 * (len(text) + 2))()
        count = self._tokenise(str(model_path).encode(), text, len(text), tokens, len(tokens))
        assert count > 0, f"llama.cpp gives no tokens: {count}"
        return list(tokens[:count])

    def engine(self, model_path, context, vocabulary):
        """logits(tokens, first) of llama.cpp as it is, without Napier: [tokens from first on,
        vocabulary]."""
        opened = self._open(str(model_path).encode(), context)
        assert opened, f"llama.cpp does not load {model_path}"

        def logits(tokens, first):
            out = np.empty((len(tokens) - first, vocabulary), np.float32)
            error = self._logits(opened, np.array(tokens, np.int32), len(tokens), first, out)
            assert error == 0, f"llama_decode gives {error}"
            return out

        return logits


@pytest.fixture(scope="session")
def bridge(build_dir):
    return Bridge(build_dir / "tests/libnapier_end_to_end_bridge.so")


@pytest.fixture(scope="session")
def tokens(bridge, model_path, text_path):
    """The first quarter of the text, in tokens: more than any test asks for."""
    text = text_path.read_text(encoding="utf-8")
    return bridge.tokenise(model_path, text[:len(text) // 4])


FIGURES = []


@pytest.fixture(scope="session")
def report():
    """report(line): printed at the end of the run, failed or not."""
    return FIGURES.append


def pytest_terminal_summary(terminalreporter):
    for line in FIGURES:
        terminalreporter.write_line(line)
