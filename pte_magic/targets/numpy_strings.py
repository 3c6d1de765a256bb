"""Memory of the text in numpy's arrays of `numpy.dtypes.StringDType`.

An element is two words. A short text lies within; of a longer one the element has the size, and its offset in the
arena that all arrays of this dtype object share, or, if it was put there later, its address.

Source: NEP 55 and numpy/_core/src/multiarray/static_string.c; where the arena is, numpy's C API says
(``NpyString_load``; its place in the table of functions is numpy 2's ABI, numpy/_core/code_generators/numpy_api.py).
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy._core import _multiarray_umath  # type: ignore[attr-defined]  # (where numpy's headers find the table, too)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pte_magic.targets.blocks import Blocks

_WORD = np.dtype(np.uintp)
_FLAGS = np.uintp(8 * _WORD.itemsize - 8)  # a byte of flags; below it the size
_MISSING, _OUTSIDE, _LONG = 0x80, 0x20, 0x10  # NPY_STRING_MISSING, NPY_STRING_OUTSIDE_ARENA, NPY_STRING_LONG
_LOAD = 313  # NpyString_load


class _Text(ctypes.Structure):
    """``npy_static_string``."""

    _fields_ = (("size", ctypes.c_size_t), ("buf", ctypes.c_void_p))


def add_text(array: NDArray[Any], found: Blocks) -> None:
    """Add the addresses of text that is not within an array's elements."""
    if not array.size:
        return
    words = np.asarray(_Raw(array)).view([("at", _WORD), ("size", _WORD)])  # little-endian, as all machines we know
    at, size, flags = words["at"], words["size"] & ~(np.uintp(0xFF) << _FLAGS), words["size"] >> _FLAGS
    filled = (size > 0) & (flags & _MISSING == 0)
    is_own = filled & (flags & _OUTSIDE != 0) & (flags & _LONG != 0)
    found.add_scattered(at[is_own], at[is_own] + size[is_own])
    in_arena = filled & (flags & _OUTSIDE == 0)
    if in_arena.any():
        index = np.unravel_index(np.argmax(in_arena), array.shape)
        where = array.ctypes.data + sum(int(i) * step for i, step in zip(index, array.strides, strict=True))
        starts = at[in_arena] + np.uintp(_address(array.dtype, where) - int(at[index]))
        found.add_scattered(starts, starts + size[in_arena])


class _Raw:
    """The elements as bytes; numpy itself has no such view of them."""

    def __init__(self, array: NDArray[Any]) -> None:
        self.__array_interface__ = {
            "data": (array.ctypes.data, True),
            "shape": array.shape,
            "strides": array.strides,
            "typestr": f"|V{array.itemsize}",
            "version": 3,
        }


def _address(dtype: np.dtype[Any], element: int) -> int:
    """Return the address of the text of the element at an address.

    The C API has a lock for the allocator, which would be held from one line of Python to the next. A thread that wants
    to use such strings meanwhile waits for it with the GIL, without which nobody releases it. It is not needed: all
    that is called below adds a number of the element to one of the allocator, and reads no text.
    """
    pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
        ("PyCapsule_GetPointer", ctypes.pythonapi)
    )
    table = ctypes.cast(pointer(_multiarray_umath._ARRAY_API, None), ctypes.POINTER(ctypes.c_void_p))  # noqa: SLF001  (numpy's C API)
    load = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.POINTER(_Text))(table[_LOAD])
    # The last member of PyArray_StringDTypeObject, which numpy/ndarraytypes.h makes public.
    allocator = ctypes.c_void_p.from_address(id(dtype) + type(dtype).__basicsize__ - ctypes.sizeof(ctypes.c_void_p))
    text = _Text()
    load(allocator, element, text)
    return text.buf or 0
