"""Memory that entries map, by page size, and the number of entries that map each page frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pte_magic.dataframes.resident import is_huge_zero, is_zero, resident
from pte_magic.formats import decode, kernel, pagemap_words
from pte_magic.formats.decode import Column
from pte_magic.formats.field import STATES
from pte_magic.linux import hardware
from pte_magic.linux.geometry import LEVELS
from pte_magic.linux.hardware import PAGE_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from pte_magic.walkers.entries import Entries

_GIB = 1 << 30
_SWAP, _TABLE = STATES.index("swap"), STATES.index("table")
_BLOCK = _GIB // PAGE_SIZE  # page frames whose counts are contiguous: no entry maps more than 1 GiB
_BLOCKS = 1 << 22  # of a GiB each: no physical address has more than 52 bits


class Mapped(NamedTuple):
    """The memory that some entries of one process map.

    Attributes:
        size: Bytes of each page, ``uint64[n]``.
        pfn: First page frame of each, ``uint64[n]``.
        framed: True if the page frames are visible.
        leveled: True if the sizes are certain: false where huge pages cannot be told from small ones.
        contiguous: Bytes mapped by entries with the contiguous bit.
        swapped: Bytes that are swapped out.
        tables: Page tables on the way: those of the levels pud, pmd and pte.

    """

    size: NDArray[np.uint64]
    pfn: NDArray[np.uint64]
    framed: bool
    leveled: bool
    contiguous: int
    swapped: int
    tables: int


def mapped(entries: Entries, zeros: NDArray[np.void] | None = None) -> Mapped:
    """Return the memory that entries of one process map.

    Resident is what `dataframes.resident` says, without zero pages.

    Args:
        entries: One or more, with those that point to page tables if the walker sees them.
        zeros: For the walker pagemap, whose words do not show it: the zero pages, see `pagemap_scan.zeros`.

    """
    there = entries.entry != 0  # most are empty
    size, level = entries.size[there], entries.level[there]
    columns = _decoded(entries, there, level)
    state = columns["state"].values if columns else np.empty(0, np.int8)
    maps = resident(state, _true(columns["special"]) if "special" in columns else None)
    if zeros is not None and len(zeros):
        maps &= ~is_zero(entries.vaddr[there], zeros)
    pfn = columns.get("pfn", Column(np.zeros(len(size), np.uint64), np.ones(len(size), np.bool_)))
    if "rw" in columns:
        at = np.flatnonzero(maps)
        maps[at] = ~is_huge_zero(size[at], _true(columns["rw"])[at], pfn.values[at])
    is_table = state == _TABLE
    if "p4d" in hardware.shifts():
        is_table &= level != LEVELS.index("pgd")  # nor does the kernel count page tables of the level p4d
    return Mapped(
        size[maps],
        pfn.values[maps],
        framed=pfn.missing is None or not pfn.missing[maps].any(),
        leveled=bool((level[maps] >= 0).all()),
        contiguous=int(size[maps & _true(columns["cont"])].sum()) if "cont" in columns else 0,
        swapped=int(size[state == _SWAP].sum()),
        tables=int(np.count_nonzero(is_table)),
    )


def _decoded(entries: Entries, there: NDArray[np.bool_], level: NDArray[np.int8]) -> dict[str, Column]:
    running = kernel.running(entries.address_bits)
    if entries.protnone is not None:
        return pagemap_words.columns(entries.entry[there], entries.protnone[there], running)
    return decode.columns(entries.entry[there], level, running)


def _true(column: Column) -> NDArray[np.bool_]:
    values: NDArray[np.bool_] = column.values
    return values if column.missing is None else values & ~column.missing


class MapCounts:
    """The number of entries that map each page frame, of the entries that were added.

    Four bytes per page frame, in pieces of 1 MiB for each GiB of physical memory with a counted page frame.
    """

    def __init__(self) -> None:
        self._place = np.zeros(_BLOCKS, np.int32)  # of each block in `_counts`; the first is nobody's
        self._counts = np.zeros((1, _BLOCK), np.uint32)

    def add(self, what: Mapped) -> None:
        """Count one more entry for each mapped page frame."""
        blocks = np.unique(what.pfn // np.uint64(_BLOCK))
        new = blocks[self._place[blocks] == 0]
        if len(new):
            n = len(self._counts)
            self._place[new] = np.arange(n, n + len(new))
            self._counts.resize((n + len(new), _BLOCK), refcheck=False)
        for size, pfn in by_size(what):
            # A page lies within a block, at a multiple of its size: its counts are a row of this table.
            table = self._counts.reshape(-1, size // PAGE_SIZE)
            row, times = np.unique(self._index(pfn) // (size // PAGE_SIZE), return_counts=True)
            table[row] += times.astype(np.uint32)[:, None]

    def of(self, pfn: NDArray[np.uint64]) -> NDArray[np.uint32]:
        """Return the count of each page frame, ``uint32[n]``, at least 1: it is mapped, if only since then."""
        return np.maximum(self._counts.ravel()[self._index(pfn)], 1)

    def _index(self, pfn: NDArray[np.uint64]) -> NDArray[np.int64]:
        block, within = np.divmod(pfn, np.uint64(_BLOCK))
        return self._place[block].astype(np.int64) * _BLOCK + within.astype(np.int64)


def by_size(what: Mapped) -> Iterator[tuple[int, NDArray[np.uint64]]]:
    """Yield page sizes in bytes, and the first page frames of pages of that size: a bounded number at once."""
    for size in np.unique(what.size).tolist():
        pfn = what.pfn[what.size == size]
        step = _BLOCK * PAGE_SIZE // size
        for at in range(0, len(pfn), step):
            yield size, pfn[at : at + step]


def frames(what: Mapped) -> Iterator[NDArray[np.uint64]]:
    """Yield all mapped page frames, a bounded number at once."""
    for size, pfn in by_size(what):
        within = np.arange(size // PAGE_SIZE, dtype=np.uint64)
        yield (pfn[:, None] + within).ravel()
