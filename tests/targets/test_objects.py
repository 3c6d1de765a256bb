"""Where objects keep their data: addresses from the objects' own interfaces, against what `memory` finds."""

from __future__ import annotations

import array
import ctypes
import functools
import gc
import io
import mmap
import multiprocessing
import pickle
import sys
import weakref
from dataclasses import dataclass
from multiprocessing import shared_memory
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from conftest import python
from handmade import PAGE
from hypothesis import given
from hypothesis import strategies as st

from pte_magic.errors import TargetError
from pte_magic.targets.objects import find, memory

if TYPE_CHECKING:
    from collections.abc import Iterator

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
def test_any_view_lies_from_its_first_to_its_last_element(of: tuple[tuple[int, int, int], ...], turned: bool) -> None:
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


@pytest.mark.parametrize(
    ("shape", "at"),
    [
        ((40, 2 * PAGE), np.s_[:, 0]),
        ((40, 2 * PAGE), np.s_[::-3, 5:9]),
        ((4, 6, 3 * PAGE), np.s_[:, ::2, :PAGE]),
        ((4, 6, 3 * PAGE), np.s_[::2, :, 7]),
        ((3, 2, 4 * PAGE), np.s_[:, 1]),
    ],
)
def test_pages_between_the_elements_of_a_view_are_not_its_memory(shape: tuple[int, ...], at: Any) -> None:
    view = np.zeros(shape, np.uint8)[at]
    touched = view.ctypes.data + sum(
        (np.arange(many) * step).reshape([-1 if on == axis else 1 for on in range(view.ndim)])
        for axis, (many, step) in enumerate(zip(view.shape, view.strides, strict=True))
    )  # the address of each element
    assert pages(memory(view)) == set((touched & -PAGE).ravel().tolist())
    assert find(view).note == ""


def test_a_view_of_too_many_pieces_is_shown_whole_and_that_is_said() -> None:
    many = np.lib.stride_tricks.as_strided(np.zeros(1, np.uint8), (1 << 20,), (4 * PAGE,), writeable=False)
    found = find(many)
    assert found.blocks == [(many.ctypes.data, many.ctypes.data + ((1 << 20) - 1) * 4 * PAGE + 1)]
    blocks = "its elements are 1,048,576 blocks with other memory between"
    assert found.note == f"{blocks}; all memory from first to last is shown"


SCALARS = [
    np.float64(1), np.float32(1), np.float16(1), np.longdouble(1), np.complex128(1), np.int8(1), np.uint64(1), np.True_,
    np.datetime64("2026-11-30"), np.timedelta64(1, "s"), np.bytes_(b"abc"), np.void(b"abcde"),
]  # fmt: skip


@pytest.mark.parametrize("scalar", SCALARS, ids=lambda scalar: type(scalar).__name__)
def test_a_scalar_of_numpy_is_its_own_buffer(scalar: Any) -> None:
    with memoryview(scalar) as view:
        expected = np.frombuffer(view, np.uint8).ctypes.data, view.nbytes
    assert [(start, end - start) for start, end in memory(scalar)] == [expected]
    assert id(scalar) < expected[0] < id(scalar) + sys.getsizeof(scalar) or isinstance(scalar, np.void)


def test_a_scalar_of_a_structured_array_is_in_the_array() -> None:
    assert memory(ROWS[3]) == [of_numpy(ROWS[3:4])]


def test_the_mask_of_an_array_belongs_to_it() -> None:
    masked: Any = np.ma.masked_array(np.arange(5000.0), np.arange(5000) % 2 == 0)
    data, mask = masked.data.ctypes.data, masked.mask.ctypes.data
    assert memory(masked) == [(data, data + 40000), (mask, mask + 5000)]
    masked = masked[10:20]
    assert memory(masked) == [(data + 80, data + 160), (mask + 10, mask + 20)]
    assert memory(np.ma.masked_array(GRID)) == [of_numpy(GRID)]


class Text(ctypes.Structure):
    _fields_ = (("size", ctypes.c_size_t), ("start", ctypes.c_void_p))


def texts(words: np.ndarray[Any, Any]) -> Blocks:
    """Return where each text of an array lies, as numpy's C API says, NpyString_load() and the like."""
    from numpy._core import _multiarray_umath as umath  # type: ignore[attr-defined]  # noqa: PLC0415  (only here)

    pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
        ("PyCapsule_GetPointer", ctypes.pythonapi)
    )
    table = ctypes.cast(pointer(umath._ARRAY_API, None), ctypes.POINTER(ctypes.c_void_p))
    load = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.POINTER(Text))(table[313])
    allocator = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object)(table[316])(words.dtype)
    found, text = [], Text()
    for at in range(len(words)):
        load(allocator, words.ctypes.data + at * words.strides[0], text)
        found.append((text.start or 0, (text.start or 0) + text.size))
    ctypes.PYFUNCTYPE(None, ctypes.c_void_p)(table[318])(allocator)
    return [block for block in found if block[0] < block[1]]


def of_lengths(lengths: list[int], **options: Any) -> np.ndarray[Any, Any]:
    return np.array(["ä" * length for length in lengths], np.dtypes.StringDType(**options))


@given(st.lists(st.integers(0, 9000), min_size=1, max_size=40), st.sampled_from([1, 2, -1, -3]), st.data())
def test_text_of_numpy_lies_where_its_c_api_says(lengths: list[int], step: int, data: st.DataObject) -> None:
    words = of_lengths(lengths)
    for at in data.draw(st.lists(st.integers(0, len(lengths) - 1), max_size=5)):
        words[at] = "b" * data.draw(st.integers(0, 3000))  # longer than before, it gets memory of its own
    view = words[::step]
    assert pages(memory(view)) == pages([bounds(view)]) | pages(texts(view))


def test_text_of_numpy_that_is_missing_has_no_memory() -> None:
    words = of_lengths([9000, 9000], na_object=None)
    words[0] = None
    assert pages(memory(words)) == pages([bounds(words)]) | pages(texts(words[1:]))


def bounds(view: np.ndarray[Any, Any]) -> tuple[int, int]:
    first, last = view.ctypes.data, view.ctypes.data + (len(view) - 1) * view.strides[0]
    return min(first, last), max(first, last) + view.itemsize


def pages(blocks: Blocks) -> set[int]:
    return {page for start, end in blocks for page in range(start & -PAGE, end, PAGE)}


def test_of_objects_an_array_has_references_only() -> None:
    found = find(np.array(["a", None], object))
    assert found.note == "its elements are references; the objects are elsewhere"
    assert find(np.zeros(2, [("a", "i4"), ("b", "O")])).note == found.note


def buffers() -> list[tuple[str, Any, int, int]]:
    """Return objects of the buffer protocol: name, object, address from elsewhere, bytes."""
    text, changing, numbers = b"x" * 5000, bytearray(5000), array.array("d", range(700))
    mapped, whole, record = mmap.mmap(-1, 8192), (ctypes.c_int * 40)(), Record()
    at = ctypes.cast(ctypes.c_char_p(text), ctypes.c_void_p).value or 0
    cube = np.zeros((4, 5, 6))[::2, ::-1, 1:3]
    turned: Any = np.asfortranarray(GRID)
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
        ("memoryview by columns", memoryview(turned), turned.ctypes.data, 12000),
        ("PickleBuffer by columns", pickle.PickleBuffer(turned), turned.ctypes.data, 12000),
        ("data by columns", turned.data, turned.ctypes.data, 12000),
        ("memoryview of three axes", cube.data, of_numpy(cube)[0], of_numpy(cube)[1] - of_numpy(cube)[0]),
        ("memoryview of rows", ROWS.data, ROWS.ctypes.data, ROWS.nbytes),
        ("read-only memoryview", memoryview(turned).toreadonly(), turned.ctypes.data, 12000),
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


OBJECTS = [
    object(), 5, -5, 1 << 1000, True, None, 1.5, "abc", "ä" * 5000, [1, 2], (1, 2), {1: 2}, {1}, int, Record, Device,
    lambda: 1, sys, (_ for _ in ""), np.float64, print, Ellipsis, range(5), Exception("x"), iter([]),
]  # fmt: skip


@pytest.mark.parametrize("thing", OBJECTS, ids=lambda thing: type(thing).__name__)
def test_other_objects_lie_where_their_id_says(thing: object) -> None:
    ((start, end),) = memory(thing)
    head = sys.getsizeof(thing) - type(thing).__sizeof__(thing)  # the garbage collector's
    assert start == id(thing) - head
    assert head < end - start <= sys.getsizeof(thing)  # which also counts what hangs on it
    assert find(thing).is_itself


def test_what_is_not_in_an_object_is_said() -> None:
    said = {type(thing): find(thing).note for thing in OBJECTS}
    for whole in (object, int, bool, float, str, type(None)):
        assert said[whole] == ""
    assert find([]).note == f"the list object itself, {sys.getsizeof([])} bytes; its items are elsewhere"
    assert find([0] * 10**6).note == find([]).note
    assert said[dict].endswith("; its items are elsewhere")
    assert said[range].endswith("; its items are made on demand")
    assert find(lambda: 1).note.endswith("; the objects that it refers to are elsewhere")


class Name(str):
    __slots__ = ()


def test_a_string_is_all_of_its_characters() -> None:
    text = "ä" * 5000
    ((start, end),) = memory(text)
    assert (start, end - start) == (id(text), sys.getsizeof(text))
    text.encode()
    assert ctypes.pythonapi.PyUnicode_AsUTF8(ctypes.py_object(text))  # which is kept elsewhere
    assert sys.getsizeof(text) > 15000
    assert memory(text) == [(start, end)]


@pytest.mark.parametrize("text", ["a", "a" * 9000, "ä" * 9000, "€" * 9000, "😀" * 9000])
@pytest.mark.parametrize("kind", [Name, np.str_])
def test_a_string_of_a_subclass_has_its_characters_elsewhere(kind: type[str], text: str) -> None:
    thing = kind(text)
    (start, end), (own, _) = memory(thing)
    code = {1: "latin-1", 2: "utf-16-le", 4: "utf-32-le"}[(end - start) // (len(text) + 1)]
    assert ctypes.string_at(start, end - start).decode(code) == text + "\0"
    assert own <= id(thing)


def test_pointers_are_told_from_what_they_point_to() -> None:
    number = ctypes.c_int(4)
    for thing in (ctypes.pointer(number), ctypes.c_char_p(b"text"), ctypes.c_void_p(8), ctypes.CFUNCTYPE(None)(print)):
        found = find(thing)
        assert found.blocks == [(ctypes.addressof(thing), ctypes.addressof(thing) + ctypes.sizeof(ctypes.c_void_p))]
        assert found.note == f"the {type(thing).__name__} itself; the memory that it points to is elsewhere"
    assert find(number).note == ""


@pytest.fixture
def shared() -> Iterator[shared_memory.SharedMemory]:
    found = shared_memory.SharedMemory(create=True, size=3 * PAGE)
    yield found
    found.close()
    found.unlink()


def test_shared_memory_is_what_is_mapped(shared: shared_memory.SharedMemory) -> None:
    start = of_ctypes(shared.buf)
    gc.collect()
    assert memory(shared) == [(start, start + shared.size)]


def test_closed_shared_memory_is_refused_in_a_line() -> None:
    found = shared_memory.SharedMemory(create=True, size=PAGE)
    found.close()
    found.unlink()
    with pytest.raises(TargetError, match="the SharedMemory was closed, so it is not mapped any more"):
        memory(found)


def test_memory_for_other_processes_is_what_is_within_the_lock() -> None:
    numbers, number = multiprocessing.Array("d", 700), multiprocessing.Value("d", 1)
    start = ctypes.addressof(numbers.get_obj())
    assert memory(numbers) == [(start, start + 5600)]
    start = ctypes.addressof(number.get_obj())
    assert memory(number) == [(start, start + 8)]


def test_a_stream_of_bytes_is_not_copied_for_a_look() -> None:
    content = b"x" * 500_000
    stream = io.BytesIO(content)
    before = sys.getsizeof(stream)
    assert memory(stream) == memory(content)
    assert sys.getsizeof(stream) == before  # it still uses the bytes that it was made of
    stream.seek(0, io.SEEK_END)
    stream.write(b"y" * 500_000)
    at, before = stream.tell(), sys.getsizeof(stream)
    with stream.getbuffer() as view:
        start = of_ctypes(view)
    assert memory(stream) == [(start, start + 1_000_000)]
    assert (stream.tell(), sys.getsizeof(stream)) == (at, before)
    stream.write(b"z" * 1_000_000)  # BufferError if it were still exported


@dataclass
class Point:
    x: np.ndarray[Any, Any]
    y: list[np.ndarray[Any, Any]]
    name: str = "here"
    _hidden: Any = None


@dataclass(slots=True)
class Slotted:
    x: np.ndarray[Any, Any]
    other: int = 3


def test_arrays_in_public_attributes_are_shown_and_named() -> None:
    found = find(Point(GRID, [ROWS, VIEWS[10]], _hidden=np.ones(5)))
    assert found.blocks == [of_numpy(GRID), of_numpy(ROWS), of_numpy(VIEWS[10])]
    assert found.note == "of the Point: x, y"
    assert find(Slotted(GRID)) == ([of_numpy(GRID)], "of the Slotted: x", False)


def test_an_object_gets_no_dictionary_by_a_look() -> None:
    thing = Point(GRID, [ROWS])
    before = gc.get_referents(thing)  # with the dictionary of its attributes, if it has one
    assert memory(thing) == [of_numpy(GRID), of_numpy(ROWS)]
    assert [id(one) for one in gc.get_referents(thing)] == [id(one) for one in before]
    thing.more = ROWS["b"]  # type: ignore[attr-defined]
    before = gc.get_referents(thing)
    found = find(thing)
    assert found.blocks == [of_numpy(GRID), of_numpy(ROWS), of_numpy(ROWS["b"])]
    assert [id(one) for one in gc.get_referents(thing)] == [id(one) for one in before]
    assert found.note in {  # only a dictionary tells the names that no method of the class sets
        "of the Point: x, y, attributes whose names are not known",
        "of the Point: x, y, more",
    }
    vars(thing)
    assert find(thing).note == "of the Point: x, y, more"


def test_a_weak_proxy_is_what_it_stands_for() -> None:
    thing = Point(GRID, [])
    proxy = weakref.proxy(thing)
    assert memory(proxy) == [of_numpy(GRID)]
    del thing
    with pytest.raises(TargetError, match="weakly-referenced object no longer exists"):
        memory(proxy)


class Asked:
    """Counts how often code of it runs that a look has no business with."""

    times = 0

    def __array__(self, *_: object, **__: object) -> np.ndarray[Any, Any]:
        Asked.times += 1
        return np.ones(1000)

    def __getattr__(self, name: str) -> Any:
        Asked.times += 1
        return self

    @property
    def data(self) -> np.ndarray[Any, Any]:
        Asked.times += 1
        return np.ones(1000)

    @functools.cached_property
    def __array_interface__(self) -> dict[str, Any]:
        Asked.times += 1
        return np.ones(1000).__array_interface__

    def __sizeof__(self) -> int:
        Asked.times += 1
        return 1 << 20

    def __iter__(self) -> Any:
        Asked.times += 1
        return iter("")

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        Asked.times += 1
        return requested_schema

    @property
    def __class__(self) -> Any:
        Asked.times += 1
        return np.ndarray

    @__class__.setter
    def __class__(self, _: object) -> None: ...


def test_no_code_of_an_object_runs_that_may_compute() -> None:
    thing = Asked()
    found = find(thing)
    assert Asked.times == 0
    assert found.is_itself
    assert found.note.startswith("the Asked object itself, ")
    assert found.note.endswith("; its data is elsewhere, or made when numpy.asarray() asks for it")


class AnewInterface:
    @property
    def __array_interface__(self) -> dict[str, Any]:
        made = np.ones(50_000)
        return {**made.__array_interface__, "data": made.data.cast("B")}


class AnewTensor:
    def __dlpack_device__(self) -> tuple[int, int]:
        return 1, 0

    def __dlpack__(self, **options: Any) -> object:
        return np.ones(50_000).__dlpack__(**options)


@pytest.mark.parametrize("thing", [AnewInterface(), AnewTensor()], ids=lambda thing: type(thing).__name__)
def test_what_is_made_anew_is_refused_in_a_line(thing: object) -> None:
    with pytest.raises(TargetError, match=f"^the {type(thing).__name__} makes new data at each access") as caught:
        memory(thing)
    assert len(str(caught.value).splitlines()) == 1


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


def test_strings_are_looked_at_while_another_thread_uses_them() -> None:
    """numpy waits for their lock with the GIL, so nobody may have it from one line of Python to the next."""
    out = python("""
import sys, threading
import numpy as np
from pte_magic.targets.objects import find
a = np.array(["a" * 1000] * 4, np.dtypes.StringDType())
first, ended = find(a), threading.Event()

def use():
    while not ended.is_set():
        a[0]

thread = threading.Thread(target=use, daemon=True)
sys.setswitchinterval(1e-6)
thread.start()
print(all(find(a) == first for _ in range(3000)))
ended.set()
thread.join()
""")
    assert out == "True"
