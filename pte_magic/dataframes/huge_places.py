"""The places for huge pages in regions, and what the entries of each say: small pages, holes, swapped, shared.

A place is as large as a huge page, begins at a multiple of its size, and lies within one region.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pte_magic.formats.field import KINDS, STATES
from pte_magic.linux.hardware import PAGE_SIZE

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]
    Counts = NDArray[np.int64]
    Addresses = NDArray[np.uint64]
    Ranges = Sequence[tuple[int, int]]

_MAPS = [STATES.index(name) for name in ("present", "protnone")]
_NONE, _SWAP = STATES.index("none"), STATES.index("swap")
_ZERO = KINDS.index("zero_page")


class Area(NamedTuple):
    """A region in which huge pages may lie.

    Attributes:
        start: Its first address.
        end: The first address after it.
        offset: The rest of the address of a huge page, divided by its size: 0 but for mapped files.

    """

    start: int
    end: int
    offset: int

    def bounds(self, size: int) -> tuple[int, int]:
        """Return the first address of the first place, and the first one after the last; equal if there is none."""
        first = -(-(self.start - self.offset) // size) * size + self.offset
        return first, max(first, (self.end - self.offset) // size * size + self.offset)


class Bytes(NamedTuple):
    """The bytes of a target: on huge pages, on small ones, on the page of zeros, swapped out, not there, and others.

    ``unsure`` is true if huge pages cannot be told from small ones here; all are in ``small`` then.
    """

    huge: int
    small: int
    zero: int
    swapped: int
    absent: int
    other: int
    unsure: bool


class Places(NamedTuple):
    """The places in which small pages are, one item per place; numbers of pages are of the smallest size.

    Attributes:
        start: First address, ``uint64[n]``.
        area: The index of its region.
        bytes: Bytes of the target there.
        present: Pages of memory, without the page of zeros.
        zero: Pages that are the page of zeros.
        swapped: Pages in swap.
        shared: Pages that other entries map, too.
        writable: Pages that may be written; -1 if the walker does not see that.
        other: Entries of another kind: guards, markers, migrations.
        empty: Addresses without anything.

    """

    start: Addresses
    area: NDArray[np.intp]
    bytes: Counts
    present: Counts
    zero: Counts
    swapped: Counts
    shared: Counts
    writable: Counts
    other: Counts
    empty: Counts

    def of(self, wanted: Bools) -> Places:
        """Return some of the places."""
        return Places._make(column[wanted] for column in self)


class Measured(NamedTuple):
    """The state of a target by its entries: in all, by region, and by place."""

    bytes: Bytes
    in_places: Counts
    """Bytes of the target in places, by region."""
    huge: Counts
    """Those of them that are on huge pages, by region."""
    beside: Counts
    """Bytes of the target beside all places, by region."""
    places: Places


def nothing() -> Measured:
    """Return what there is to say of a target without a region."""
    none = np.zeros(0, np.int64)
    places = Places(none.astype(np.uint64), none, *[none] * (len(Places._fields) - 2))
    return Measured(Bytes._make([*[0] * 6, False]), none, none, none, places)


def measure(frame: pd.DataFrame, areas: Sequence[Area], ranges: Ranges, size: int) -> Measured:
    """Return what decoded entries say.

    Args:
        frame: The entries of all places that overlap the target, and of the target; none twice.
        areas: The regions, ascending.
        ranges: The target, ascending and disjoint.
        size: Bytes of a huge page.

    """
    rows, inside = _Rows(frame, size), _Covered(ranges)
    covered = inside.between(rows.start, rows.end)
    maps, known = rows.maps, rows.maps | rows.zero | rows.swapped | rows.empty
    kinds = (maps & rows.huge, maps & ~rows.huge, rows.zero, rows.swapped, rows.empty, ~known)
    sums = [int(covered[wanted].sum()) for wanted in kinds]
    of_target = Bytes._make([*sums, bool((rows.level[maps] < 0).any())])
    bounds = np.array([area.bounds(size) for area in areas], np.uint64).reshape(-1, 2)
    starts, ends = (np.array([area[at] for area in areas], np.uint64) for at in (0, 1))
    in_places = inside.between(bounds[:, 0], bounds[:, 1])
    area = np.searchsorted(ends, rows.start, side="right")
    area[(area == len(areas)) | (rows.start < np.append(starts, 0)[area])] = len(areas)
    large = maps & rows.huge
    huge = np.bincount(area[large], covered[large], len(areas) + 1)[:-1].astype(np.int64)
    return Measured(
        of_target,
        in_places,
        huge,
        inside.between(starts, ends) - in_places,
        _places(rows, known, area, bounds, inside, np.array([one.offset for one in areas], np.int64), size),
    )


def _places(  # noqa: PLR0913, PLR0917  (parts of one computation)
    rows: _Rows,
    known: Bools,
    area: NDArray[np.intp],
    bounds: Addresses,
    inside: _Covered,
    offsets: Counts,
    size: int,
) -> Places:
    at = np.flatnonzero(~rows.huge & ~rows.empty & (area < len(bounds)))
    offset = offsets[area[at]].astype(np.uint64)
    place = (rows.start[at] - offset) // np.uint64(size) * np.uint64(size) + offset
    whole = (place >= bounds[area[at], 0]) & (place < bounds[area[at], 1])
    at, place = at[whole], place[whole]
    start, first, index = np.unique(place, return_index=True, return_inverse=True)

    def pages(wanted: Bools) -> Counts:
        sizes = (rows.end[at] - rows.start[at]).astype(np.int64) // PAGE_SIZE * wanted[at]
        return np.bincount(index, sizes, len(start)).astype(np.int64)

    present, zero, swapped, other = map(pages, (rows.maps, rows.zero, rows.swapped, ~known))
    found = Places(
        start,
        area[at][first],
        inside.between(start, start + np.uint64(size)),
        present,
        zero,
        swapped,
        pages(rows.maps & rows.shared),
        np.full(len(start), -1) if rows.writable is None else pages(rows.maps & rows.writable),
        other,
        size // PAGE_SIZE - present - zero - swapped - other,
    )
    return found.of(found.bytes > 0)


class _Rows:
    """The entries of a frame, as arrays."""

    def __init__(self, frame: pd.DataFrame, huge: int) -> None:
        size = frame["size"].to_numpy(np.uint64)
        self.start: Addresses = frame["vaddr"].to_numpy(np.uint64)
        self.end: Addresses = self.start + size
        self.level = np.asarray(frame["level"].cat.codes)
        state = np.asarray(frame["state"].cat.codes)
        self.zero: Bools = np.asarray(frame["kind"].cat.codes) == _ZERO
        self.maps: Bools = np.isin(state, _MAPS) & ~self.zero
        self.swapped: Bools = state == _SWAP
        self.empty: Bools = state == _NONE
        self.huge: Bools = size >= huge
        self.shared: Bools = ~frame["mmap_exclusive"].to_numpy(np.bool_, na_value=True)
        rw: Any = frame["rw"] if "rw" in frame.columns else None
        unseen = rw is None or bool(rw[self.maps].isna().any())
        self.writable: Bools | None = None if unseen else rw.to_numpy(np.bool_, na_value=False)


class _Covered:
    """The bytes of ranges that lie within others."""

    def __init__(self, ranges: Ranges) -> None:
        bounds = np.array(ranges, np.uint64).reshape(-1, 2)
        self._start, self._end = bounds[:, 0], bounds[:, 1]
        self._before = np.concatenate([[0], np.cumsum((self._end - self._start).astype(np.int64))])

    def between(self, start: Addresses, end: Addresses) -> Counts:
        """Return how many bytes of the ranges are in each ``[start, end)``, ``int64[n]``."""
        return self._below(end) - self._below(start)

    def _below(self, address: Addresses) -> Counts:
        at = np.maximum(np.searchsorted(self._start, address, side="right") - 1, 0)
        inside = np.minimum(np.maximum(address, self._start[at]), self._end[at]) - self._start[at]
        below: Counts = self._before[at] + inside.astype(np.int64)
        return below
