"""A look runs no code of an object: not where pandas, numpy and others keep their data, nor of what stands for it."""

from __future__ import annotations

import weakref
from multiprocessing import shared_memory
from typing import Any
from unittest.mock import MagicMock, Mock

import numpy as np
import pandas as pd
import pytest

import pte_magic
from pte_magic.errors import TargetError
from pte_magic.targets import memory_in_attributes
from pte_magic.targets.objects import find, memory

pa: Any = pytest.importorskip("pyarrow")
REAL = np.arange(5000.0)


class Computes:
    """A property that counts how often it was evaluated."""

    def __init__(self) -> None:
        self.times = 0

    def __get__(self, thing: object, kind: type | None = None) -> Any:
        self.times += thing is not None
        return self if thing is None else np.ones(1 << 10)

    def __set__(self, thing: object, value: object) -> None: ...


def of_numpy(array: np.ndarray[Any, Any]) -> tuple[int, int]:
    return array.ctypes.data, array.ctypes.data + array.nbytes


def with_property(kind: type, name: str) -> tuple[Any, Computes]:
    """Return a subclass that has a property of this name."""
    computes = Computes()
    return type("Sub", (kind,), {name: computes}), computes


class Extension(pd.api.extensions.ExtensionArray):
    def __init__(self) -> None:
        self.real = REAL


@pytest.mark.parametrize(
    "name", ["_ndarray", "_data", "_mask", "_left", "_right", "_pa_array", "_sparse_values", "real_"]
)
def test_of_an_extension_array_no_property_is_evaluated(name: str) -> None:
    kind, computes = with_property(Extension, name)
    assert memory(kind()) == [of_numpy(REAL)]
    assert computes.times == 0


def test_of_a_masked_array_no_property_is_evaluated() -> None:
    kind, computes = with_property(np.ma.MaskedArray, "_mask")
    array = REAL.view(kind)
    computes.times = 0  # numpy asked, to make it
    assert memory(array) == [of_numpy(REAL)]
    assert computes.times == 0


def test_a_mask_that_is_the_array_itself_ends() -> None:
    array = np.ma.array(REAL, mask=np.zeros(5000, bool))
    vars(array)["_mask"] = array  # where numpy keeps it
    assert set(memory(array)) == {of_numpy(array.data)}


def test_of_a_frame_neither_its_index_nor_its_manager_is_asked_for() -> None:
    for name in ("index", "columns", "values", "axes"):
        kind, computes = with_property(pd.DataFrame, name)
        frame = kind({"a": REAL})
        expected = memory(pd.DataFrame(frame))
        computes.times = 0
        assert memory(frame) == expected
        assert computes.times == 0
    kind, computes = with_property(pd.DataFrame, "_mgr")
    assert find(kind.__new__(kind)).is_itself
    assert computes.times == 0


def test_of_categories_no_property_is_evaluated() -> None:
    plain = pd.Categorical(["a", "b"] * 500)
    for name in ("categories", "codes", "dtype"):
        kind, computes = with_property(pd.Categorical, name)
        array = kind.__new__(kind)
        array.__setstate__((plain.dtype, plain.codes, {}))
        computes.times = 0
        assert memory(array) == memory(plain)
        assert computes.times == 0


def test_of_sparse_values_no_property_is_evaluated() -> None:
    plain = pd.arrays.SparseArray(np.arange(1000) % 3)
    kind, computes = with_property(pd.arrays.SparseArray, "sp_index")
    array = kind.__new__(kind)
    vars(array).update(vars(plain))
    assert memory(array) == memory(plain)
    assert computes.times == 0


class Kilograms(pa.ExtensionType):  # type: ignore[misc]  # pyarrow has no types
    times = 0

    def __init__(self) -> None:
        super().__init__(pa.float64(), "kilograms")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, *_: object) -> Kilograms:
        return cls()

    def __arrow_ext_class__(self) -> type:
        return Weights


class Weights(pa.ExtensionArray):  # type: ignore[misc]  # as above
    @property
    def storage(self) -> Any:
        Kilograms.times += 1
        return pa.array([1.0])

    def slice(self, *_: int) -> Any:
        Kilograms.times += 1
        return pa.array([1.0])

    def buffers(self) -> Any:
        Kilograms.times += 1
        return []

    def __len__(self) -> int:
        Kilograms.times += 1
        return 1


def test_of_arrow_s_extension_arrays_no_method_is_called() -> None:
    plain = pa.array(REAL)
    array = pa.ExtensionArray.from_storage(Kilograms(), plain)
    lists = pa.ListArray.from_arrays(pa.array([0, 5000], pa.int32()), array)
    Kilograms.times = 0
    expected = memory(plain)
    assert memory(array) == expected
    assert memory(pa.chunked_array([array])) == expected
    assert expected[0] in memory(lists)
    assert Kilograms.times == 0


def test_of_shared_memory_no_property_is_evaluated() -> None:
    kind, computes = with_property(shared_memory.SharedMemory, "buf")
    found = kind(create=True, size=5000)
    try:
        expected = memory(found._mmap)
        computes.times = 0
        assert memory(found) == expected
        assert computes.times == 0
    finally:
        found.close()
        found.unlink()


def test_slots_are_read_and_getters_are_not() -> None:
    class Slotted:
        __slots__ = ("held",)

    thing = Slotted()
    assert memory_in_attributes.own(thing, "held") is None
    thing.held = REAL  # type: ignore[attr-defined]  # a slot
    assert memory_in_attributes.own(thing, "held") is REAL
    assert memory_in_attributes.own(REAL, "T") is None


def test_a_proxy_s_object_is_not_asked_for_anything() -> None:
    class Held:
        times = 0

        def __init__(self) -> None:
            self.data = REAL

        def __getattribute__(self, name: str) -> Any:
            Held.times += 1
            return object.__getattribute__(self, name)

    thing = Held()
    Held.times = 0
    assert memory(weakref.proxy(thing)) == [of_numpy(REAL)]
    assert Held.times == 0


class Odd(type):
    """A metaclass that counts what it is asked for."""

    times = 0

    def __getattribute__(cls, name: str) -> Any:
        Odd.times += 1
        return super().__getattribute__(name)

    def __eq__(cls, other: object) -> bool:
        Odd.times += 1
        return cls is other

    def __hash__(cls) -> int:
        Odd.times += 1
        return 0


class OfOdd(metaclass=Odd):
    pass


class Holding:
    """An object with objects of a class with such a metaclass in its attributes, and as an attribute of its class."""

    odd = OfOdd()

    def __init__(self) -> None:
        self.several, self.one, self.array = [OfOdd()], OfOdd(), np.ones(10)


def test_names_of_attributes_are_escaped() -> None:
    thing = Holding()
    thing.__dict__ = {"a\ud800": np.ones(10)}
    assert find(thing).note == r"of the Holding: a\ud800"


def test_a_metaclass_is_not_asked() -> None:
    thing = OfOdd()
    Odd.times = 0
    found = find(thing)
    assert Odd.times == 0
    assert found.note.startswith("the OfOdd object itself, ")
    assert find(Holding()).note == "of the Holding: array"
    assert memory_in_attributes.own(thing, "odd") is None
    assert memory_in_attributes.own(Holding(), "odd") is Holding.odd
    assert Odd.times == 0


def liar(said: Any) -> object:
    """Return an object with a ``__class__`` that it is not of."""

    class Liar:
        @property
        def __class__(self) -> Any:
            if isinstance(said, Exception):
                raise said
            return said

        @__class__.setter
        def __class__(self, _: object) -> None: ...

    return Liar()


class Never:
    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)


LIARS = [
    *map(liar, (int, str, bool, np.ndarray, pd.DataFrame, np.int64, RuntimeError("no class"))),
    Never(),
    Mock(spec=str),
    MagicMock(spec=int),
    Mock(spec=np.ndarray),
]


@pytest.mark.parametrize("at", range(len(LIARS)))  # pytest itself would ask for their classes
@pytest.mark.parametrize(
    "look", [pte_magic.walk, pte_magic.entries, lambda thing: pte_magic.watch(thing).stop()], ids=range(3)
)
def test_an_object_is_what_its_type_says(look: Any, at: int) -> None:
    with pytest.warns(UserWarning, match=r"^the \w+ object itself, "):
        look(LIARS[at])


def test_a_dead_proxy_is_told_in_a_line() -> None:
    with pytest.raises(TargetError, match=r"^the \w+ gives no access to its memory: weakly-referenced object no"):
        pte_magic.walk(weakref.proxy(liar(int)))
