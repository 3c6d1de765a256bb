"""Memory of objects with the buffer protocol, whatever their layout and type.

Python's memoryview gives no address; numpy and ctypes do, but refuse some layouts, types or read-only memory.
Source: ``Py_buffer`` in Include/pybuffer.h, which is part of the stable ABI.
"""

from __future__ import annotations

import ctypes
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pte_magic.errors import TargetError
from pte_magic.errors.arguments import class_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pte_magic.targets.blocks import Blocks

_INDIRECT = 0x118  # PyBUF_INDIRECT: any strides, writable or not, and no format, as not every type has one


class _Buffer(ctypes.Structure):
    """``Py_buffer``."""

    _fields_ = (
        ("buf", ctypes.c_void_p),
        ("obj", ctypes.c_void_p),
        ("len", ctypes.c_ssize_t),
        ("itemsize", ctypes.c_ssize_t),
        ("readonly", ctypes.c_int),
        ("ndim", ctypes.c_int),
        ("format", ctypes.c_char_p),
        ("shape", ctypes.POINTER(ctypes.c_ssize_t)),
        ("strides", ctypes.POINTER(ctypes.c_ssize_t)),
        ("suboffsets", ctypes.POINTER(ctypes.c_ssize_t)),
        ("internal", ctypes.c_void_p),
    )


# Functions of their own: types of arguments that are set on pythonapi's are set for everybody.
_check = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object)(("PyObject_CheckBuffer", ctypes.pythonapi))
_get = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.POINTER(_Buffer), ctypes.c_int)(
    ("PyObject_GetBuffer", ctypes.pythonapi)
)
_release = ctypes.PYFUNCTYPE(None, ctypes.POINTER(_Buffer))(("PyBuffer_Release", ctypes.pythonapi))


def has(thing: object) -> bool:
    """Tell whether an object takes part in the buffer protocol; nothing of its own runs."""
    return bool(_check(ctypes.py_object(thing)))  # or ctypes would ask for its __class__


@contextmanager
def exported(thing: object, found: Blocks) -> Iterator[None]:
    """Add the addresses of an object's bytes, which are exported until the end of the ``with`` statement.

    Raises:
        TargetError: They lie behind pointers, row by row.
        Exception: An error of the object.

    """
    buffer = _Buffer()
    _get(ctypes.py_object(thing), buffer, _INDIRECT)
    try:
        many, start = range(buffer.ndim), buffer.buf or 0
        if buffer.suboffsets and any(buffer.suboffsets[axis] >= 0 for axis in many):
            message = f"the {class_name(thing)} has pointers to its rows; name one row"
            raise TargetError(message)
        if buffer.shape and buffer.strides:
            strides = [buffer.strides[axis] for axis in many]
            found.add_strided(start, [buffer.shape[axis] for axis in many], strides, buffer.itemsize)
        else:  # bytes one after the other
            found.add(start, buffer.len)
        yield
    finally:
        _release(buffer)
