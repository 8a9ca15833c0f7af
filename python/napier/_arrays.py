"""Arrays of any library as NumPy arrays of the dtypes that Napier computes with."""

from __future__ import annotations

from typing import Any

import ml_dtypes  # also makes its dtypes known to NumPy
import numpy as np
from numpy.typing import NDArray

_DLPACK_CPU = {1, 3, 11}  # kDLCPU, kDLCUDAHost and kDLROCMHost of dlpack.h: the CPU reads them
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
    """`value` as a NumPy array in the processor's byte order, without a copy where its library
    shares memory and that order.

    Numbers and lists of Python are taken as NumPy takes them. Raises BufferError for arrays that
    do not lie in the CPU's memory, TypeError for what is no array.
    """
    array = _as_numpy(value, name)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _as_numpy(value: Any, name: str) -> NDArray[Any]:
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name} is a masked array: fill its gaps first, as by {name}.filled(0)")
    if isinstance(value, np.ndarray | np.generic):
        return np.asarray(value)
    if hasattr(value, "__dlpack__"):
        try:
            device = int(value.__dlpack_device__()[0])
        except (ValueError, RuntimeError) as error:  # as of PyTorch's "meta", which has no memory
            raise BufferError(f"{name} lies in no memory that can be read: {error}") from error
        if device not in _DLPACK_CPU:
            where = _DLPACK_DEVICES.get(device, f"DLPack's number {device}")
            raise BufferError(
                f"{name} lies on a device ({where}), and Napier computes on the CPU: copy it "
                "there first, as by .cpu()"
            )
        return _from_dlpack(value, name)
    array = np.asarray(value)
    if array.dtype == object:
        raise TypeError(f"{name} is a {type(value).__name__}, which is no array of numbers")
    return array


def _is_pythons(value: Any) -> bool:
    """Whether it is a number of Python's, or lists of nothing else."""
    if isinstance(value, list | tuple):
        return all(map(_is_pythons, value))
    return isinstance(value, float | int) and not isinstance(value, np.generic)


def _from_dlpack(value: Any, name: str) -> NDArray[Any]:
    if getattr(value, "requires_grad", False):
        value = value.detach()
    if hasattr(value, "resolve_neg"):
        value = value.resolve_neg()  # PyTorch's views that are negative: DLPack does not say so
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
        if hasattr(value, "__array__"):  # as JAX's bfloat16, which DLPack's reader does not know
            array = np.asarray(value)
            if array.dtype != object:
                return array
        raise TypeError(f"{name} of dtype {dtype} cannot be read by NumPy: {error}") from error


def as_float32(value: Any, name: str) -> NDArray[np.float32]:
    """The same numbers in float32; no copy if they are already. Raises TypeError where some would
    have to be rounded: that is the caller's to say. Python's own numbers, which have no other
    type, are rounded."""
    array = as_numpy(value, name)
    if array.dtype in (np.dtype(np.float64), np.dtype(np.int64)) and _is_pythons(value):
        with np.errstate(over="ignore"):
            rounded = array.astype(np.float32)
        if np.isinf(rounded).sum() != (np.isinf(array).sum() if array.dtype == np.float64 else 0):
            raise TypeError(f"{name} holds a number beyond float32's largest, 3.4e38")
        return rounded
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
