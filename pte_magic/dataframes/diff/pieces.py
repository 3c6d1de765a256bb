"""The smallest pieces of addresses that two frames cover, and the row of each frame that covers a piece."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pte_magic.dataframes.columns import TYPES, fits
from pte_magic.dataframes.diff.values import codes
from pte_magic.dataframes.runs import is_counted
from pte_magic.errors import TargetError
from pte_magic.linux import hardware

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    Rows = NDArray[np.intp]

NEEDED = ("vaddr", "size", "state")
"""Columns that matching entries needs."""


class Side(NamedTuple):
    """The places of a frame's entries, in ascending order: those that point to page tables, or the others."""

    row: Rows
    first: NDArray[np.uint64]
    end: NDArray[np.uint64]
    depth: NDArray[np.int8]  # index of the level; -1 where unknown


class Pieces(NamedTuple):
    """Pieces of addresses, in ascending order, ``[n]`` each.

    Attributes:
        first: First address, uint64.
        size: Bytes, uint64.
        before: The row of the frame before that covers it, -1 if none does.
        after: The same for the frame after.

    """

    first: NDArray[np.uint64]
    size: NDArray[np.uint64]
    before: Rows
    after: Rows

    def of(self, keep: NDArray[np.bool_]) -> Pieces:
        """Return some of the pieces."""
        return Pieces(self.first[keep], self.size[keep], self.before[keep], self.after[keep])


def side(frame: pd.DataFrame, when: str) -> tuple[Side, Side]:
    """Return the entries at which the walk ended, and those that point to page tables, of the frame before or after.

    Raises:
        TargetError: The frame lacks a column, its rows are runs, or it has several processes.

    """
    missing = [name for name in NEEDED if name not in frame.columns]
    if missing or not frame.columns.is_unique:
        message = f"the frame {when} has no column {missing[0]!r}" if missing else f"the frame {when} has columns twice"
        message = f"{message}; compare frames as pte_magic.walk() returns them"
        raise TargetError(message)
    for name, dtype in zip(frame.columns, frame.dtypes, strict=True):
        if not fits(dtype, TYPES.get(name)):
            message = f"the column {name!r} of the frame {when} is {dtype}, and entries need {TYPES[name]}; "
            message += "give it that dtype when it is read or made, as pte_magic.walk() does"
            raise TargetError(message)
    if is_counted(frame):
        message = f"the frame {when} has runs, not entries; compare frames before .runs()"
        raise TargetError(message)
    depth = codes(frame, "level")
    first, size = (frame[name].to_numpy(np.uint64) for name in ("vaddr", "size"))
    table = np.asarray(frame["state"] == "table")
    sides = []
    for rows in (np.flatnonzero(~table), np.flatnonzero(table)):
        start = first[rows]
        if (start[1:] < start[:-1]).any():
            rows = rows[np.argsort(start, kind="stable")]  # noqa: PLW2901  (sorted, where it was not)
        sides.append(Side(rows, first[rows], first[rows] + size[rows], depth[rows]))
    ends, tables = sides
    keys = np.sort(_keys(tables))
    twice = np.concatenate([ends.first[1:][ends.first[1:] < ends.end[:-1]], keys[1:][keys[1:] == keys[:-1]]])
    if len(twice):
        message = f"{int(twice[0]) & -hardware.PAGE_SIZE:#x} is covered by several rows of the frame {when}"
        message = f"{message}; select the rows of one process and one walk, such as frame[frame.pid == PID]"
        raise TargetError(message)
    return ends, tables


def pieces(before: Side, after: Side) -> Pieces:
    """Match the entries at which walks ended; a piece has the size of the smaller one."""
    if np.array_equal(before.first, after.first) and np.array_equal(before.end, after.end):
        return Pieces(before.first, before.end - before.first, before.row, after.row)
    cuts = _union(before.first, before.end, after.first, after.end)
    first, size = cuts[:-1], np.diff(cuts)
    rows = [_covering(one, first) for one in (before, after)]
    covered = (rows[0] >= 0) | (rows[1] >= 0)
    return Pieces(first[covered], size[covered], rows[0][covered], rows[1][covered])


def _union(*ascending: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the different numbers of several arrays, in ascending order.

    The arrays are sorted, and a stable sort uses that: `numpy.unique` takes twenty times as long.
    """
    found: NDArray[np.uint64] = np.sort(np.concatenate(ascending), kind="stable")
    new: NDArray[np.uint64] = found[np.append(np.ones(min(len(found), 1), np.bool_), found[1:] != found[:-1])]
    return new


def _at(one: Side, address: NDArray[np.uint64]) -> Rows:
    """Return the entry that covers each address, -1 if none does."""
    if not len(one.row):
        return np.full(len(address), -1, np.intp)
    at = np.searchsorted(one.first, address, side="right") - 1
    return np.where((at >= 0) & (address < one.end[at]), at, -1)


def _covering(one: Side, address: NDArray[np.uint64]) -> Rows:
    """Return the row of the frame that covers each address, -1 if none does."""
    at = _at(one, address)
    return np.where(at >= 0, one.row[at], -1) if len(one.row) else at


def tables(before: Side, after: Side) -> Pieces:
    """Match the entries that point to page tables, level by level."""
    keys = [_keys(one) for one in (before, after)]
    union = _union(*keys)
    rows, sizes = [], np.zeros(len(union), np.uint64)
    for one, key in zip((before, after), keys, strict=True):
        at = np.searchsorted(union, key)
        row = np.full(len(union), -1, np.intp)
        row[at] = one.row
        sizes[at] = one.end - one.first
        rows.append(row)
    return Pieces(union & ~np.uint64(hardware.PAGE_SIZE - 1), sizes, *rows)


def _keys(one: Side) -> NDArray[np.uint64]:
    """Return address and level as one number: addresses are multiples of a page, so the level fits below."""
    return one.first | (one.depth.astype(np.int64) + 1).astype(np.uint64)


def shows_none(tables: Pieces, other: Side, missing: Rows) -> NDArray[np.bool_]:
    """Tell for missing page tables whether the frame shows that they did not exist, ``bool[n]``.

    It does where a single entry covers all addresses of the page table; else it was made without ``tables=True``.
    """
    at = _at(other, tables.first)
    found = (missing < 0) & (at >= 0)
    found[found] = (other.end - other.first)[at[found]] >= tables.size[found]
    return found
