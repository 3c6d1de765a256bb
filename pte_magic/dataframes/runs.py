"""Runs of entries: neighbours that differ only in their place, as one row; and counts by state and size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd

from pte_magic.dataframes import column_names, columns
from pte_magic.dataframes.lazy_arrays import Lazy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pte_magic.dataframes.lazy_arrays import Source

_Values: TypeAlias = "tuple[NDArray[Any], NDArray[np.bool_]]"  # and which are missing

COUNTS = ("entries", "bytes")
"""The columns that only runs have."""


def is_counted(frame: pd.DataFrame) -> bool:
    """Tell whether the rows of a frame are runs."""
    return bool(frame.columns.isin(COUNTS).any())


def counts(frame: pd.DataFrame) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """Return the number of entries of each row, and the bytes that they cover."""
    size = frame["size"].to_numpy(np.uint64)
    if "entries" in frame.columns:
        entries = frame["entries"].to_numpy(np.int64)
    elif "bytes" in frame.columns:  # somebody dropped the other one
        entries = (frame["bytes"].to_numpy(np.uint64) // np.maximum(size, np.uint64(1))).astype(np.int64)
    else:
        return np.broadcast_to(np.int64(1), len(frame)), size
    return entries, size * entries.astype(np.uint64)


def merged(frame: pd.DataFrame, starts: NDArray[np.bool_]) -> Any:
    """Return the rows that start a run, with the columns of `COUNTS` after ``size``; rows may be runs already."""
    at = np.flatnonzero(starts)
    found = tuple(np.add.reduceat(count, at) if len(at) else count for count in counts(frame))
    made = frame.drop(columns=list(COUNTS), errors="ignore").iloc[at].reset_index(drop=True)
    place = list(made.columns).index("size") + 1
    for offset, (name, count) in enumerate(zip(COUNTS, found, strict=True)):
        made.insert(place + offset, name, count)
    return made


PLACES = ("pfn", "swap_offset")
"""The columns that say where in memory and in swap an entry's pages are."""


def starts(frame: pd.DataFrame, ignored: Sequence[str] = ()) -> NDArray[np.bool_]:
    """Tell which rows of a frame of entries do not continue the one before them, ``bool[n]``.

    Args:
        frame: The entries.
        ignored: Columns in which a row may differ from the one before it; with `PLACES`, its pages may be anywhere.

    """
    n = len(frame)
    found = np.ones(n, np.bool_)
    if n > 1:
        found[1:] = ~_continues(frame, ignored)
    return found


def _continues(frame: pd.DataFrame, ignored: Sequence[str]) -> NDArray[np.bool_]:
    """Tell for each row but the first whether it continues the one before it, ``bool[n-1]``."""
    size, vaddr = frame["size"].to_numpy(), frame["vaddr"].to_numpy()
    entries, covered = counts(frame)
    same: NDArray[np.bool_] = (vaddr[1:] == vaddr[:-1] + covered[:-1]) & (size[1:] == size[:-1])
    moves = {} if ignored else _moves(frame, entries)
    alike: dict[Source, NDArray[np.bool_]] = {}
    for name in frame.columns:
        if name in {*column_names.WHERE, "entry", *COUNTS, *ignored}:
            continue
        column = frame[name]
        array: Any = column.array
        is_numpy = isinstance(column.dtype, np.dtype) and column.dtype.kind in "biu" and name not in moves
        if isinstance(array, pd.Categorical) or is_numpy:
            codes = array.codes if isinstance(array, pd.Categorical) else column.to_numpy()
            same &= codes[1:] == codes[:-1]  # none is missing, or by -1
            continue
        source = array.source if isinstance(array, Lazy) else None
        if source is not None and name not in PLACES:
            if source not in alike:
                alike[source] = source.alike(ignored)
            # Where entries are the same, no column of theirs is to be decoded.
            rows = np.flatnonzero(same & ~alike[source])
            if len(rows):
                same[rows] = _equal(_plain(pd.Series(array.take(rows))), _plain(pd.Series(array.take(rows + 1))))
            continue
        if source is not None and array.isna().all():
            continue
        values, missing = _plain(column if source is None else column.copy())  # the frame need not keep them
        expected = values[:-1]
        if name in moves:
            expected = expected + moves[name].astype(values.dtype)
        same &= _equal((values[1:], missing[1:]), (expected, missing[:-1]))
        if not same.any():
            break
    return same


def _equal(one: _Values, other: _Values) -> NDArray[np.bool_]:
    """Tell which values are equal, or both missing."""
    (values, missing), (expected, absent) = one, other
    same: NDArray[np.bool_] = (missing == absent) & (missing | (values == expected))
    return same


def _moves(frame: pd.DataFrame, entries: NDArray[np.int64]) -> dict[str, NDArray[np.uint64]]:
    """Return the distance between neighbours in a run: of page frame numbers, and of pages in swap."""
    if not {"pfn", "swap_offset"} & set(frame.columns):
        return {}
    step = (columns.pages(frame) * entries.astype(np.uint64))[:-1]
    nothing = np.zeros(len(step), np.uint64)
    found = {"pfn": step}
    if "swap_offset" in frame.columns:
        # The content of a special entry is not a place, even if it names a page frame.
        is_place = np.asarray(frame["swap_offset"].isna())[:-1]
        is_swap = (
            np.asarray(frame["state"] == "swap")[:-1] if "state" in frame.columns else np.zeros(len(step), np.bool_)
        )
        found = {"pfn": np.where(is_place, step, nothing), "swap_offset": np.where(is_swap, step, nothing)}
    return found


def _plain(column: pd.Series[Any]) -> _Values:
    """Return a column as numbers that are equal where its values are equal, and the missing ones."""
    array: Any = column.array
    missing = np.asarray(column.isna(), np.bool_)
    dtype = getattr(column.dtype, "numpy_dtype", column.dtype)
    if isinstance(dtype, np.dtype) and dtype.kind in "biu":
        return array.to_numpy(dtype, na_value=0), missing
    try:
        return pd.factorize(column)[0], missing
    except TypeError:  # such as lists, which somebody added
        return pd.factorize(np.array([repr(value) for value in column], object))[0], missing


def summary(frame: pd.DataFrame, by: Sequence[str] = ()) -> pd.DataFrame:
    """Do what `PteFrame.summary` says."""
    entries, covered = counts(frame)
    maps = ~np.asarray(frame["state"].isin(["none", "table"]))
    size = np.where(maps, columns.translated(frame), np.uint64(0))
    covered = np.where(np.asarray(frame["state"] == "table"), np.uint64(0), covered)
    table = {name: frame[name].array for name in by}
    table |= {"state": frame["state"].array, "size": size, "entries": entries, "bytes": covered}
    return pd.DataFrame(table).groupby([*by, "state", "size"], observed=True, dropna=False).sum()
