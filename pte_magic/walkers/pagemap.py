"""The pagemap walker: the words that the kernel shows all users for their own pages. No raw entries, no privileges."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pte_magic.linux import pagemap_scan, sizes
from pte_magic.linux.geometry import LEVELS
from pte_magic.linux.hardware import PAGE_SIZE
from pte_magic.linux.pagemap import PRESENT, SWAP, words
from pte_magic.walkers.entries import SPAN, Entries, join
from pte_magic.walkers.walker import Walker
from pte_magic.walkers.what_to_type import frames_by_helper

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from pte_magic.linux.address_space import AddressSpace
    from pte_magic.linux.regions import Region

    _Part = tuple[NDArray[np.uint64], NDArray[np.void], bool]  # words, spans, whether the region allows no access

NAME = "pagemap"
_WORDS = 1 << 17  # words read at once
_MAPPED = PRESENT | SWAP
_UNKNOWN, _PTE = -1, LEVELS.index("pte")


class PagemapWalker(Walker):
    """Reads the words of /proc/PID/pagemap.

    A mapped page is one entry; all pages of a huge page are one entry where the kernel shows it (PAGEMAP_SCAN, since
    6.7). Unmapped addresses are one entry per run: pagemap does not show the level at which the page tables end there.
    Special mappings such as [vvar] are unmapped here, as in the kernel's file.
    """

    name = NAME
    sees = "present, swapped, file, soft-dirty, huge; no raw entries"
    by = "/proc/PID/pagemap"
    has_raw_entries = False
    frames_as_pagemap = True
    encoding = "pagemap"

    @classmethod
    def why_no_frames(cls) -> str:
        """Return what to type to see page frames."""
        return frames_by_helper()

    def close(self) -> None:
        """Do nothing: there is nothing to unload, and it goes on to be of use."""

    def abandon(self) -> None:
        """Do nothing, likewise."""

    def walk(self, space: AddressSpace, start: int, end: int, *, tables: bool = False) -> Entries:
        """Return the words of ``[start, end)`` of `space`.

        Args:
            space: The address space.
            start: First address, a multiple of the page size.
            end: First address after the range, likewise.
            tables: Has no effect: pagemap does not show page tables.

        Raises:
            NoAddressSpaceError: The process has exited or called exec.

        """
        found = list(self.chunks(space, start, end, tables=tables))
        return join(found) if found else self._entries_of([])

    def chunks(self, space: AddressSpace, start: int, end: int, *, tables: bool = False) -> Iterator[Entries]:
        """Yield the result of `walk` in pieces of at most 262,144 entries."""
        del tables
        if start >= end:
            return
        words(space, start, 1)  # a torn-down address space has no regions either
        parts: list[_Part] = []
        count = 0
        for part in _parts(space, start, end):
            parts.append(part)
            count += len(part[0])
            if count >= _WORDS:
                yield self._checked(space, parts)
                parts, count = [], 0
        if parts:
            yield self._checked(space, parts)

    def _checked(self, space: AddressSpace, parts: list[_Part]) -> Entries:
        words(space, 0, 1)  # gone meanwhile: what was found empty need not have been
        return self._entries_of(parts)

    def _entries_of(self, parts: list[_Part]) -> Entries:
        return Entries(
            np.concatenate([np.empty(0, np.uint64), *(part for part, _, _ in parts)]),
            np.concatenate([np.empty(0, SPAN), *(spans for _, spans, _ in parts)]),
            self.encoding,
            self.name,
            np.concatenate([np.empty(0, np.bool_), *(np.full(len(part), protnone) for part, _, protnone in parts)]),
        )


def _parts(space: AddressSpace, start: int, end: int) -> Iterator[_Part]:
    """Yield the entries in ``[start, end)``, at most `_WORDS` at a time.

    Regions are read first, and a huge page may later reach over the end of one: then the next one begins after it.
    """
    reached = start
    for piece_start, piece_end, region in _pieces(space, start, end):
        if piece_end <= reached:
            continue
        first = max(piece_start, reached)
        if region is None:
            yield *_nothing(first, piece_end), False
            reached = piece_end
            continue
        protnone = region.permissions.startswith("---")
        for found, spans in _read_region(space, region, first, piece_end, is_first=first == start):
            yield found, spans, protnone
            last, size, count, _ = spans[-1].item()
            reached = last + size * count


def _nothing(start: int, end: int) -> tuple[NDArray[np.uint64], NDArray[np.void]]:
    return np.zeros(1, np.uint64), np.array([(start, end - start, 1, _UNKNOWN)], SPAN)


def _pieces(space: AddressSpace, start: int, end: int) -> Iterator[tuple[int, int, Region | None]]:
    for region in space.regions():
        if region.end <= start:
            continue
        if region.start >= end:
            break
        if region.start > start:
            yield start, region.start, None
            start = region.start
        yield start, min(end, region.end), region
        start = min(end, region.end)
    if start < end:
        yield start, end, None


def _read_region(
    space: AddressSpace, region: Region, start: int, end: int, *, is_first: bool
) -> Iterator[tuple[NDArray[np.uint64], NDArray[np.void]]]:
    """Yield words and spans of a part of one region; the last may end later, and the first may begin earlier.

    It may if it is the first of all. Else, where a huge page has come meanwhile that begins before the end of what was
    yielded, its rest is yielded page by page, at an unknown level.
    """
    reached = start
    huge: tuple[int, int] | None = None
    while reached < end:
        scanned = pagemap_scan.populated(space, reached, end)
        if scanned is None:
            yield from _read_pages(space, start, end, _UNKNOWN)
            return
        runs, reached = scanned
        for run_start, run_end, categories in runs.tolist():
            size, level = PAGE_SIZE, _PTE
            if categories & pagemap_scan.PAGE_IS_HUGE:
                size, level = huge = huge or _leaf(space, region)
            if run_end > start:  # else what was yielded reaches so far
                yield from _read_run(space, start, run_start, run_end, size, level, is_first=is_first)
                start, is_first = -(-run_end // size) * size, False
        reached = max(reached, start)
    if start < end:
        yield _nothing(start, end)


def _read_run(  # noqa: PLR0913, PLR0917  (a run is what it is)
    space: AddressSpace, start: int, run_start: int, run_end: int, size: int, level: int, *, is_first: bool
) -> Iterator[tuple[NDArray[np.uint64], NDArray[np.void]]]:
    """Yield words and spans from `start` to the end of a run of pages of one size."""
    # A huge page is one entry, also if only a part of it was asked for.
    first, last = run_start & -size, -(-run_end // size) * size
    if first < start and not is_first:
        first = -(-start // size) * size
        if first > start:
            yield from _read_pages(space, start, first, _UNKNOWN)
    elif first > start:
        yield _nothing(start, first)
    if first < last and size > PAGE_SIZE:
        yield from _read_huge(space, first, last, size, level)
    elif first < last:
        yield from _read_pages(space, first, last, level)


def _leaf(space: AddressSpace, region: Region) -> tuple[int, int]:
    """Return the size and level of the huge pages' entries in `region`.

    Only hugetlb has huge pages of another size than `sizes.huge`, in regions that have no others, and such a
    region is of a file, if of one without a path. On arm64 a page may consist of several entries that are contiguous.
    """
    size = sizes.huge()
    if region.name and not region.name.startswith("["):
        told = space.kernel_page_sizes().get(region.start, PAGE_SIZE)
        size = told if told > PAGE_SIZE else size
    return max((bytes_, LEVELS.index(level)) for level, bytes_ in sizes.by_level().items() if bytes_ <= size)


def _read_huge(
    space: AddressSpace, start: int, end: int, size: int, level: int
) -> Iterator[tuple[NDArray[np.uint64], NDArray[np.void]]]:
    for first in range(start, end, _WORDS * size):
        heads = [words(space, address, 1) for address in range(first, min(end, first + _WORDS * size), size)]
        yield np.concatenate(heads), np.array([(first, size, len(heads), level)], SPAN)


def _read_pages(
    space: AddressSpace, start: int, end: int, level: int
) -> Iterator[tuple[NDArray[np.uint64], NDArray[np.void]]]:
    """Yield words and spans, with one entry per run of unmapped pages."""
    for first in range(start, end, _WORDS * PAGE_SIZE):
        found = words(space, first, min(_WORDS, (end - first) // PAGE_SIZE))
        mapped = found & _MAPPED != 0
        if mapped.all():
            yield found, np.array([(first, PAGE_SIZE, len(found), level)], SPAN)
            continue
        edges = np.concatenate(([0], np.flatnonzero(mapped[1:] != mapped[:-1]) + 1, [len(found)]))
        at, pages = edges[:-1], np.diff(edges).astype(np.uint64)
        there = mapped[at]
        spans = np.empty(len(at), SPAN)
        spans["vaddr"] = np.uint64(first) + at.astype(np.uint64) * np.uint64(PAGE_SIZE)
        spans["size"] = np.where(there, np.uint64(PAGE_SIZE), pages * np.uint64(PAGE_SIZE))
        spans["count"] = np.where(there, pages, 1)
        spans["level"] = np.where(there, level, _UNKNOWN)
        kept = mapped.copy()
        kept[at] = True  # one word for a run of nothing
        yield found[kept], spans
