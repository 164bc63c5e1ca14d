"""Numbers on the wire and as numpy arrays."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from .errors import InvalidArgument
from .names import enum_number
from .v1 import common_pb2 as pb

Array = npt.NDArray[Any]
DType = Literal["float32", "bfloat16", "float64"]

# bfloat16 is kept as its bits: numpy has no such type.
_STORED: dict[int, np.dtype[Any]] = {
    pb.DTYPE_FLOAT32: np.dtype("<f4"),
    pb.DTYPE_FLOAT64: np.dtype("<f8"),
    pb.DTYPE_BFLOAT16: np.dtype("<u2"),
}


def stored(tensor: pb.Tensor) -> Array:
    """A read-only view of a tensor's bytes; bfloat16 as uint16."""
    kind = _STORED.get(tensor.dtype)
    if kind is None:
        raise InvalidArgument(f"tensor: unknown dtype {tensor.dtype}")
    view: Array = np.frombuffer(tensor.data, dtype=kind)
    return view.reshape(tuple(tensor.shape))


def widened(bits: Array) -> Array:
    """float32 of the bits of bfloat16, exactly; other arrays as they are."""
    if bits.dtype != np.uint16:
        return bits
    wide = bits.astype(np.uint32)
    wide <<= 16
    return wide.view(np.float32)


def to_numpy(tensor: pb.Tensor) -> Array:
    """The numbers; bfloat16 becomes float32."""
    return widened(stored(tensor))


def as_array(numbers: Any) -> Array:
    """float32 or float64 of an array, a list or a torch tensor."""
    if hasattr(numbers, "detach"):
        numbers = numbers.detach().cpu()
        if "bfloat16" in str(numbers.dtype):
            numbers = numbers.float()
    array: Array = np.asarray(numbers)
    if array.dtype == np.float64:
        return np.ascontiguousarray(array, dtype="<f8")
    if array.dtype.kind not in "fiu":
        raise InvalidArgument(f"a vector holds numbers, not {array.dtype}")
    return np.ascontiguousarray(array, dtype="<f4")


def to_tensor(numbers: Any) -> pb.Tensor:
    """A tensor of an array, a list or a torch tensor."""
    array = as_array(numbers)
    is_double = array.dtype == np.float64
    return pb.Tensor(
        dtype=pb.DTYPE_FLOAT64 if is_double else pb.DTYPE_FLOAT32,
        shape=array.shape,
        data=array.tobytes(),
    )


def dtype_number(dtype: str | None) -> Any:
    """The wire's value of "float32", "bfloat16" or "float64"; None: the default."""
    return (
        pb.DTYPE_UNSPECIFIED if dtype is None else enum_number(pb.DType, dtype, "dtype")
    )
