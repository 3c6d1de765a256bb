"""Kinds of DataFrames: entries, the translation of one address, or something else."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from pte_magic.dataframes.columns import TYPES, fits
from pte_magic.dataframes.runs import COUNTS
from pte_magic.formats.field import STATES
from pte_magic.linux.geometry import LEVELS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import pandas as pd

# Columns for counts and runs, with the dtypes of a walk. With changed ones, the rows are shown unchanged.
COUNTED = {"vaddr": "uint64", "size": "uint64", "state": "category"}
MERGED = {**COUNTED, "pfn": "UInt64", "swap_offset": "UInt64"}


def is_translation(frame: pd.DataFrame) -> bool:
    """Tell whether every row covers the address of the last one: the levels on the way to one address."""
    if not can_be_counted(frame):
        return False
    first, covers = frame["vaddr"].to_numpy(), frame["size"].to_numpy()
    if first[-1] < first[0] or first[-1] - first[0] >= covers[0]:  # nearly always, and there may be a million rows
        return False
    return bool(((first <= first[-1]) & (first[-1] - first < covers)).all())


def can_be_counted(frame: pd.DataFrame) -> bool:
    """Tell whether a frame has rows, all with known addresses and states."""
    return len(frame) > 0 and has(frame, COUNTED) and not frame["state"].isna().any()


def has(frame: pd.DataFrame, columns: dict[str, str]) -> bool:
    """Tell whether a frame has columns of these names and dtypes, and other columns of entries are unchanged."""
    if not frame.columns.is_unique:
        return False
    found = {str(name): str(dtype) for name, dtype in frame.dtypes.items()}
    if any(found.get(name, str(TYPES[name])) != str(TYPES[name]) for name in COUNTS):
        return False
    return columns.items() <= found.items() and set(frame["state"].cat.categories) <= set(STATES)


def is_chain(frame: pd.DataFrame) -> bool:
    """Tell whether a frame has the raw entries of one address, from the pgd down."""
    if len(frame) > len(LEVELS) or not {"level", "entry"} <= set(frame.columns) or not is_translation(frame):
        return False
    codes = [LEVELS.index(level) if level in LEVELS else -1 for level in frame["level"]]
    down = all(first < second for first, second in pairwise(codes))
    return codes[0] == 0 and down and bool(frame["entry"].notna().all())


def is_one(names: Iterable[Any], dtypes: Iterable[Any], says: frozenset[str], wanted: Callable[[Any], Any]) -> bool:
    """Tell whether columns are those of a class of frames.

    Args:
        names: Their names.
        dtypes: Their dtypes.
        says: Names of which a frame of that class has at least one.
        wanted: Returns the dtype that a column of some name must have; None for any.

    """
    found = dict(zip(names := list(names), dtypes, strict=True))
    if len(found) < len(names) or not says & found.keys():
        return False
    return all(fits(dtype, wanted(name)) for name, dtype in found.items())
