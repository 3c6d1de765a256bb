"""The sums of compared pages: bytes of each kind, for each part and process, and the kinds page by page in bins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pte_magic.api import progress
from pte_magic.api.sharing import pages
from pte_magic.api.sharing.members import nobody
from pte_magic.dataframes import shared_pages
from pte_magic.dataframes.shared_pages import CODES, NOTHING, ONLY_THERE
from pte_magic.errors import PteMagicError
from pte_magic.linux.hardware import PAGE_SIZE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pte_magic.api.sharing.members import Members
    from pte_magic.api.sharing.targets_or_regions import Parts
    from pte_magic.dataframes.shared_pages import Compared, Pages
    from pte_magic.linux.address_space import AddressSpace

BINS = 640
"""Bins that the pages of all parts are put into, in the order of their addresses, for the picture."""

_KINDS = len(CODES)


class Sums(NamedTuple):
    """The sums of one process beside the one that it was forked from; ``p`` parts.

    Attributes:
        pid: The process.
        bytes: The bytes of each kind of pages in each part, ``uint64[p, len(CODES)]``.
        resident: The bytes of each part that it has in memory, ``uint64[p]``.
        bins: The pages of each kind in each bin, ``int64[BINS, len(CODES)]``.
        by_frames: The number of pages whose page frames were compared.
        by_bit: The number of those that were compared by the exclusive bit.

    """

    pid: int
    bytes: NDArray[np.uint64]
    resident: NDArray[np.uint64]
    bins: NDArray[np.int64]
    by_frames: int
    by_bit: int


class Counted(NamedTuple):
    """The result of `count`.

    Attributes:
        others: The sums of each other process.
        here: The bins of the process that they were forked from: each page as it is beside those that share most.
        pages: The number of pages in all bins.
        copies: The bytes of each part that copies take, of all processes, ``uint64[p]``.
        more: The bytes of each part that they would take in addition if all that is private was copied, ``uint64[p]``.
        first: The place of each part among all pages: the first, ``int64[p]``; `pages` if it has none.
        last: The last, ``int64[p]``; -1 if it has none.
        raw: True if raw entries tell who wrote.

    """

    others: list[Sums]
    here: NDArray[np.int64]
    pages: int
    copies: NDArray[np.uint64]
    more: NDArray[np.uint64]
    first: NDArray[np.int64]
    last: NDArray[np.int64]
    raw: bool


class _Shares(NamedTuple):
    """The bytes of pages that belong to parts: place of the page, part, bytes."""

    at: NDArray[np.intp]
    part: NDArray[np.intp]
    bytes: NDArray[np.float64]

    def summed(self, values: NDArray[Any], parts: int) -> NDArray[np.uint64]:
        """Return the sum over pages of a factor times their bytes, ``uint64[parts]``."""
        return np.bincount(self.part, self.bytes * values[self.at], minlength=parts).astype(np.uint64)


class _Beside:
    """The pages of one other process beside those of the first: pieces of kinds, and of what is resident."""

    def __init__(self, space: AddressSpace) -> None:
        self.space, self.files = space, _Files(space)
        self.code, self.there = [np.empty(0, np.uint8)], [np.empty(0, np.bool_)]
        self.by_frames = self.by_bit = 0

    def add(self, found: Compared, there: NDArray[np.bool_]) -> None:
        self.code.append(found.code)
        self.there.append(there)
        self.by_frames += found.by_frames
        self.by_bit += found.by_bit


class Table:
    """All compared pages of some ranges, ``n`` of them, with what is known of each: about 20 bytes a page.

    Attributes:
        page: Their numbers, ascending, ``uint64[n]``.
        raw: True if raw entries tell who wrote.

    """

    def __init__(self, found: Members, ranges: Sequence[tuple[int, int]], walker: str) -> None:
        """Read and compare the pages. A process that ends meanwhile is taken out, with the reason, in `left_out`.

        Raises:
            PteMagicError: The process that they were forked from has ended, or all others have.

        """
        self._found, self._walker = found, walker
        self._files = _Files(found.here)
        runs = [pages.populated(found.here, ranges, walker)]
        self._others: list[_Beside] = []
        for space in found.others:
            try:
                runs.append(pages.populated(space, ranges, walker))
                self._others.append(_Beside(space))
            except PteMagicError as error:
                found.left_out[space.pid] = str(error)
        self.raw = False
        extra, possible = [np.empty(0, np.uint16)], [np.empty(0, np.uint16)]
        every = [np.empty(0, np.uint64)]
        whole = pages.together(runs)
        with progress.bar("shared", int((whole[:, 1] - whole[:, 0]).sum()), "page") as bar:
            for page in pages.pieces(whole):
                copies, more = shared_pages.copies(self._read(page))
                every.append(page)
                extra.append(copies.astype(np.uint16))
                possible.append(more.astype(np.uint16))
                bar.update(len(page))
        if not self._others:
            raise nobody(found.here.pid, found.left_out)
        self.page = np.concatenate(every)
        self._extra, self._possible = np.concatenate(extra), np.concatenate(possible)

    def _read(self, page: NDArray[np.uint64]) -> list[Pages]:
        """Add some pages; return those of all processes."""
        ours, files = pages.read(self._found.here, page, self._walker), self._files.of(page)
        self.raw |= bool((ours.wrote >= 0).any())
        every = [ours]
        for one in list(self._others):
            try:
                theirs = pages.read(one.space, page, self._walker)
            except PteMagicError as error:  # it has ended, or changes too fast
                self._found.left_out[one.space.pid] = str(error)
                self._others.remove(one)
                continue
            one.add(shared_pages.compare(ours, theirs, files == one.files.of(page)), theirs.there)
            every.append(theirs)
        return every

    def sums(self, parts: Parts) -> Counted:
        """Return the sums of parts; pages that belong to none are left out."""
        shares, p = _shares(self.page, parts), len(parts.names)
        chosen = np.zeros(len(self.page), np.bool_)
        chosen[shares.at] = True
        count = int(np.count_nonzero(chosen))
        place = np.cumsum(chosen) - 1
        bins = place[chosen] * BINS // max(count, 1)
        first, last = np.full(p, count, np.int64), np.full(p, -1, np.int64)
        np.minimum.at(first, shares.part, place[shares.at])
        np.maximum.at(last, shares.part, place[shares.at])
        best = np.full(count, NOTHING)
        others = []
        for one in self._others:
            code, there = np.concatenate(one.code), np.concatenate(one.there)
            kinds = np.bincount(shares.part * _KINDS + code[shares.at], shares.bytes, minlength=p * _KINDS)
            of_bytes = kinds.reshape(p, _KINDS).astype(np.uint64)
            code = code[chosen]
            resident = shares.summed(there, p)
            others.append(Sums(one.space.pid, of_bytes, resident, _binned(bins, code), one.by_frames, one.by_bit))
            best = np.minimum(best, np.where(code == ONLY_THERE, NOTHING, code))
        copies, more = (shares.summed(values, p) for values in (self._extra, self._possible))
        return Counted(others, _binned(bins, best), count, copies, more, first, last, self.raw)


class _Files:
    """The file of each region of a process, as a number: equal ones in all processes are the same file."""

    def __init__(self, space: AddressSpace) -> None:
        regions = space.regions()
        self._end = np.array([region.end for region in regions], np.uint64)
        known = [hash(region.file) if region.file[1] else 0 for region in regions]
        self._file = np.array([*known, 0], np.int64)

    def of(self, page: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Return the number for each page."""
        return self._file[np.searchsorted(self._end, page * np.uint64(PAGE_SIZE), side="right")]


def _binned(at: NDArray[np.int64], code: NDArray[np.uint8]) -> NDArray[np.int64]:
    return np.bincount(at * _KINDS + code, minlength=BINS * _KINDS).reshape(BINS, _KINDS)


def _shares(page: NDArray[np.uint64], parts: Parts) -> _Shares:
    """Return which bytes of pages belong to which parts.

    Args:
        page: The numbers of the pages, ascending.
        parts: The parts.

    """
    size = np.uint64(PAGE_SIZE)
    # The places in `page` from each range's first page on, up to its last one.
    first = np.searchsorted(page, parts.start // size, side="left")
    end = np.searchsorted(page, (parts.end + (size - np.uint64(1))) // size, side="left")
    length = np.maximum(end - first, 0)
    which = np.repeat(np.arange(len(first)), length)
    at = np.arange(len(which)) - np.repeat(np.cumsum(length) - length, length) + np.repeat(first, length)
    begin = page[at] * size
    covered = np.minimum(parts.end[which], begin + size) - np.maximum(parts.start[which], begin)
    return _Shares(at, parts.part[which], covered.astype(np.float64))


def selected(counted: Counted, kinds: Sequence[int]) -> NDArray[np.uint64]:
    """Return the bytes of some kinds, for each other process and part, ``uint64[others, p]``."""
    return np.array([one.bytes[:, list(kinds)].sum(axis=1) for one in counted.others], np.uint64)
