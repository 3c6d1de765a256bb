"""The parts of memory that are counted: named targets, or all regions of a process."""

from __future__ import annotations

import array
import collections
import mmap
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from pte_magic.api import walk
from pte_magic.errors import TargetError, arguments
from pte_magic.errors.escapes import visible
from pte_magic.linux import hardware
from pte_magic.targets import memory_in_attributes, owners
from pte_magic.targets import target as targets

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from pte_magic.linux.address_space import AddressSpace
    from pte_magic.linux.regions import Region
    from pte_magic.targets.target import Target

ANONYMOUS = "anonymous memory"
"""The type of regions without a name."""
_FLAT = (bytes, bytearray, array.array, mmap.mmap, memoryview)
_CONTAINERS = (list, tuple, dict, set, frozenset, collections.deque)
_OTHERS = (("torch", "Tensor"), ("pyarrow", "Array"), ("pyarrow", "ChunkedArray"), ("pyarrow", "Table"))


class Named(NamedTuple):
    """A target by its name; its object, or a text, an address, or None; and its addresses.

    A container's addresses are None: to ask for them would already be to look at each of its objects.
    """

    name: str
    thing: Any
    meant: Target | None


class Parts(NamedTuple):
    """The parts, ``p`` of them, and their ranges, ``m``, in any order.

    Attributes:
        names: The names of the parts.
        types: Words for what each is.
        start: The first address of each range, ``uint64[m]``.
        end: The first address after it, ``uint64[m]``.
        part: The number of the part that it belongs to, ``intp[m]``.

    """

    names: list[str]
    types: list[str]
    start: NDArray[np.uint64]
    end: NDArray[np.uint64]
    part: NDArray[np.intp]

    @property
    def bytes(self) -> NDArray[np.uint64]:
        """The bytes of each part, ``uint64[p]``."""
        found = np.zeros(len(self.names), np.uint64)
        np.add.at(found, self.part, self.end - self.start)
        return found

    @property
    def vaddr(self) -> NDArray[np.uint64]:
        """The first address of each part, ``uint64[p]``; 0 if it has none."""
        found = np.full(len(self.names), ~np.uint64(0))
        np.minimum.at(found, self.part, self.start)
        found[found == ~np.uint64(0)] = 0
        return found

    def ranges(self) -> list[tuple[int, int]]:
        """Return what they cover, as whole pages, ascending and disjoint."""
        page = hardware.PAGE_SIZE
        pairs = zip(self.start.tolist(), self.end.tolist(), strict=True)
        return list(targets.merged((start & -page, -(-end // page) * page) for start, end in pairs))


def made(parts: Iterable[tuple[str, str, Any]]) -> Parts:
    """Return parts: of each its name, its type and its ranges, pairs of first address and first address after."""
    every = list(parts)
    ranges = [np.array(found, np.uint64).reshape(-1, 2) for _, _, found in every]
    whole = np.concatenate([np.empty((0, 2), np.uint64), *ranges])
    part = np.repeat(np.arange(len(every)), [len(found) for found in ranges])
    return Parts([name for name, _, _ in every], [kind for _, kind, _ in every], whole[:, 0], whole[:, 1], part)


def named(wanted: Any, space: AddressSpace) -> list[Named]:
    """Return targets by their names.

    Args:
        wanted: A target as of `pte_magic.walk`; a list or tuple of targets; or a dict of targets by their names.
        space: The address space in which texts are looked for.

    Raises:
        TargetError: One of them is not a target, or there is none.

    """
    found = [
        Named(visible(name), thing, None if is_container(thing) else walk.resolve(thing, None, space))
        for name, thing in _each(wanted)
    ]
    if not found:
        message = f"targets={arguments.shown(wanted)} has no targets; type shared(a), or shared() for all memory"
        raise TargetError(message)
    return found


def is_container(thing: Any) -> bool:
    """Tell whether an object is one of Python's containers of other objects."""
    return memory_in_attributes.is_one(type(thing), _CONTAINERS)


def is_deep(one: Named) -> bool:
    """Tell whether the data of an object is not all in its own memory, as of a list."""
    return one.meant is None or (bool(one.meant.note) and _is_object(one.thing))


def of_named(found: Sequence[Named]) -> tuple[Parts, list[str]]:
    """Return the parts that targets are, and notes about them.

    Of an object whose data is elsewhere, all that it leads to is its part. Looking for that writes to the objects.
    """
    parts: list[tuple[str, str, Any]] = []
    notes = []
    for one in found:
        name, thing, meant = one
        kind = arguments.class_name(thing) if _is_object(thing) else ""
        if meant is None or is_deep(one):
            held = owners.owners({name: thing})
            parts.append((name, kind, held.ranges(name)))
            notes += [f"{name}: {note}" for said in held.notes.values() for note in said]
        else:
            parts.append((name, kind, meant.ranges))
            notes += [f"{name}: {meant.note}"] if meant.note else []
    return made(parts), notes


def left_to_regions(namespace: Mapping[str, Any]) -> list[str]:
    """Return the names of containers, which `of_names` leaves out; none with an underscore first."""
    found = dict(namespace).items()
    return [name for name, thing in found if type(name) is str and name[:1] != "_" and is_container(thing)]


def of_names(namespace: Mapping[str, Any], ours: Sequence[Region], theirs: Iterable[Region]) -> Parts:
    """Return the memory of named arrays and buffers as parts, and the rest by region.

    Names of other objects are left out: to find what they lead to, each object would have to be looked at, and Python
    counts references in the objects, which would copy their pages.

    Args:
        namespace: Objects by name.
        ours: The regions of this process.
        theirs: The regions of the other ones.

    """
    plain = {name: thing for name, thing in dict(namespace).items() if issubclass(type(name), str) and _is_flat(thing)}
    names = sorted(plain, key=lambda name: name.startswith("_"))  # of two for the same memory, the first one counts
    types = [arguments.class_name(plain[name]) for name in names]
    held = owners.owners({name: plain[name] for name in names})
    rest = of_regions(ours, theirs)
    edges = np.unique(np.concatenate([held.start, held.end, rest.start, rest.end]))
    of_name = held.of(edges)[:-1]
    order = np.argsort(rest.start)
    at = np.searchsorted(rest.start[order], edges[:-1], side="right") - 1
    left = np.flatnonzero((at >= 0) & (edges[:-1] < rest.end[order][at]) & (of_name < 0))
    return Parts(
        [*map(visible, names), *rest.names],
        [*types, *rest.types],
        np.concatenate([held.start, edges[left]]),
        np.concatenate([held.end, edges[left + 1]]),
        np.concatenate([held.owner, len(names) + rest.part[order][at[left]]]).astype(np.intp),
    )


def of_regions(ours: Iterable[Region], theirs: Iterable[Region]) -> Parts:
    """Return the regions of a process as parts, the parts of one file together, and those that only others have."""
    by_name: dict[Any, list[tuple[int, int]]] = {}
    reached: list[tuple[int, int]] = []
    for region in ours:
        if region.start < hardware.user_limit():  # not [vsyscall]
            by_name.setdefault(region.name or region.start, []).append((region.start, region.end))
            reached.append((region.start, region.end))
    found = [(_short(name), _kind(name), ranges) for name, ranges in by_name.items()]
    others = targets.merged((region.start, region.end) for region in theirs if region.start < hardware.user_limit())
    if rest := list(_without(others, reached)):
        found.append(("", "memory that only other processes map", rest))
    return made(found)


def _each(wanted: Any) -> Iterator[tuple[str, Any]]:
    kind = type(wanted)
    if issubclass(kind, dict):
        for name, thing in dict.items(wanted):
            yield arguments.text(name, "a name in targets", "type {'a': a}, for example"), thing
    else:
        several = issubclass(kind, (list, tuple)) and not issubclass(kind, targets.Target)
        for thing in wanted if several else (wanted,):
            yield _called(thing), thing


def _is_object(thing: Any) -> bool:
    return not (thing is None or issubclass(type(thing), (str, int, np.integer, targets.Target)))


def _is_flat(thing: Any) -> bool:
    """Tell whether an object is an array or a buffer, whose memory is found without looking at other objects."""
    kind = type(thing)
    if issubclass(kind, np.ndarray):
        return not np.ndarray.__dict__["dtype"].__get__(thing).hasobject
    if kind is pd.DataFrame or kind is pd.Series:  # `in` would ask a metaclass
        dtypes = [thing.dtype] if kind is pd.Series else thing.dtypes
        return all(isinstance(dtype, np.dtype) and not dtype.hasobject for dtype in dtypes)
    return memory_in_attributes.is_one(kind, _FLAT) or any(memory_in_attributes.is_a(kind, *name) for name in _OTHERS)


def _called(thing: Any) -> str:
    if issubclass(type(thing), str):
        return str.__str__(thing)
    return hex(thing) if type(thing) is int else ""


def _short(name: str | int) -> str:
    """Return the name of a region; of a file, without its directory; empty for the address of one without a name."""
    return "" if isinstance(name, int) else name.rpartition("/")[2] if name.startswith("/") else name


def _kind(name: str | int) -> str:
    if isinstance(name, int):
        return ANONYMOUS
    return "file" if name.startswith("/") else ""


def _without(ranges: Iterable[tuple[int, int]], taken: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield the parts of ranges that no other one covers; all ascending and disjoint."""
    at = 0
    for start, end in ranges:
        while at < len(taken) and taken[at][1] <= start:
            at += 1
        reached, then = start, at
        while then < len(taken) and taken[then][0] < end:
            if taken[then][0] > reached:
                yield reached, taken[then][0]
            reached = max(reached, taken[then][1])
            then += 1
        if reached < end:
            yield reached, end
