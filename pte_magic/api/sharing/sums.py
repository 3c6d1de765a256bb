"""The sums of compared pages: bytes of each kind, for each part and process, and the kinds page by page in bins."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

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
    from pte_magic.api.sharing.parts import Parts
    from pte_magic.dataframes.shared_pages import Pages
    from pte_magic.linux.address_space import AddressSpace

BINS = 640
"""Bins that the pages of all parts are put into, in the order of their addresses, for the picture."""

_KINDS = len(CODES)


class Sums:
    """The sums of one process beside the one that it was forked from; ``p`` parts.

    Attributes:
        space: The process.
        bytes: The bytes of each kind of pages in each part, ``uint64[p, len(CODES)]``.
        resident: The bytes of each part that it has in memory, ``uint64[p]``.
        bins: The pages of each kind in each bin, ``int64[BINS, len(CODES)]``.
        by_frames: The number of pages whose page frames were compared.
        by_bit: The number of those that were compared by the exclusive bit.

    """

    def __init__(self, space: AddressSpace, parts: int) -> None:
        self.space = space
        self.bytes = np.zeros((parts, _KINDS), np.uint64)
        self.resident = np.zeros(parts, np.uint64)
        self.bins = np.zeros((BINS, _KINDS), np.int64)
        self.by_frames = self.by_bit = 0


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

    def summed(self, values: NDArray[np.int64], parts: int) -> NDArray[np.uint64]:
        """Return the sum over pages of a factor times their bytes, ``uint64[parts]``."""
        return np.bincount(self.part, self.bytes * values[self.at], minlength=parts).astype(np.uint64)


def count(found: Members, parts: Parts, walker: str) -> Counted:
    """Compare the pages of all parts, and sum them up.

    A process that ends meanwhile is taken out of `found`, with the reason.

    Raises:
        PteMagicError: The process that they were forked from has ended, or all others have.

    """
    ranges = parts.ranges()
    runs = [pages.populated(found.here, ranges, walker)]
    sums: list[Sums] = []
    for space in found.others:
        try:
            runs.append(pages.populated(space, ranges, walker))
        except PteMagicError as error:
            found.left_out[space.pid] = str(error)
        else:
            sums.append(Sums(space, len(parts.names)))
    return _Count(found, parts, walker).over(pages.together(runs), sums)


class _Count:
    def __init__(self, found: Members, parts: Parts, walker: str) -> None:
        self._found, self._parts, self._walker = found, parts, walker
        self._files = {space.pid: _Files(space) for space in (found.here, *found.others)}

    def over(self, runs: NDArray[np.uint64], sums: list[Sums]) -> Counted:
        count, p = int((runs[:, 1] - runs[:, 0]).sum()), len(self._parts.names)
        here = np.zeros((BINS, _KINDS), np.int64)
        copies, more = np.zeros(p, np.uint64), np.zeros(p, np.uint64)
        first, last = np.full(p, count, np.int64), np.full(p, -1, np.int64)
        done, raw = 0, False
        with progress.bar("shared", count, "page") as bar:
            for page in pages.pieces(runs):
                ours = pages.read(self._found.here, page, self._walker)
                raw |= bool((ours.wrote >= 0).any())
                shares = _shares(page, self._parts)
                np.minimum.at(first, shares.part, shares.at + done)
                np.maximum.at(last, shares.part, shares.at + done)
                bins = (np.arange(done, done + len(page)) * BINS) // count
                every, best = [ours], np.full(len(page), NOTHING)
                for one in list(sums):
                    theirs = self._read(one, page, sums)
                    if theirs is None:
                        continue
                    code = self._add(one, page, (ours, theirs), shares, bins)
                    best = np.minimum(best, np.where(code == ONLY_THERE, NOTHING, code))
                    every.append(theirs)
                _binned(here, bins, best)
                extra, possible = shared_pages.copies(every)
                copies += shares.summed(extra, p)
                more += shares.summed(possible, p)
                done += len(page)
                bar.update(len(page))
        if not sums:
            raise nobody(self._found.here.pid, self._found.left_out)
        return Counted(sums, here, count, copies, more, first, last, raw)

    def _read(self, one: Sums, page: NDArray[np.uint64], sums: list[Sums]) -> Pages | None:
        try:
            return pages.read(one.space, page, self._walker)
        except PteMagicError as error:  # it has ended, or changes too fast
            self._found.left_out[one.space.pid] = str(error)
            sums.remove(one)
            return None

    def _add(
        self,
        one: Sums,
        page: NDArray[np.uint64],
        both: tuple[Pages, Pages],
        shares: _Shares,
        bins: NDArray[np.int64],
    ) -> NDArray[np.uint8]:
        same = self._files[self._found.here.pid].of(page) == self._files[one.space.pid].of(page)
        found = shared_pages.compare(*both, same)
        p = len(self._parts.names)
        kinds = np.bincount(shares.part * _KINDS + found.code[shares.at], shares.bytes, minlength=p * _KINDS)
        one.bytes += kinds.reshape(p, _KINDS).astype(np.uint64)
        one.resident += shares.summed(both[1].there.astype(np.int64), p)
        _binned(one.bins, bins, found.code)
        one.by_frames += found.by_frames
        one.by_bit += found.by_bit
        return found.code


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


def _binned(bins: NDArray[np.int64], at: NDArray[np.int64], code: NDArray[np.uint8]) -> None:
    bins += np.bincount(at * _KINDS + code, minlength=BINS * _KINDS).reshape(BINS, _KINDS)


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
