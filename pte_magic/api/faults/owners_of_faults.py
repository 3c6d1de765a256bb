"""Owners of the addresses of faults: variables after the block or before it, temporaries, and the rest by region."""

from __future__ import annotations

import array
import mmap
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pte_magic.errors.escapes import visible
from pte_magic.linux import malloc, thread_stacks
from pte_magic.linux.hardware import PAGE_SIZE
from pte_magic.targets import owners

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from pte_magic.linux.regions import Region
    from pte_magic.targets.namespaces import Held
    from pte_magic.targets.owners import Owners

_DIRECT = (bytes, bytearray, memoryview, array.array, mmap.mmap)
_HEADER = 64  # bytes before an array's data, which malloc and numpy write to
TEMPORARY, FREED, OURS = "a temporary", "memory that was freed since", "pte_magic's own records of lines"
UNNAMED = "memory of no variable"
NO_RANGES: NDArray[np.uint64] = np.empty((0, 2), np.uint64)


class Owned(NamedTuple):
    """The owners of addresses.

    Attributes:
        name: Indices into `names`, ``int32[n]``.
        names: Variables, then other memory by its use.
        variables: The number of variables among `names`.
        element: The index of the element, as Python writes it, of each; empty if there is none.

    """

    name: NDArray[np.int32]
    names: list[str]
    variables: int
    element: list[str]


def direct(held: Iterable[Held]) -> Owners:
    """Return the owners of the memory of arrays and buffers; other objects are not followed, as they may be many."""
    some = [one for one in held if _is_direct(one.value)]
    return owners.of_held(some, set())


def _is_direct(value: Any) -> bool:
    kind = type(value)
    if issubclass(kind, np.ndarray):
        return not np.dtype.__dict__["hasobject"].__get__(value.dtype)
    return issubclass(kind, _DIRECT) or kind.__module__.partition(".")[0] == "torch"


class Surroundings(NamedTuple):
    """All that tells whose an address is.

    Attributes:
        before: Variables before the block: arrays and buffers only.
        after: Variables after it.
        regions: The regions after it.
        ours: First addresses, and first addresses after, of the package's own records, ``uint64[m, 2]``.

    """

    before: Owners
    after: Owners
    regions: Sequence[Region]
    ours: NDArray[np.uint64]

    def of(self, address: NDArray[np.uint64], begins: NDArray[np.bool_]) -> Owned:
        """Return whose each address was when it was touched.

        Args:
            address: Addresses in the order of their faults, ``uint64[n]``.
            begins: Whether the fault was the first touch of new memory, ``bool[n]``. If a page begins again later, it
                was unmapped in between: then it does not belong to the variable that has the address at the end.

        """
        names = list(dict.fromkeys([*self.after.names, *self.before.names]))
        place = {name: at for at, name in enumerate(names)}
        variables = len(names)
        found = np.full(len(address), -1, np.int32)
        index = [""] * len(address)
        again = _begins_again(address, begins)
        for look, rows in ((self.after, ~again), (self.before, np.ones(len(address), np.bool_))):
            todo = np.flatnonzero((found < 0) & rows)
            owner = _owner(look, address[todo])
            todo, owner = todo[owner >= 0], owner[owner >= 0]
            codes = np.array([place[name] for name in look.names], np.int32)
            found[todo] = codes[owner] if len(todo) else found[todo]
            texts = look.elements(owner, address[todo])
            if len(todo) == len(index):
                index = texts
            else:
                for row, text in zip(todo.tolist(), texts, strict=True):
                    index[row] = text
        rest = np.flatnonzero(found < 0)
        if len(rest):
            uses, words = self._uses(address[rest], again[rest])
            found[rest] = uses + np.int32(variables)
            names += words
        return Owned(found, names, variables, index)

    def _uses(self, address: NDArray[np.uint64], again: NDArray[np.bool_]) -> tuple[NDArray[np.int32], list[str]]:
        """Return the use of memory that belongs to no variable: indices into words, and these."""
        uses = region_uses(self.regions)
        words = [TEMPORARY, FREED, OURS, *dict.fromkeys(uses)]
        codes = np.array([words.index(use) for use in uses], np.int32)
        start = np.array([region.start for region in self.regions], np.uint64)
        end = np.array([region.end for region in self.regions], np.uint64)
        at = np.searchsorted(start, address, side="right").astype(np.intp) - 1
        inside = (at >= 0) & (address < end[np.maximum(at, 0)])
        found = np.where(inside, codes[np.maximum(at, 0)], np.int32(1)).astype(np.int32)
        found[again] = 0
        for first, last in self.ours.tolist():
            found[(address >= first) & (address < last)] = 2
        return found, words


def region_uses(regions: Sequence[Region]) -> list[str]:
    """Return the use of each region of this process, in a few words."""
    stacks = thread_stacks.addresses()
    return [_use(at, regions, stacks) for at in range(len(regions))]


def _use(at: int, regions: Sequence[Region], stacks: list[int]) -> str:
    region = regions[at]
    if region.path.startswith(b"/"):
        return f"file {visible(region.name.rpartition('/')[2])}"
    if region.path == b"[heap]" or malloc.is_arena(at, regions):
        return "the heap"
    if region.path == b"[stack]":
        return "the stack"
    if not region.is_anonymous:
        return visible(region.name)
    return "stacks of threads" if any(region.start <= one < region.end for one in stacks) else UNNAMED


def _owner(look: Owners, address: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return the owner of each address; also of what malloc and numpy write just before an array."""
    found = look.of(address)
    rest = np.flatnonzero(found < 0)
    if len(rest) and len(look.start):
        after = np.searchsorted(look.start, address[rest], side="left")
        at = np.minimum(after, len(look.start) - 1)
        near = (after < len(look.start)) & (look.start[at] - address[rest] <= np.uint64(_HEADER))
        large = look.end[at] - look.start[at] >= np.uint64(PAGE_SIZE)
        found[rest] = np.where(near & large, look.owner[at], -1)
    return found


def _begins_again(address: NDArray[np.uint64], begins: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Tell which faults are of a page that begins once more later, ``bool[n]``."""
    page = address // np.uint64(PAGE_SIZE)
    rows = np.flatnonzero(begins)[::-1]
    pages, first = np.unique(page[rows], return_index=True)
    found = np.zeros(len(address), np.bool_)
    if not len(pages):
        return found
    last = rows[first]  # the last time that each page began
    at = np.minimum(np.searchsorted(pages, page), len(pages) - 1)
    found = (pages[at] == page) & (np.arange(len(page)) < last[at])
    return np.asarray(found)
