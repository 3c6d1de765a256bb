"""From names to the addresses of their memory and back, against Python's own sizes and what was made."""

from __future__ import annotations

import functools
import gc
import sys
import threading
import types
import weakref
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pte_magic.errors import TargetError
from pte_magic.targets import freed_by_del, indices, object_graph
from pte_magic.targets.disjoint import disjoint, keys, touching
from pte_magic.targets.numbered_addresses import Places
from pte_magic.targets.owners import Owners, owners

HEAD = sys.getsizeof(()) - ().__sizeof__()  # of the garbage collector


def total(found: Owners, name: str, *states: int) -> int:
    at = found.owner == found.names.index(name)
    if states:
        at &= np.isin(found.state, states)
    return int((found.end - found.start)[at].sum())


def frees(found: Owners, name: str) -> int:
    return total(found, name, freed_by_del.ENDS)


def merged(ranges: list[tuple[int, int]]) -> int:
    """Return how many bytes are in one of some ranges at least, by going from one to the next."""
    bytes_, reach = 0, 0
    for start, end in sorted(ranges):
        bytes_ += max(0, end - max(start, reach))
        reach = max(reach, end)
    return bytes_


def by_hand(thing: Any, seen: dict[int, list[tuple[int, int]]]) -> None:
    """Add the memory of what `a_graph` makes, as Python and numpy tell it."""
    if id(thing) in seen:
        return
    kind, head = type(thing), HEAD if gc.is_tracked(thing) or type(thing) in {list, dict, tuple} else 0
    size = object.__sizeof__(thing) if kind in {list, dict, np.ndarray} else sys.getsizeof(thing) - head
    ranges = seen[id(thing)] = [(id(thing) - head, id(thing) + -(-size // 16) * 16)]  # whole blocks
    if kind is np.ndarray:
        if thing.base is None:
            ranges.append((thing.ctypes.data, thing.ctypes.data + thing.nbytes))
        else:
            by_hand(thing.base, seen)
    for one in thing.values() if kind is dict else thing if kind in {list, tuple} else ():
        by_hand(one, seen)


@st.composite
def a_graph(draw: st.DrawFn) -> list[Any]:
    """Return objects that hold each other: tuples, lists, arrays and views, the later ones of the earlier ones."""
    made: list[Any] = [np.ones(100), bytes(2000), "letters" * 9, 2.5]
    for _ in range(draw(st.integers(1, 25))):
        some = draw(st.lists(st.sampled_from(range(len(made))), max_size=6))
        kind = draw(st.sampled_from(["tuple", "list", "array", "view", "slice", "cycle"]))
        arrays = [one for one in made if type(one) is np.ndarray]
        if kind == "array":
            made.append(np.ones(draw(st.integers(1, 5000))))
        elif kind == "view":
            made.append(arrays[draw(st.sampled_from(range(len(arrays))))][::-2])
        elif kind == "slice":
            made.append(arrays[some[0] % len(arrays) if some else 0][5:9])
        elif kind == "cycle":
            loop = [made[one] for one in some]
            loop.append(loop)
            made.append(loop)
        else:
            made.append((tuple if kind == "tuple" else list)(made[one] for one in some))
    return made


def one_by_one(few: int) -> pytest.MonkeyPatch:
    """Follow objects one by one where a level has no more than some, and else many at once; undo it in the end."""
    patch = pytest.MonkeyPatch()
    patch.setattr(object_graph, "_FEW", few)
    patch.setattr(freed_by_del, "_FEW", few)
    return patch


@settings(deadline=None, max_examples=60)
@given(a_graph(), st.data())
def test_each_byte_has_one_owner_and_all_bytes_have_one(made: list[Any], data: st.DataObject) -> None:
    names = data.draw(st.lists(st.sampled_from(range(len(made))), min_size=1, max_size=8))
    namespace = {f"name{at}": made[one] for at, one in enumerate(names)}
    patch = one_by_one(data.draw(st.sampled_from([0, 2, 32])))
    found = owners(namespace)
    patch.undo()
    assert (found.start[1:] >= found.end[:-1]).all()
    assert (found.end > found.start).all()
    seen: dict[int, list[tuple[int, int]]] = {}
    for value in namespace.values():
        by_hand(value, seen)
    tables = sum(
        sys.getsizeof(one) - HEAD - object.__sizeof__(one) for one in made if type(one) is list and id(one) in seen
    )
    assert (
        sum(total(found, name) for name in namespace)
        == merged([one for ranges in seen.values() for one in ranges]) + tables
    )


@settings(deadline=None)
@given(
    ranges=st.lists(
        st.tuples(st.integers(0, 60), st.integers(0, 20), st.integers(0, 4), st.integers(0, 2)), max_size=14
    ),
    is_joined=st.booleans(),
)
def test_disjoint_ranges_are_as_byte_by_byte(ranges: list[tuple[int, int, int, int]], *, is_joined: bool) -> None:
    columns = np.array(ranges, np.int64).reshape(-1, 4).T
    key = keys(columns[2].astype(np.int32), columns[3].astype(np.int8))
    starts, ends = columns[0].astype(np.uint64), (columns[0] + columns[1]).astype(np.uint64)
    parts = [(starts[at::2], ends[at::2], key[at::2]) for at in range(2)]
    found = disjoint([touching(*part) for part in parts] if is_joined else parts, 2)
    told = {
        byte: (owner, state)
        for start, end, owner, state in zip(*(one.tolist() for one in found), strict=True)
        for byte in range(start, end)
    }
    assert sum((found.end - found.start).tolist()) == len(told)
    expected = {}
    for byte in range(100):
        over = [(owner, state) for start, size, owner, state in ranges if start <= byte < start + size]
        if over:
            several = len({owner for owner, _ in over}) > 1
            expected[byte] = min(owner for owner, _ in over), 2 if several else max(state for _, state in over)
    assert told == expected


@given(st.lists(st.lists(st.integers(1, 3000).map(lambda one: one * 16), max_size=80), max_size=30))
def test_places_are_those_of_a_dictionary(batches: list[list[int]]) -> None:
    places, known = Places(), dict[int, int]()
    for batch in batches:
        before = places.count
        if len(batch) == 1:
            number, is_new = places.add_one(batch[0])
            assert is_new == (batch[0] not in known)
            assert number == known.setdefault(batch[0], before)
            continue
        numbers, new = places.add(np.array(batch, np.uint64))
        assert [batch.index(batch[at]) for at in new.tolist()] == new.tolist()  # the first of equal ones
        known |= {batch[at]: before + count for count, at in enumerate(new.tolist())}
        assert numbers.tolist() == [known[one] for one in batch]
    assert len(known) == places.count == len(set(known.values()))


def test_a_small_view_keeps_a_large_array() -> None:
    namespace = {"view": np.ones(10**6)[:10]}
    found = owners(namespace)
    view = namespace["view"]
    assert 8 * 10**6 <= total(found, "view") < 8 * 10**6 + 1000
    assert frees(found, "view") >= 8 * 10**6
    assert found.where(view.ctypes.data + 8 * 3 + 7) == ("view", "[3]")
    assert found.where(view.ctypes.data + 8 * 500) == ("view", "")


def test_what_two_names_lead_to_belongs_to_the_nearer_and_ends_with_neither() -> None:
    a = np.ones(5000)
    found = owners({"some": [a[3:]], "a": a, "b": a})
    assert total(found, "a") >= a.nbytes
    assert total(found, "some") < 1000
    assert (total(found, "b"), frees(found, "a")) == (0, 0)
    assert found.same.tolist() == [0, 1, 1]


def test_names_and_elements_of_addresses() -> None:
    a, text = np.zeros((7, 11), np.float32), b"some bytes"
    odd = np.arange(60).reshape(3, 4, 5)[::-1, ::2].transpose(2, 0, 1)
    items = [1, "b", 2.5]
    found = owners({"a": a, "text": text, "odd": odd, "items": items})
    assert found.where(a.ctypes.data + 4 * (11 * 3 + 2)) == ("a", "[3, 2]")
    for index in np.ndindex(odd.shape):
        place = odd.ctypes.data + sum(at * step for at, step in zip(index, odd.strides, strict=True))
        assert found.where(place + 7) == ("odd", str(list(index)))
    assert found.where(id(text) + bytes.__basicsize__ - 1 + 4) == ("text", "[4]")
    assert found.where(id(items)) == ("items", "")
    assert found.where(id(object)) is None
    ranges = found.ranges("a")
    assert [int(end - start) for start, end in ranges if start <= a.ctypes.data < end] == [a.nbytes]
    with pytest.raises(TargetError, match="'none' is not a name of this namespace"):
        found.ranges("none")


class Thing:
    """An object that weak references notice."""

    def __init__(self, *held: object) -> None:
        self.held = held


def test_what_ends_is_what_python_ends() -> None:
    alone, shared, elsewhere = Thing(bytes(5000)), Thing(bytes(6000)), Thing(bytes(7000))
    watched = [weakref.ref(one) for one in (alone, shared, elsewhere)]
    beyond = [elsewhere]
    namespace: dict[str, Any] = {"a": [alone, shared, elsewhere], "b": {"x": shared}}
    del alone, shared, elsewhere
    found = owners(namespace)
    assert 5000 < frees(found, "a") < 6000
    del namespace["a"]
    assert [one() is None for one in watched] == [True, False, False]
    assert 6000 < frees(owners(namespace), "b") < 7000
    del namespace["b"]
    assert [one() is None for one in watched] == [True, True, False]
    assert beyond


@pytest.mark.parametrize("few", [0, 32])
def test_a_long_chain_is_followed_to_its_end(few: int) -> None:
    depth = 2000
    chain: list[Any] = [bytes(5000), *range(1000)]
    for _ in range(depth):
        chain = [chain, 5]
    namespace = {"a": chain, "b": [bytes(6000)]}
    of_lists = 0
    while len(chain) == 2:
        of_lists += sys.getsizeof(chain)
        chain = chain[0]
    held = chain  # so the last list stays, and what is in it
    patch = one_by_one(few)
    found = owners(namespace)
    patch.undo()
    assert of_lists <= frees(found, "a") <= of_lists + 32 * depth  # allocators round up
    assert total(found, "a", freed_by_del.HELD) > sys.getsizeof(held) + 5000
    assert 6000 < frees(found, "b") < 7000
    while namespace["a"] is not held:  # or Python would free it in one go, level by level
        namespace["a"] = namespace["a"][0]


def test_a_circle_ends_and_a_running_function_holds() -> None:
    loop: list[Any] = [bytes(9000)]
    loop.append(loop)
    namespace = {"loop": loop}
    assert frees(owners(namespace), "loop") == 0  # a local variable of this function has it
    del loop
    assert frees(owners(namespace), "loop") > 9000


def test_attributes_closures_slots_generators_and_frames() -> None:
    def closure(held: Any) -> Any:
        return lambda: held

    class Slots:
        __slots__ = ("held",)
        held: bytes

    def generator(held: Any) -> Any:
        yield held

    slots, running = Slots(), generator(bytes(10_000))
    slots.held = bytes(10_000)
    next(running)

    def fails(local: bytes) -> None:
        assert not local

    try:
        fails(bytes(10_000))
    except AssertionError as error:
        raised = error
    namespace = {
        "thing": Thing(bytes(10_000)),
        "closure": closure(bytes(10_000)),
        "partial": functools.partial(print, bytes(10_000)),
        "slots": slots,
        "running": running,
        "raised": raised,
        "series": pd.Series(np.zeros(1250)),
        "objects": np.array([bytes(10_000)], object),
        "fields": np.array([(1, bytes(10_000))], [("a", int), ("b", object)]),
        "set": {bytes(10_000)},
    }
    found = owners(namespace)
    assert {name: 10_000 <= total(found, name) < 40_000 for name in namespace} == dict.fromkeys(namespace, True)
    assert total(found, "thing") < 11_000


def test_tables_of_dicts_and_sets_are_what_python_says() -> None:
    for thing in (
        {at: at for at in range(5000)},
        {*range(5000)},
        frozenset(range(5000)),
        bytearray(5000),
        [None] * 5000,
    ):
        found = owners({"a": thing})
        ends = found.end[found.state == freed_by_del.ENDS], found.start[found.state == freed_by_del.ENDS]
        assert sys.getsizeof(thing) <= total(found, "a") < sys.getsizeof(thing) + 40 * 5000, ends


class Liar:
    """An object that complains about everything that it is asked."""

    def __getattribute__(self, name: str) -> Any:
        raise AssertionError(name)

    @property  # type: ignore[misc]  # a lie
    def __class__(self) -> Any:
        raise AssertionError

    @property
    def __dict__(self) -> Any:  # type: ignore[override]  # another
        raise AssertionError

    def __sizeof__(self) -> int:
        raise AssertionError

    def __hash__(self) -> int:
        raise AssertionError

    def __eq__(self, _: object) -> bool:
        raise AssertionError

    def __len__(self) -> int:
        raise AssertionError

    def __iter__(self) -> Any:
        raise AssertionError

    def __buffer__(self, _: int) -> memoryview:
        raise AssertionError

    __array_interface__ = property(__iter__)
    __dlpack__ = __arrow_c_array__ = __array__ = __iter__


class Meta(type):
    """A class that complains, too."""

    def __getattribute__(cls, name: str) -> Any:
        raise AssertionError(name)

    def __hash__(cls) -> int:
        raise AssertionError

    def __eq__(cls, _: object) -> bool:
        raise AssertionError


class Lying(list[int], metaclass=Meta):
    """A list that complains."""

    def __iter__(self) -> Any:
        raise AssertionError

    def __len__(self) -> int:
        raise AssertionError


class Lazy(types.ModuleType):
    """A module that would import at any question."""

    def __getattribute__(self, name: str) -> Any:
        raise AssertionError(name)


def test_nothing_of_an_object_runs() -> None:
    kept = np.ones(1000)
    namespace: dict[Any, Any] = {
        "liar": Liar(), "list": Lying([1, 2]), "lazy": Lazy("lazy"), "class": Meta("Made", (), {}),
        "proxy": weakref.proxy(Thing), "reference": weakref.ref(kept), "dictionary": weakref.WeakValueDictionary(),
        5: kept, "text": type("Text", (str,), {"__len__": Liar.__len__})("letters"),
    }  # fmt: skip
    modules = set(sys.modules)
    found = owners(namespace)
    assert found.names == tuple(map(str, namespace))
    assert total(found, "reference") < 200  # it does not hold the array
    assert total(found, "liar") > 0
    assert set(sys.modules) == modules


@pytest.mark.parametrize("value", [5, None, [1], types, np.ones(3), types.MappingProxyType({})])
def test_what_is_not_a_namespace_is_said_so(value: Any) -> None:
    with pytest.raises(TargetError, match=r"is not a dictionary of names; type vars\(x\)"):
        owners(value)


def test_nothing_is_kept_and_no_collection_runs() -> None:
    things = [Thing(at) for at in range(3000)]
    gone, runs = weakref.ref(things[7]), list[Any]()
    namespace = {"things": things, "again": list(things)}
    del things
    gc.collect()
    gc.callbacks.append(lambda *what: runs.append(what))
    try:
        found = owners(namespace)
    finally:
        gc.callbacks.pop()
    assert runs == []
    assert found.names == ("things", "again")
    namespace.clear()
    assert gone() is None


def test_storm_of_variables_that_appear_and_vanish() -> None:
    namespace: dict[str, Any] = {"stays": np.ones(10**5)}
    ended = threading.Event()

    def change(number: int) -> None:
        at = 0
        while not ended.is_set():
            at += 1
            namespace[f"v{number}-{at % 50}"] = [np.ones(at % 999), {at: str(at)}, bytearray(at % 7777)]
            namespace.pop(f"v{number}-{at * 7 % 50}", None)
            for held in list(namespace.values())[1:5]:
                held.append(at)
                held[2].extend(b"more")

    threads = [threading.Thread(target=change, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(40):
            found = owners(namespace)
            assert (found.start[1:] >= found.end[:-1]).all()
            assert total(found, "stays") >= 8 * 10**5
    finally:
        ended.set()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((30, 40))[::2, ::-1],
        np.zeros(50)[::-3],
        np.zeros((3, 4, 5)).T,
        np.broadcast_to(np.zeros(5), (3, 5))[:1],
    ],
    ids=["both", "backwards", "three axes", "broadcast"],
)
def test_elements_of_many_addresses(array: np.ndarray[Any, Any]) -> None:
    found = indices.layout(array)
    assert found is not None
    base = array.ctypes.data
    places = {
        base + sum(at * step for at, step in zip(index, array.strides, strict=True)): str(list(index))
        for index in np.ndindex(array.shape)
    }
    addresses = np.arange(min(places) - 64, max(places) + 64, 4, dtype=np.uint64)
    texts = indices.many(found, addresses)
    within = {int(address) for address in addresses.tolist() if address - address % 8 in places}
    for address, text in zip(addresses.tolist(), texts, strict=True):
        if address in within:
            assert text == places[address - address % 8]
        elif not min(places) <= address < max(places) + array.itemsize:
            assert text == ""
    assert len(within) == 2 * array.size


def test_elements_by_owner() -> None:
    names: dict[str, Any] = {"a": np.zeros(4000), "text": b"x" * 4000, "other": {"key": np.zeros(9)}}
    found = owners(names)
    addresses = np.array(
        [names["a"].ctypes.data + 8 * 7, id(names["text"]) + bytes.__basicsize__ - 1 + 5, 1], np.uint64
    )
    owner = found.of(addresses)
    assert [found.names[at] if at >= 0 else "" for at in owner.tolist()] == ["a", "text", ""]
    assert found.elements(owner, addresses) == ["[7]", "[5]", ""]
    assert found.elements(owner[:1], addresses[:1]) == ["[7]"]
    assert found.elements(owner[:0], addresses[:0]) == []
