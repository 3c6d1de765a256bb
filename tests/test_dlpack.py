"""Bounds by DLPack are those that numpy knows of its own arrays, and hold for types that numpy does not know."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib.array_utils import byte_bounds

from pte_magic import dlpack
from pte_magic.memory import memory

SLICES = st.tuples(st.integers(0, 5), st.integers(0, 7), st.sampled_from([-3, -2, -1, 1, 2, 3]))


@given(st.tuples(SLICES, SLICES, SLICES), st.sampled_from(["u1", "i2", "f4", "f8", "c16"]), st.permutations(range(3)))
def test_bounds_are_numpys(cuts: tuple[tuple[int, int, int], ...], dtype: str, order: list[int]) -> None:
    parts = tuple(slice(min(a, b), max(a, b), step) for a, b, step in cuts)
    view = np.zeros((6, 7, 8), dtype)[parts].transpose(order)
    first, last = dlpack.bounds(view)
    assert first == last if view.size == 0 else (first, last) == byte_bounds(view)


class Bfloat16:
    """A tensor of 3 x 5 packed bfloat16, which numpy refuses."""

    def __init__(self) -> None:
        self.data = (ctypes.c_uint16 * 15)()
        self.shape = (ctypes.c_int64 * 2)(3, 5)
        self.managed = (ctypes.c_char * (ctypes.sizeof(dlpack.Tensor) + 16))()  # no manager, no deleter
        tensor = dlpack.Tensor.from_buffer(self.managed)
        tensor.data, tensor.device_type = ctypes.addressof(self.data), 1
        tensor.ndim, tensor.code, tensor.bits, tensor.lanes = 2, 4, 16, 1
        tensor.shape = ctypes.cast(self.shape, ctypes.POINTER(ctypes.c_int64))

    def __dlpack_device__(self) -> tuple[int, int]:
        return 1, 0

    def __dlpack__(self, **_: object) -> Any:
        new = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)(
            ("PyCapsule_New", ctypes.pythonapi)
        )
        return new(ctypes.addressof(self.managed), b"dltensor", None)


def test_an_element_type_that_numpy_refuses() -> None:
    tensor = Bfloat16()
    with pytest.raises((BufferError, RuntimeError)):
        np.from_dlpack(tensor)
    start = ctypes.addressof(tensor.data)
    assert memory(tensor) == [(start, start + 30)]
