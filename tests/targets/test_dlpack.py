"""Bounds by DLPack are those that numpy knows of its own arrays, and hold for types that numpy does not know."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib.array_utils import byte_bounds

from pte_magic.errors import TargetError
from pte_magic.targets import dlpack
from pte_magic.targets.blocks import Blocks
from pte_magic.targets.objects import memory

SLICES = st.tuples(st.integers(0, 5), st.integers(0, 7), st.sampled_from([-3, -2, -1, 1, 2, 3]))


@given(st.tuples(SLICES, SLICES, SLICES), st.sampled_from(["u1", "i2", "f4", "f8", "c16"]), st.permutations(range(3)))
def test_bounds_are_numpys(cuts: tuple[tuple[int, int, int], ...], dtype: str, order: list[int]) -> None:
    parts = tuple(slice(min(a, b), max(a, b), step) for a, b, step in cuts)
    view = np.zeros((6, 7, 8), dtype)[parts].transpose(order)
    found = Blocks()
    with dlpack.exported(view, found):
        assert found.found == ([byte_bounds(view)] if view.size else [])


def capsule(address: int, name: bytes) -> Any:
    new = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)(
        ("PyCapsule_New", ctypes.pythonapi)
    )
    return new(address, name, None)


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
        return capsule(ctypes.addressof(self.managed), b"dltensor")


class Versioned:
    """A tensor of 10 x 3 elements of some bits, with flags."""

    def __init__(self, bits: int, flags: int) -> None:
        self.data, self.shape = (ctypes.c_uint8 * 60)(), (ctypes.c_int64 * 2)(10, 3)
        self.managed = dlpack.VersionedTensor((1, 1), None, None, flags)
        tensor = self.managed.dl_tensor
        tensor.data, tensor.device_type = ctypes.addressof(self.data), 1
        tensor.ndim, tensor.code, tensor.bits, tensor.lanes = 2, 0, bits, 1
        tensor.shape = ctypes.cast(self.shape, ctypes.POINTER(ctypes.c_int64))
        self.asked: list[dict[str, object]] = []

    def __dlpack_device__(self) -> tuple[int, int]:
        return 1, 0

    def __dlpack__(self, **options: object) -> Any:
        self.asked.append(options)
        return capsule(ctypes.addressof(self.managed), b"dltensor_versioned")


class Old(Bfloat16):
    """An exporter of before 2023, which knows no options, of two elements in one, from the third on."""

    def __init__(self, device: int) -> None:
        super().__init__()
        tensor = dlpack.Tensor.from_buffer(self.managed)
        tensor.device_type, tensor.lanes, tensor.byte_offset = device, 2, 8
        self.shape[0], self.shape[1] = 2, 2
        self.device = device

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device, 0

    def __dlpack__(self) -> Any:  # type: ignore[override]
        return super().__dlpack__()


@pytest.mark.parametrize("device", [1, 3, 11])  # kDLCPU, kDLCUDAHost, kDLROCMHost of dlpack.h
def test_an_older_exporter_and_memory_that_a_device_reads_too(device: int) -> None:
    tensor = Old(device)
    start = ctypes.addressof(tensor.data) + 8
    assert memory(tensor) == [(start, start + 2 * 2 * 4)]


@pytest.mark.parametrize(("bits", "flags", "size"), [(8, 0, 30), (16, 0, 60), (4, 0, 15), (4, 4, 30), (6, 0, 23)])
def test_small_elements_lie_several_in_a_byte_unless_it_is_said(bits: int, flags: int, size: int) -> None:
    tensor = Versioned(bits, flags)
    start = ctypes.addressof(tensor.data)
    assert memory(tensor) == [(start, start + size)]


def test_a_copy_is_not_asked_for_and_not_taken() -> None:
    tensor = Versioned(8, 2)  # DLPACK_FLAG_BITMASK_IS_COPIED of dlpack.h
    with pytest.raises(TargetError, match="the Versioned exports only a copy of its elements, by DLPack"):
        memory(tensor)
    assert [options["copy"] for options in tensor.asked] == [False]


def test_an_element_type_that_numpy_refuses() -> None:
    tensor = Bfloat16()
    with pytest.raises((BufferError, RuntimeError)):
        np.from_dlpack(tensor)
    start = ctypes.addressof(tensor.data)
    assert memory(tensor) == [(start, start + 30)]
