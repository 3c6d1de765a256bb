"""Values before and after, as plain numbers, for each piece of addresses that two frames cover."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from pandas.arrays import IntegerArray

from pte_magic.dataframes.columns import page_size
from pte_magic.dataframes.diff.values import codes, entries
from pte_magic.formats.hidden import hide

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pte_magic.dataframes.diff.pieces import Pieces, Rows
    from pte_magic.formats.kernel import Kernel

    Bools = NDArray[np.bool_]


def alike(
    before: pd.DataFrame, after: pd.DataFrame, kernel: Kernel | None, kernel_after: Kernel | None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return two frames, both without page frame numbers if one of them has none: they cannot be compared."""
    is_hidden = [bool(one and one.frames_hidden) for one in (kernel, kernel_after)]
    if is_hidden[0] == is_hidden[1]:
        return before, after
    return (before, _hidden(after, kernel_after)) if is_hidden[0] else (_hidden(before, kernel), after)


def _hidden(frame: pd.DataFrame, kernel: Kernel | None) -> pd.DataFrame:
    raw, known = entries(frame)
    if kernel is None:
        return frame
    raw = np.array(raw)  # pandas' own may not be written to
    hide(raw, codes(frame, "level"), kernel)
    found = frame.copy(deep=False)
    found["entry"] = IntegerArray(raw, ~known)
    return found


def processes(before: pd.DataFrame, after: pd.DataFrame) -> tuple[str, str] | None:
    """Return in words of which process each frame is; None if they are of one, or if that is not known."""
    one, other = (_process(frame) for frame in (before, after))
    if one is None or other is None or one == other:
        return None
    hosts = one[0] != other[0]
    first, second = (f"pid {pid} of {host}" if hosts else f"pid {pid}" for host, pid in (one, other))
    return first, second


def _process(frame: pd.DataFrame) -> tuple[str, int] | None:
    if not len(frame) or not {"host", "pid"} <= set(frame.columns):
        return None
    host, pid = frame["host"], frame["pid"]
    if not (pid == pid.iloc[0]).all() or len(host.unique()) > 1 or pd.isna(host.iloc[0]):
        return None
    return str(host.iloc[0]), int(pid.iloc[0])


class Pair(NamedTuple):
    """Values before and after, -1 where missing."""

    before: NDArray[Any]
    after: NDArray[Any]

    @property
    def differ(self) -> Bools:
        """True where both are known and differ."""
        changed: Bools = (self.before != self.after) & (self.before >= 0) & (self.after >= 0)
        return changed


class Raw(NamedTuple):
    """Raw entries before and after, and which of them are known."""

    before: NDArray[np.uint64]
    known: Bools
    after: NDArray[np.uint64]
    known_after: Bools


@dataclass(frozen=True)
class Ground:
    """Pieces of addresses, and the two frames whose rows cover them. A row of the difference is one or more pieces.

    Attributes:
        before: The frame before.
        after: The frame after.
        laid: The pieces, with the rows of both frames.
        starts: The first piece of each row of the difference, ``intp[rows]``.
        added: Of entries that point to page tables, those that certainly did not exist before, ``bool[rows]``.
        removed: The same, for after.

    """

    before: pd.DataFrame
    after: pd.DataFrame
    laid: Pieces
    starts: Rows
    added: Bools | None = None
    removed: Bools | None = None

    @cached_property
    def apart(self) -> bool:
        """True if the frames are of two processes, of which neither is earlier."""
        return processes(self.before, self.after) is not None

    def pieces(self, name: str) -> Pair:
        """Return a column's values for each piece."""
        return Pair(taken(codes(self.before, name), self.laid.before), taken(codes(self.after, name), self.laid.after))

    def rows(self, name: str) -> Pair:
        """Return a column's values for each row; missing where the pieces of a row differ."""
        found = self.pieces(name)
        return Pair(self.uniform(found.before), self.first(found.after))

    @cached_property
    def merges(self) -> bool:
        """True if there are rows of several pieces."""
        return len(self.starts) < len(self.laid.first)

    def first(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return the value of the first piece of each row."""
        return values[self.starts] if self.merges else values

    def uniform(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return the common value of all pieces of a row, else -1."""
        if not self.merges:
            return values
        least = np.minimum.reduceat(values, self.starts)
        return np.where(least == np.maximum.reduceat(values, self.starts), least, -1)

    def any(self, found: Bools) -> Bools:
        """Tell for each row whether it is true for any of its pieces."""
        return np.logical_or.reduceat(found, self.starts) if self.merges else found

    @cached_property
    def count(self) -> Rows:
        """The number of pieces of each row."""
        return np.diff(np.append(self.starts, len(self.laid.first)))

    @cached_property
    def size(self) -> NDArray[np.uint64]:
        """Bytes of each row."""
        return np.add.reduceat(self.laid.size, self.starts) if self.merges else self.laid.size

    @cached_property
    def covers(self) -> Pair:
        """Bytes that the entries of each piece cover."""
        sizes = (frame["size"].to_numpy().astype(np.int64) for frame in (self.before, self.after))
        return Pair(*(taken(size, row) for size, row in zip(sizes, (self.laid.before, self.laid.after), strict=True)))

    @cached_property
    def state(self) -> Pair:
        """States of each row."""
        return self.rows("state")

    @cached_property
    def level(self) -> Pair:
        """Levels of each row."""
        return self.rows("level")

    @cached_property
    def frames(self) -> tuple[Pair, Bools]:
        """Page frame numbers of each row, and whether they changed anywhere in it."""
        found = self.pieces("pfn")
        before = self._at_the_piece(found.before, self.before, self.laid.before)
        after = self._at_the_piece(found.after, self.after, self.laid.after)
        changed = self.any(Pair(before, after).differ)
        if self.merges:
            within = (self.laid.first - np.repeat(self.laid.first[self.starts], self.count)).astype(np.int64)
            before = np.where(before >= 0, before - within // page_size(self.before), -1)
        return Pair(self.uniform(before), self.first(after)), changed

    def _at_the_piece(self, found: NDArray[np.int64], frame: pd.DataFrame, row: Rows) -> NDArray[np.int64]:
        """Return the page frames of the pieces themselves, which may lie within a huge page."""
        first = taken(frame["vaddr"].to_numpy(), row)
        if np.array_equal(first, self.laid.first):
            return found
        offset = (self.laid.first - first).astype(np.int64) // page_size(frame)
        return np.where(found >= 0, found + offset, -1)

    @cached_property
    def raw(self) -> Raw:
        """Raw entries of each row; unknown for several that became one."""
        (before, known), (after, known_after) = entries(self.before), entries(self.after)
        row, row_after = self.first(self.laid.before), self.first(self.laid.after)
        return Raw(
            taken(before, row, 0),
            taken(known, row, 0) & (self.count == 1),
            taken(after, row_after, 0),
            taken(known_after, row_after, 0),
        )


def taken(values: NDArray[Any], row: Rows, missing: int = -1) -> NDArray[Any]:
    """Return the values of rows, `missing` where the row is -1."""
    absent = row < 0
    if absent.all():
        return np.full(len(row), missing).astype(values.dtype)
    found: NDArray[Any] = values[row]
    if absent.any():
        found[absent] = np.array(missing).astype(values.dtype)
    return found
