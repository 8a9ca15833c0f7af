"""Arrays of any library as NumPy arrays of the dtypes that Napier computes with."""

from __future__ import annotations

from typing import Any

import ml_dtypes  # also makes its dtypes known to NumPy
import numpy as np
from numpy.typing import NDArray

_DLPACK_CPU = 1  # kDLCPU of dlpack.h
_DLPACK_DEVICES = {2: "CUDA", 4: "OpenCL", 7: "Vulkan", 8: "Metal", 10: "ROCm", 14: "oneAPI"}

# Every number of these is a float32.
_INTO_FLOAT32 = {
    np.dtype(name)
    for name in (
        "float32", "float16", "int8", "uint8", "int16", "uint16", "bool",
        ml_dtypes.bfloat16, ml_dtypes.float8_e3m4, ml_dtypes.float8_e4m3,
        ml_dtypes.float8_e4m3b11fnuz, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e4m3fnuz,
        ml_dtypes.float8_e5m2, ml_dtypes.float8_e5m2fnuz, ml_dtypes.float8_e8m0fnu,
        ml_dtypes.float6_e2m3fn, ml_dtypes.float6_e3m2fn, ml_dtypes.float4_e2m1fn,
        ml_dtypes.int2, ml_dtypes.uint2, ml_dtypes.int4, ml_dtypes.uint4,
    )
}  # fmt: skip


def as_numpy(value: Any, name: str) -> NDArray[Any]:
    """`value` as a NumPy array, without a copy where its library shares memory.

    Numbers and lists of Python are taken as NumPy takes them. Raises BufferError for arrays that
    do not lie in the CPU's memory, TypeError for what is no array.
    """
    if isinstance(value, np.ndarray | np.generic):
        return np.asarray(value)
    if hasattr(value, "__dlpack__"):
        device = int(value.__dlpack_device__()[0])
        if device != _DLPACK_CPU:
            where = _DLPACK_DEVICES.get(device, f"DLPack's number {device}")
            raise BufferError(
                f"{name} lies on a device ({where}), and Napier computes on the CPU: copy it "
                "there first, as by .cpu()"
            )
        return _from_dlpack(value, name)
    array = np.asarray(value)
    if array.dtype == object:
        raise TypeError(f"{name} is a {type(value).__name__}, which is no array of numbers")
    if array.dtype == np.float64:  # Python's own numbers
        array = array.astype(np.float32)
    return array


def _from_dlpack(value: Any, name: str) -> NDArray[Any]:
    if getattr(value, "requires_grad", False):
        value = value.detach()
    dtype = str(getattr(value, "dtype", ""))
    narrow = dtype.removeprefix("torch.")
    if dtype.startswith("torch.") and hasattr(ml_dtypes, narrow):
        # NumPy's DLPack does not know these dtypes: taken as integers of their width.
        import torch

        bits = torch.int16 if value.element_size() == 2 else torch.uint8
        codes = np.from_dlpack(value.view(bits))
        return codes.view(np.dtype(getattr(ml_dtypes, narrow)))
    try:
        return np.from_dlpack(value)
    except (BufferError, RuntimeError, TypeError) as error:
        raise TypeError(f"{name} of dtype {dtype} cannot be read by NumPy: {error}") from error


def as_float32(value: Any, name: str) -> NDArray[np.float32]:
    """The same numbers in float32; no copy if they are already. Raises TypeError where some would
    have to be rounded: that is the caller's to say."""
    array = as_numpy(value, name)
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if array.dtype == np.float32:
        # Strides of fields of records need not be whole elements.
        whole = all(stride % array.itemsize == 0 for stride in array.strides)
        return array if whole and array.flags.aligned else array.copy()
    if array.dtype in _INTO_FLOAT32:
        return array.astype(np.float32)
    raise TypeError(
        f"{name} has dtype {array.dtype}, which float32 does not hold without rounding: convert "
        f"it, as by {name}.astype(numpy.float32)"
    )


def result(array: NDArray[np.float32], dtype: Any) -> NDArray[Any]:
    """What a function returns: float32, or rounded to the dtype that the caller asks for."""
    if dtype is None or np.dtype(dtype) == np.float32:
        return array
    return array.astype(dtype)
