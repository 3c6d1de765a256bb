"""The headline of a frame: counts of entries by state and size; and runs where there are too many rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pte_magic.dataframes.columns import translated
from pte_magic.dataframes.frame_kinds import MERGED, can_be_counted, has, is_translation
from pte_magic.dataframes.row_kernels import COLUMN
from pte_magic.dataframes.runs import PLACES, is_counted, merged, starts
from pte_magic.dataframes.runs import counts as entries_of
from pte_magic.errors import TargetError
from pte_magic.formats.field import STATES
from pte_magic.text import screen
from pte_magic.text.units import counted, size
from pte_magic.views.computed_once import once

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FIRST = 1 << 12
ACCESSED = "accessed entries"
"""The column of `shortened` runs for the number of entries that are accessed, if that is not all or none in a run."""

_SAYING = (COLUMN, "state", "level", "host")  # which tell places from other numbers, and the size of a page
_LOOSE = (*PLACES, "accessed")  # reclaim and DAMON clear this bit page by page
_TIMES = "\N{MULTIPLICATION SIGN}"
# The order of states in the line: first those that map memory, last those that map nothing.
_TOLD = (*(state for state in STATES if state not in {"none", "table"}), "none", "table")


@once
def headline(frame: pd.DataFrame) -> list[str]:
    """Return the line about a range: its entries and bytes, and counts by state and size.

    There is no line for the translation of a single address, which has few rows, or if a column is missing.
    """
    if not _is_range(frame):
        return []
    weight, state, *covered_by = _stretches(frame)
    which, sizes, blocks = _sizes(*covered_by)
    counts = np.zeros((len(sizes), len(_TOLD)), np.int64)
    np.add.at(counts, (which, state), weight)
    # As Python's numbers, which have no end: 2**64 bytes are possible.
    found = [
        (_TOLD[j], int(sizes[i]), int(blocks[i]), int(counts[i, j]))
        for j in range(len(_TOLD))
        for i in np.lexsort((blocks, sizes))
        if counts[i, j]
    ]
    parts: dict[str, int] = {}
    for name, covers, block, count in found:
        of_block = f" in contiguous {size(block)}" if block > covers else ""
        what = name if name in {"none", "table"} else f"{name} {size(covers)}{of_block}"
        parts[what] = parts.get(what, 0) + count
    total = sum(count for name, _, _, count in found if name != "table")
    covered = sum(count * covers for name, covers, _, count in found if name != "table")
    told = "; ".join(f"{what} {_TIMES} {count:,}" for what, count in parts.items())
    return [f"{counted(total, 'entry', 'entries')}, {size(covered)}: {told}"]


def _stretches(
    frame: pd.DataFrame,
) -> tuple[NDArray[np.int64], NDArray[np.intp], NDArray[np.uint64], NDArray[np.uint64]]:
    """Return entries, state as in `_TOLD`, size and size of the block of each stretch of rows that have these alike."""
    state: Any = frame["state"].array
    covers, block = frame["size"].to_numpy(np.uint64), translated(frame)
    changes = np.ones(len(frame), np.bool_)
    changes[1:] = state.codes[1:] != state.codes[:-1]
    for values in (covers, block):
        changes[1:] |= values[1:] != values[:-1]
    at = np.flatnonzero(changes)
    told = np.array([_TOLD.index(name) for name in state.categories], np.intp)
    return np.add.reduceat(entries_of(frame)[0], at), told[state.codes[at]], covers[at], block[at]


def _sizes(
    covers: NDArray[np.uint64], block: NDArray[np.uint64]
) -> tuple[NDArray[np.intp], NDArray[np.uint64], NDArray[np.uint64]]:
    """Return the kind of size of each entry, ``intp[n]``; and for each kind its size, and the size of its block."""
    (of_size, sizes), (of_block, blocks) = pd.factorize(covers), pd.factorize(block)
    which, kinds = pd.factorize(of_size * len(blocks) + of_block)
    return which, sizes[kinds // len(blocks)], blocks[kinds % len(blocks)]


def _is_range(frame: pd.DataFrame) -> bool:
    return can_be_counted(frame) and not is_translation(frame)


def all_rows() -> str:
    """Return how to see all rows of a table."""
    return screen.either("pandas.options.display.max_rows = None", "--all") + " shows all rows"


def shown_as(runs: int, *, contiguous: bool = True) -> str:
    """Return the line that says that runs are shown, and how to see all rows."""
    those = screen.either(".runs()", "--runs")
    where = "" if contiguous else f", whose page frames need not be contiguous ({those} merges only those that are)"
    return f"shown as {counted(runs, 'run')} of neighbours{where}; {all_rows()}"


def shortened(frame: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Return the rows to show: runs if pandas would not print all rows; and the line that says so.

    Here a run may have its pages anywhere in memory; then it is shown without page frames. Some of its entries may be
    accessed, and some not; then the runs have a column `ACCESSED`. Frames that runs would not show completely keep
    their rows: runs, added objects, an index with a meaning.
    """
    limit = pd.get_option("display.max_rows")
    if not limit or len(frame) <= limit or is_counted(frame) or not has(frame, MERGED):
        return frame, []
    index = frame.index
    means_something = index.name is not None or not pd.api.types.is_integer_dtype(index.dtype)
    if means_something or any(pd.api.types.is_object_dtype(dtype) for dtype in frame.dtypes):
        return frame, []
    try:
        apart = starts(frame, _LOOSE)
        runs = merged(frame, apart)
        where = frame[["vaddr", "size", *PLACES, *(name for name in _SAYING if name in frame.columns)]]
        # Memory that is not contiguous nearly always shows that in its first pages.
        contiguous = all((starts(where.iloc[rows]) <= apart[rows]).all() for rows in (slice(_FIRST), slice(None)))
    except TargetError:  # nobody knows how large pages are
        return frame, []
    if len(runs) == len(frame):
        return frame, []
    says = shown_as(len(runs), contiguous=contiguous) + _count_accessed(frame, runs, apart)
    return runs if contiguous else runs.drop(columns=list(PLACES)), [says]


def _count_accessed(frame: pd.DataFrame, runs: pd.DataFrame, apart: NDArray[np.bool_]) -> str:
    """Add the column `ACCESSED` to runs, where it says something; return what explains it."""
    if "accessed" not in frame.columns:
        return ""
    accessed = frame["accessed"].copy().to_numpy(np.uint8, na_value=0)  # of a copy: the frame need not keep them
    some = np.add.reduceat(accessed, np.flatnonzero(apart), dtype=np.int64)
    in_part = (some > 0) & (some < runs["entries"].to_numpy())
    if not in_part.any():
        return ""
    runs.loc[in_part, "accessed"] = pd.NA
    runs[ACCESSED] = some
    return "; accessed n/m: n of m entries"
