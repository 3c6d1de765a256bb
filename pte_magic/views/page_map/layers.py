"""The data of a page map, as arrays: runs of entries of one category, and the places of the entries."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pte_magic.dataframes.columns import page_size
from pte_magic.dataframes.runs import is_counted
from pte_magic.errors import TargetError
from pte_magic.views.page_stretches import ranges_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from pte_magic.views.palette import Look

_NEEDED = ("vaddr", "size", "state")


class Category(NamedTuple):
    """The meaning of a colour, and its counts: entries, bytes, runs, bytes of the largest run."""

    name: str
    look: Look
    entries: int
    bytes: int
    runs: int
    largest: int


class Layer(NamedTuple):
    """One colouring of `n` entries in `m` runs; neighbouring runs differ in their code.

    Attributes:
        color: Its name: ``"state"``, ``"size"``, ``"contiguity"`` or a column of booleans.
        ends: The end of each run, counted in entries: ascending ``uint32[m]``; the last one is `n`.
        codes: Category of each run, ``uint8[m]``: an index into `categories`.
        categories: The categories that occur.
        title: The title of the map.
        unit: The noun for its entries: singular and plural.
        listed: Its runs are worth a list.

    """

    color: str
    ends: NDArray[np.uint32]
    codes: NDArray[np.uint8]
    categories: tuple[Category, ...]
    title: str = "page map"
    unit: tuple[str, str] = ("entry", "entries")
    listed: bool = True


class Spans(NamedTuple):
    """The places of entries: consecutive entries of one size, ``uint64[k]`` and ``uint32[k]``.

    Attributes:
        vaddr: First address of each span.
        size: Bytes that each of its entries covers.
        ends: The end of each span, counted in entries; the last one is `n`.

    """

    vaddr: NDArray[np.uint64]
    size: NDArray[np.uint64]
    ends: NDArray[np.uint32]


class Extents(NamedTuple):
    """The addresses of entries as a map has them: the first and the bytes of each, ``uint64[n]``."""

    vaddr: NDArray[np.uint64]
    size: NDArray[np.uint64]


def shown(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the entries that a map shows: all of what was asked for but those that point to page tables.

    Raises:
        TargetError: The frame has no addresses, or one row per run.

    """
    absent = [name for name in _NEEDED if name not in frame.columns]
    if absent:
        message = (
            f"a page map needs the columns {', '.join(_NEEDED)}, and this frame has no {', '.join(absent)}; "
            "make it of what %pte TARGET or pte_magic.walk(target) returns"
        )
        raise TargetError(message)
    if is_counted(frame):
        message = (
            "this frame has one row per run, and a page map needs one row per entry; "
            "make it of the frame before .runs()"
        )
        raise TargetError(message)
    others = (frame["state"] == "table").to_numpy(np.bool_)
    if asked := ranges_of(frame):
        first = frame["vaddr"].to_numpy(np.uint64)
        from_, to = _reached(first, first + (frame["size"].to_numpy(np.uint64) - np.uint64(1)), *_merged(asked, 1))
        others = others | (from_ > to)
    return (
        frame[~others] if others.any() else frame.copy(deep=False)
    )  # what is changed in it later stays out of the map


def extents(frame: pd.DataFrame, *, cut_all: bool = False) -> Extents:
    """Return the addresses of the entries `shown`, without what lies outside of what was asked for.

    An empty entry often covers more, up to 512 GiB: such entries are cut at the pages of the target. With `cut_all`,
    all are: then two frames of one target are as long.
    """
    vaddr, size = frame["vaddr"].to_numpy(np.uint64), frame["size"].to_numpy(np.uint64)
    asked = ranges_of(frame)
    if not asked or not len(vaddr):
        return Extents(vaddr, size)
    try:
        starts, lasts = _merged(asked, page_size(frame))
    except TargetError:  # of several hosts
        return Extents(vaddr, size)
    last = vaddr + (size - np.uint64(1))  # the end may be 2**64
    from_, to = _reached(vaddr, last, starts, lasts)
    is_cut = (from_ <= to) & (cut_all | (frame["state"] == "none").to_numpy(np.bool_, na_value=False))
    begin = np.where(is_cut, np.maximum(vaddr, starts[np.minimum(from_, len(starts) - 1)]), vaddr)
    final = np.where(is_cut, np.minimum(last, lasts[np.maximum(to, 0)]), last)
    return Extents(begin, final - begin + np.uint64(1))


def _merged(ranges: Sequence[tuple[int, int]], unit: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Return the first and last addresses of ranges of whole units, ascending and apart."""
    found: list[list[int]] = []
    for start, end in sorted(ranges):
        first, last = start // unit * unit, -(-end // unit) * unit - 1
        if found and first <= found[-1][1] + 1:
            found[-1][1] = max(found[-1][1], last)
        else:
            found.append([first, last])
    firsts, lasts = np.array(found, np.uint64).T
    return firsts, lasts


def _reached(
    first: NDArray[np.uint64], last: NDArray[np.uint64], starts: NDArray[np.uint64], lasts: NDArray[np.uint64]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the first and the last range that each entry has addresses of; the first is larger if there is none."""
    return np.searchsorted(lasts, first), np.searchsorted(starts, last, side="right") - 1


def spans(where: Extents) -> Spans:
    """Return the places of entries."""
    vaddr, size = where
    starts = starts_of(len(vaddr), ~follows(vaddr, size), size[1:] != size[:-1])
    return Spans(vaddr[starts], size[starts], ends_of(starts, len(vaddr)))


def follows(vaddr: NDArray[np.uint64], size: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Tell for each entry but the first whether it begins at the end of the one before it."""
    found: NDArray[np.bool_] = vaddr[1:] == vaddr[:-1] + size[:-1]
    return found


def starts_of(n: int, *changes: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return the starts of runs of `n` entries: the first entry, and each change, ``bool[n-1]``."""
    return np.append(0, np.flatnonzero(np.logical_or.reduce(changes)) + 1)[:n]


def ends_of(starts: NDArray[np.intp], n: int) -> NDArray[np.uint32]:
    """Return the ends of runs with these starts, of `n` entries."""
    return np.append(starts[1:], [n][: len(starts)]).astype(np.uint32)
