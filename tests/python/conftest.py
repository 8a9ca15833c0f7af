"""The package of the build folder under test, and the C++ reference to hold it against."""
import ctypes
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

# The same cases each time, unless a seed asks for others; no folder of examples is left behind.
settings.register_profile("napier", database=None, deadline=None,
                          derandomize="NAPIER_TEST_SEED" not in os.environ,
                          suppress_health_check=[HealthCheck.function_scoped_fixture])
settings.load_profile("napier")

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("NAPIER_BUILD_DIR", ROOT / "build"))
sys.path.insert(0, str(BUILD / "python"))
os.environ["PYTHONPATH"] = os.pathsep.join(  # of the processes that tests start
    [str(BUILD / "python"), *filter(None, [os.environ.get("PYTHONPATH")])])


@pytest.fixture(scope="session")
def reference():
    """reference(arith, x (m, k), w (n, k)): the (m, n) sums of the C++ scalar reference."""
    library = ctypes.CDLL(str(BUILD / "tests" / "napier_python_bridge.so"))

    def multiply(arith, x, w):
        x, w = (np.ascontiguousarray(a, np.float32) for a in (x, w))
        out = np.empty((len(x), len(w)), np.float32)
        error = ctypes.create_string_buffer(512)
        failed = library.bridge_reference(
            arith.encode(), *(ctypes.c_int64(v) for v in (len(x), len(w), x.shape[1])),
            *(ctypes.c_void_p(a.ctypes.data) for a in (x, w, out)), error)
        assert not failed, error.value.decode()
        return out

    return multiply


def bits(array):
    """The patterns of float32 numbers, with one NaN for all."""
    array = np.asarray(array, np.float32)
    return np.where(np.isnan(array), np.uint32(0x7FC00000), array.view(np.uint32))
