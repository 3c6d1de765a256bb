"""Memory of tensors, by DLPack: also of element types that numpy does not know, such as bfloat16.

Source: dlpack.h (``DLTensor``) and the Python specification of DLPack: ``__dlpack__()`` gives a capsule whose name
says what it holds. It frees that if nobody takes it over.
"""

from __future__ import annotations

import ctypes
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pte_magic.errors import TargetError
from pte_magic.errors.arguments import class_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pte_magic.targets.blocks import Blocks

_is_valid = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.c_char_p)(("PyCapsule_IsValid", ctypes.pythonapi))
_get_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)


_OLD, _VERSIONED = b"dltensor", b"dltensor_versioned"
_COPIED, _PADDED = 2, 4  # DLPACK_FLAG_BITMASK_IS_COPIED and _IS_SUBBYTE_TYPE_PADDED
_HOST_DEVICES = (1, 3, 11)  # kDLCPU, kDLCUDAHost, kDLROCMHost
_DEVICES = {2: "a CUDA GPU", 4: "an OpenCL device", 7: "a Vulkan device", 8: "a Metal GPU", 10: "a ROCm GPU"}


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


def check_device(thing: Any) -> None:
    """Refuse memory that is not in this process.

    Raises:
        TargetError: It lies in the memory of a device.

    """
    device = int(thing.__dlpack_device__()[0])
    if device not in _HOST_DEVICES:
        raise elsewhere(thing, _DEVICES.get(device, f"device type {device}"))


def elsewhere(thing: object, where: str) -> TargetError:
    """Return the error for a tensor in the memory of a device."""
    return TargetError(
        f"the {class_name(thing)} lies in the memory of {where}, which this process' page tables do not map; "
        "copy it to the CPU first, such as by x.cpu()"
    )


@contextmanager
def exported(thing: Any, found: Blocks) -> Iterator[None]:
    """Add the addresses of a tensor's elements, which are exported until the end of the ``with`` statement.

    Raises:
        TargetError: The export would be a copy.
        Exception: The object does not export this tensor.

    """
    try:
        # The versioned form may be read-only. An exporter that cannot do without a copy raises BufferError.
        capsule = thing.__dlpack__(max_version=(1, 0), copy=False)
    except TypeError:  # older than the array API of 2023
        capsule = thing.__dlpack__()
    is_packed = False
    if _is_valid(capsule, _VERSIONED):
        versioned = VersionedTensor.from_address(_get_pointer(capsule, _VERSIONED))
        if versioned.flags & _COPIED:
            message = f"the {class_name(thing)} exports only a copy of its elements, by DLPack"
            raise TargetError(message)
        is_packed = not versioned.flags & _PADDED
        tensor = versioned.dl_tensor
    else:
        tensor = Tensor.from_address(_get_pointer(capsule, _OLD))
    shape = tensor.shape[: tensor.ndim]
    start, bits = (tensor.data or 0) + tensor.byte_offset, tensor.bits * tensor.lanes
    steps = [1] * tensor.ndim  # without strides the elements are packed, the last index moving fastest
    for axis in reversed(range(tensor.ndim - 1)):
        steps[axis] = steps[axis + 1] * shape[axis + 1]
    if tensor.strides:
        steps = tensor.strides[: tensor.ndim]
    if bits % 8 and is_packed and 0 not in shape:  # several in a byte
        reach = [(many - 1) * step * bits for many, step in zip(shape, steps, strict=True)]
        first, last = sum(min(at, 0) for at in reach), sum(max(at, 0) for at in reach) + bits
        found.add(start + first // 8, -(-last // 8) - first // 8)
    else:
        size = -(-bits // 8)
        found.add_strided(start, shape, [step * size for step in steps], size)
    yield
    del capsule
