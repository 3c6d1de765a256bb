"""Where a tensor lies, by DLPack: also of element types that numpy does not know, such as bfloat16.

Source: dlpack.h (``DLTensor``) and the Python specification of DLPack: ``__dlpack__()`` gives a capsule, named by what
it holds, which frees that if nobody takes it over.
"""

from __future__ import annotations

import ctypes
from typing import Any

_is_valid = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.c_char_p)(("PyCapsule_IsValid", ctypes.pythonapi))
_get_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)


_OLD, _VERSIONED = b"dltensor", b"dltensor_versioned"


class Tensor(ctypes.Structure):
    """``DLTensor``."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


class VersionedTensor(ctypes.Structure):
    """``DLManagedTensorVersioned``; the older ``DLManagedTensor`` begins with its DLTensor."""

    _fields_ = (
        ("version", ctypes.c_uint32 * 2),
        ("manager_ctx", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
        ("flags", ctypes.c_uint64),
        ("dl_tensor", Tensor),
    )


def bounds(thing: Any) -> tuple[int, int]:
    """Return first and last address plus one of a tensor's elements; the same twice if it has none.

    Raises:
        BufferError: The object does not export this tensor; other errors of its own likewise.

    """
    try:
        capsule = thing.__dlpack__(max_version=(1, 0))  # the versioned form may be read-only
    except TypeError:
        capsule = thing.__dlpack__()
    if _is_valid(capsule, _VERSIONED):
        tensor = VersionedTensor.from_address(_get_pointer(capsule, _VERSIONED)).dl_tensor
    else:
        tensor = Tensor.from_address(_get_pointer(capsule, _OLD))
    shape = tensor.shape[: tensor.ndim]
    first = last = (tensor.data or 0) + tensor.byte_offset
    if 0 in shape:
        return first, first
    item = -(-tensor.bits * tensor.lanes // 8)
    step = 1  # without strides the elements are packed, the last index moving fastest
    for axis in reversed(range(tensor.ndim)):
        stride = tensor.strides[axis] if tensor.strides else step
        step *= shape[axis]
        reach = (shape[axis] - 1) * stride * item
        first, last = first + min(reach, 0), last + max(reach, 0)
    return first, last + item
