"""The pages of one process that is compared with others: where it has any, and what its entries and pagemap say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pte_magic import walkers
from pte_magic.api import decoded_columns
from pte_magic.dataframes import pagemap_columns
from pte_magic.dataframes.resident import resident
from pte_magic.dataframes.shared_pages import Pages
from pte_magic.formats import kernel
from pte_magic.formats.field import KINDS, STATES
from pte_magic.linux import sizes
from pte_magic.linux.hardware import PAGE_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from pte_magic.formats.decode import Column
    from pte_magic.linux.address_space import AddressSpace

    Numbers = NDArray[np.uint64]

MOST = 1 << 17
"""Pages that are read at once."""

_PAGE = np.uint64(PAGE_SIZE)
_IN_SWAP = np.uint64(1 << 63)
_SWAP, _ZERO = STATES.index("swap"), KINDS.index("zero_page")
_TYPE_SHIFT = np.uint64(58)  # of the number of a swap device, above all places on it


def populated(space: AddressSpace, ranges: Sequence[tuple[int, int]], walker: str) -> NDArray[np.uint64]:
    """Return the runs of pages that are mapped or swapped out: first page and page after, ``uint64[k, 2]``, ascending.

    Args:
        space: The address space.
        ranges: The ranges to look at, ascending and disjoint.
        walker: Name of the walker.

    Raises:
        PteMagicError: The process has gone, or cannot be read.

    """
    found = [np.empty((0, 2), np.uint64)]
    reader = walkers.get(walker)
    for start, end in ranges:
        for piece in walkers.chunks(reader, space, start, end):
            there = piece.entry != 0
            first = piece.vaddr[there] // _PAGE
            last = first + piece.size[there] // _PAGE
            found.append(_runs(first, last).clip(start // PAGE_SIZE, -(-end // PAGE_SIZE)))
    return np.concatenate(found)


def together(runs: Sequence[NDArray[np.uint64]]) -> NDArray[np.uint64]:
    """Return the union of runs, as `populated` returns them."""
    every = np.concatenate(runs)
    every = every[np.argsort(every[:, 0], kind="stable")]
    return _runs(every[:, 0], np.maximum.accumulate(every[:, 1]))


def pieces(runs: NDArray[np.uint64]) -> Iterator[Numbers]:
    """Yield the numbers of the pages of runs, ascending, at most `MOST` at once."""
    sizes = (runs[:, 1] - runs[:, 0]).astype(np.int64)
    ends = np.cumsum(sizes)
    distance = runs[:, 0] - (ends - sizes).astype(np.uint64)  # of the page from its place among all; modulo 2**64
    for at in range(0, int(ends[-1]) if len(ends) else 0, MOST):
        last = min(at + MOST, int(ends[-1]))
        some = slice(int(np.searchsorted(ends, at, side="right")), int(np.searchsorted(ends, last)) + 1)
        counts = np.diff(np.minimum(ends[some], last), prepend=at).astype(np.intp)
        yield np.arange(at, last, dtype=np.uint64) + np.repeat(distance[some], counts)


def read(space: AddressSpace, page: Numbers, walker: str) -> Pages:
    """Read pages by their numbers, ascending; raises as `populated`."""
    start, end = int(page[0]) * PAGE_SIZE, (int(page[-1]) + 1) * PAGE_SIZE
    entries = walkers.reading(walker, lambda reader: reader.walk(space, start, end))
    found, _ = decoded_columns.of_walk(entries, kernel.running(entries.address_bits))
    where = entries.where()
    word = None if entries.protnone is None else entries.entry
    pagemap_columns.columns(space, where, found, word)
    return _pages(page, where, _rows(page, where, entries.spans), found)


def _rows(page: Numbers, where: Numbers, spans: NDArray[Any]) -> NDArray[np.intp]:
    """Return the row of each page, ``intp[n]``."""
    if len(spans) == 1 and spans["size"][0] == PAGE_SIZE:  # nearly always
        found: NDArray[np.intp] = (page - where[0, 0] // _PAGE).astype(np.intp)
    else:
        found = np.searchsorted(where[0], page * _PAGE, side="right") - 1
    return found


def _pages(page: Numbers, where: Numbers, row: NDArray[np.intp], found: dict[str, Column]) -> Pages:
    within = page - where[0][row] // _PAGE
    state, kind = found["state"].values, found["kind"].values if "kind" in found else None
    there = resident(state, _flag(found, "special") == 1 if "special" in found else None)
    if kind is not None:
        there &= kind != _ZERO
    swapped = state == _SWAP
    frame = _number(found, "pfn")
    place = np.where(frame[row] != 0, frame[row] + within, np.uint64(0))
    if swapped.any():
        offset = _number(found, "swap_offset")
        known = offset | _number(found, "swap_type") << _TYPE_SHIFT
        place = np.where(swapped[row], np.where(known != 0, known | _IN_SWAP, known)[row], place)
    huge = (where[1] > _PAGE)[row]
    exclusive, rw, file = (_flag(found, name)[row] for name in ("mmap_exclusive", "rw", "file"))
    unknown = there[row] & (found["level"].values[row] < 0)
    if unknown.any():
        huge |= unknown & may_be_huge(page, np.where(unknown, exclusive, np.int8(-1)))
    return Pages(there[row], swapped[row], place, exclusive, rw, file, huge)


def may_be_huge(page: Numbers, exclusive: NDArray[np.int8]) -> NDArray[np.bool_]:
    """Tell which pages may be parts of huge ones, where nothing tells their size (before 6.7), ``bool[n]``.

    The kernel gives all parts of a huge page the exclusive bit of its first page, so it is the same in all.

    Args:
        page: The numbers of the pages, ascending.
        exclusive: The bit of each, -1 if the page is not there, ``int8[n]``.

    """
    parts = sizes.huge() // PAGE_SIZE
    _, block = np.unique(page // np.uint64(parts), return_inverse=True)
    same = [np.bincount(block, exclusive == bit)[block] == parts for bit in (0, 1)]
    found: NDArray[np.bool_] = same[0] | same[1]
    return found


def _number(found: dict[str, Column], name: str) -> Numbers:
    """Return a column of numbers, 0 where they are missing."""
    if name not in found:
        return np.zeros(len(found["state"].values), np.uint64)
    values, missing = found[name]
    wide = values.astype(np.uint64)
    return wide if missing is None else np.where(missing, np.uint64(0), wide)


def _flag(found: dict[str, Column], name: str) -> NDArray[np.int8]:
    """Return a column of bits as 0 and 1, and -1 where they are missing."""
    if name not in found:
        return np.full(len(found["state"].values), -1, np.int8)
    values, missing = found[name]
    bits = values.astype(np.int8)
    return bits if missing is None else np.where(missing, np.int8(-1), bits)


def _runs(first: Numbers, end: Numbers) -> NDArray[Any]:
    """Return ascending stretches as runs: those that follow each other without a gap are one."""
    if not len(first):
        return np.empty((0, 2), np.uint64)
    begins = np.flatnonzero(np.append(True, first[1:] > end[:-1]))
    last = np.append(begins[1:], len(first)) - 1
    return np.column_stack([first[begins], end[last]])
