"""The parts of memory that are counted: named targets, or all regions of a process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pte_magic.api import walk
from pte_magic.errors import TargetError, arguments
from pte_magic.linux import hardware
from pte_magic.targets import target as targets

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from pte_magic.linux.address_space import AddressSpace
    from pte_magic.linux.regions import Region
    from pte_magic.targets.target import Target

ANONYMOUS = "anonymous memory"
"""The type of regions without a name."""


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


def made(parts: Iterable[tuple[str, str, Sequence[tuple[int, int]]]]) -> Parts:
    """Return parts: of each its name, its type and its ranges."""
    every = list(parts)
    ranges = [(start, end, at) for at, (_, _, found) in enumerate(every) for start, end in found]
    start, end, part = (np.array([one[side] for one in ranges], kind) for side, kind in enumerate("QQq"))
    return Parts([name for name, _, _ in every], [kind for _, kind, _ in every], start, end, part.astype(np.intp))


def of_targets(wanted: Any, space: AddressSpace) -> tuple[Parts, list[str]]:
    """Return the parts that targets are, and notes about them.

    Args:
        wanted: A target as of `pte_magic.walk`; a list or tuple of targets; or a dict of targets by their names.
        space: The address space in which texts are looked for.

    Raises:
        TargetError: One of them is not a target, or there is none.

    """
    found = [(name, _type(thing), walk.resolve(thing, None, space)) for name, thing in _named(wanted)]
    if not found:
        message = f"targets={arguments.shown(wanted)} has no targets; type shared(a), or shared() for all memory"
        raise TargetError(message)
    return of_resolved(found)


def of_resolved(found: Sequence[tuple[str, str, Target]]) -> tuple[Parts, list[str]]:
    """Return the parts that resolved targets are, by name and type, and notes about them."""
    notes = [f"{name}: {meant.note}" for name, _, meant in found if meant.note]
    return made((name, kind, meant.ranges) for name, kind, meant in found), notes


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


def _named(wanted: Any) -> Iterator[tuple[str, Any]]:
    kind = type(wanted)
    if issubclass(kind, dict):
        for name, thing in dict.items(wanted):
            yield arguments.text(name, "a name in targets", "type {'a': a}, for example"), thing
    else:
        several = issubclass(kind, (list, tuple)) and not issubclass(kind, targets.Target)
        for thing in wanted if several else (wanted,):
            yield _called(thing), thing


def _called(thing: Any) -> str:
    if issubclass(type(thing), str):
        return str.__str__(thing)
    return hex(thing) if type(thing) is int else ""


def _type(thing: Any) -> str:
    return "" if issubclass(type(thing), (str, int)) else arguments.class_name(thing)


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
