"""Where objects keep their data: addresses from the objects' own interfaces, against what `memory` finds."""

from __future__ import annotations

import array
import ctypes
import gc
import mmap
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pte_magic.errors import TargetError
from pte_magic.memory import memory

if TYPE_CHECKING:
    from collections.abc import Callable

Blocks = list[tuple[int, int]]


class Record(ctypes.Structure):
    _fields_ = (("small", ctypes.c_char), ("large", ctypes.c_double))


class ThroughInterface:
    """An array that is seen only through numpy's protocol."""

    def __init__(self) -> None:
        self.array = np.arange(100.0)
        self.__array_interface__ = self.array.__array_interface__


class ThroughDlpack:
    """An array that is seen only through DLPack."""

    def __init__(self) -> None:
        self.array = np.arange(100.0)

    def __dlpack_device__(self) -> tuple[int, int]:
        return 1, 0

    def __dlpack__(self, **options: Any) -> object:
        return self.array.__dlpack__(**options)


class Device:
    """A tensor that is said to be somewhere."""

    def __init__(self, kind: int) -> None:
        self.kind = kind

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.kind, 0

    def __dlpack__(self, **_: object) -> object:
        message = "nothing to see"
        raise BufferError(message)


class CudaArray:
    __cuda_array_interface__ = {"shape": (1,), "typestr": "<f8", "data": (0x7F0000000000, False), "version": 3}  # noqa: RUF012


def of_numpy(found: np.ndarray[Any, Any]) -> tuple[int, int]:
    """Return the bytes from the first to the last element, by a walk over the strides."""
    first = int(found.__array_interface__["data"][0])
    reach = [(size - 1) * stride for size, stride in zip(found.shape, found.strides, strict=True)]
    return first + sum(min(step, 0) for step in reach), first + sum(max(step, 0) for step in reach) + found.itemsize


def of_ctypes(thing: Any, offset: int = 0) -> int:
    return ctypes.addressof((ctypes.c_char * 1).from_buffer(thing, offset))


GRID = np.arange(3000, dtype=np.int32).reshape(60, 50)
ROWS = np.zeros(50, [("a", "i1"), ("b", "f8")])
VIEWS = [
    GRID, GRID[::-1], GRID[::3, ::-2], GRID.T, GRID[5:7, 10:], GRID[3, 4], GRID[-1:, -1:], ROWS, ROWS["b"],
    ROWS[::-1]["a"], np.array(5.0), np.broadcast_to(np.float64(1), (sys.maxsize >> 4,)), np.asfortranarray(GRID),
    np.ma.masked_array(GRID), np.array(["a", None], object), np.array(["ab"]), ROWS.view(np.recarray),
]  # fmt: skip


@pytest.mark.parametrize("view", [np.asarray(view) for view in VIEWS])
def test_numpy_views(view: np.ndarray[Any, Any]) -> None:
    assert memory(view) == [of_numpy(view)]


slices = st.tuples(st.integers(-6, 6), st.integers(-6, 6), st.sampled_from([-3, -2, -1, 1, 2, 3]))


@given(st.tuples(slices, slices), st.booleans())
def test_any_view_lies_from_its_first_to_its_last_element(of: tuple[tuple[int, int, int], ...], turned: bool) -> None:  # noqa: FBT001
    view = np.arange(30, dtype=np.int16).reshape(5, 6)[tuple(slice(*part) for part in of)]
    view = view.T if turned else view
    addresses = [
        view[at : at + 1, on : on + 1].ctypes.data for at in range(view.shape[0]) for on in range(view.shape[1])
    ]
    if addresses:
        assert memory(view) == [(min(addresses), max(addresses) + 2)]
    else:
        with pytest.raises(TargetError, match="0 bytes"):
            memory(view)


def buffers() -> list[tuple[str, Any, int, int]]:
    """Return objects of the buffer protocol: name, object, address from elsewhere, bytes."""
    text, changing, numbers = b"x" * 5000, bytearray(5000), array.array("d", range(700))
    mapped, whole, record = mmap.mmap(-1, 8192), (ctypes.c_int * 40)(), Record()
    at = ctypes.cast(ctypes.c_char_p(text), ctypes.c_void_p).value or 0
    return [
        ("bytes", text, at, 5000),
        ("bytearray", changing, of_ctypes(changing), 5000),
        ("array", numbers, numbers.buffer_info()[0], 5600),
        ("mmap", mapped, of_ctypes(mapped), 8192),
        ("ctypes array", whole, ctypes.addressof(whole), 160),
        ("ctypes structure", record, ctypes.addressof(record), ctypes.sizeof(record)),
        ("ctypes number", number := ctypes.c_int(4), ctypes.addressof(number), 4),
        ("memoryview", memoryview(text)[10:20], at + 10, 10),
        ("memoryview with steps", memoryview(text)[10:20:3], at + 10, 10),
        ("memoryview backwards", memoryview(text)[20:10:-3], at + 11, 10),
        ("__array_interface__", view := ThroughInterface(), view.array.ctypes.data, 800),
        ("DLPack", tensor := ThroughDlpack(), tensor.array.ctypes.data, 800),
    ]


@pytest.mark.parametrize(
    ("thing", "address", "size"), [case[1:] for case in buffers()], ids=[case[0] for case in buffers()]
)
def test_buffers(thing: Any, address: int, size: int) -> None:
    assert memory(thing) == [(address, address + size)]


def test_read_only_tensors() -> None:
    tensor = ThroughDlpack()
    tensor.array.flags.writeable = False
    assert memory(tensor) == [of_numpy(tensor.array)]


NUMBERS = pd.Series(np.arange(100.0))
CATEGORIES = pd.Series(["a", "b"] * 50, dtype="category")
MASKED = pd.Series([1, None, 3], dtype="Int64")
TIMES = pd.Series(pd.date_range("2026-01-01", periods=100, tz="UTC"))
COLUMNS: list[tuple[Any, Callable[[], Blocks]]] = [
    (NUMBERS, lambda: [of_numpy(NUMBERS.to_numpy())]),
    (pd.Index(NUMBERS), lambda: [of_numpy(NUMBERS.to_numpy())]),
    (MASKED, lambda: [of_numpy(MASKED.array._data), of_numpy(MASKED.array._mask)]),
    (CATEGORIES, lambda: [of_numpy(CATEGORIES.array._ndarray)]),
    (TIMES, lambda: [of_numpy(TIMES.array._ndarray)]),
]
KINDS = ["float", "index", "masked", "category", "time zone"]


@pytest.mark.parametrize(("column", "expected"), COLUMNS, ids=KINDS)
def test_pandas_columns(column: Any, expected: Callable[[], Blocks]) -> None:
    assert memory(column) == expected()


def test_a_data_frame_is_its_columns() -> None:
    table = pd.DataFrame({"a": np.arange(5), "b": np.arange(5.0), "c": pd.array([1, 2, 3, 4, None], "UInt64")})
    assert memory(table) == [block for name in "abc" for block in memory(table[name])]


OBJECTS = [
    object(), 5, -5, 1 << 1000, True, None, 1.5, "abc", "ä" * 5000, [1, 2], (1, 2), {1: 2}, {1}, int, Record, Device,
    lambda: 1, sys, (_ for _ in ""), np.float64, print, Ellipsis, range(5), Exception("x"), iter([]),
]  # fmt: skip


@pytest.mark.parametrize("thing", OBJECTS, ids=lambda thing: type(thing).__name__)
def test_other_objects_lie_where_their_id_says(thing: object) -> None:
    ((start, end),) = memory(thing)
    assert start == id(thing)
    assert 0 < end - start <= sys.getsizeof(thing)  # which also counts what hangs on it


def test_a_string_is_all_of_its_characters() -> None:
    text = "ä" * 5000
    ((start, end),) = memory(text)
    assert (start, end - start) == (id(text), sys.getsizeof(text))


def released() -> memoryview:
    view = memoryview(b"x")
    view.release()
    return view


def closed() -> mmap.mmap:
    mapped = mmap.mmap(-1, 4096)
    mapped.close()
    return mapped


@pytest.mark.parametrize(
    ("thing", "message"),
    [
        (b"", "the bytes holds 0 bytes, so there is no page to look at"),
        (np.empty((3, 0)), "the ndarray holds 0 bytes, so there is no page to look at"),
        (pd.DataFrame(), "the DataFrame holds 0 bytes"),
        (released(), "the memoryview gives no access to its memory: operation forbidden on released memoryview"),
        (closed(), "the mmap gives no access to its memory: mmap closed or invalid"),
        (Device(2), "the Device lies in the memory of a CUDA GPU, .* copy it to the CPU first"),
        (Device(10), "the Device lies in the memory of a ROCm GPU"),
        (Device(99), "the Device lies in the memory of device type 99"),
        (Device(1), "the Device gives no access to its memory: nothing to see"),
        (CudaArray(), "the CudaArray lies in the memory of a CUDA GPU"),
    ],
)
def test_what_has_no_memory_here_is_refused_in_a_line(thing: object, message: str) -> None:
    with pytest.raises(TargetError, match=message) as caught:
        memory(thing)
    assert len(str(caught.value).splitlines()) == 1


class Hostile:
    @property
    def __array_interface__(self) -> object:
        message = "not today"
        raise OSError(message)


def test_an_object_whose_own_code_fails_is_refused_in_a_line() -> None:
    with pytest.raises(TargetError, match="not today"):
        memory(Hostile())


def test_nothing_is_kept() -> None:
    changing, mapped = bytearray(100), mmap.mmap(-1, 4096)
    memory(changing)
    memory(mapped)
    gc.collect()
    changing.append(1)  # BufferError if an export were left
    mapped.close()
