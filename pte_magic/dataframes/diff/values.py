"""Columns of a frame as plain numbers, -1 for missing values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pte_magic.dataframes.lazy_arrays import Lazy
from pte_magic.formats.decoding_plan import CACHES
from pte_magic.formats.field import KINDS, STATES
from pte_magic.linux.geometry import LEVELS

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CATEGORIES = {"level": LEVELS, "state": STATES, "kind": KINDS, "cache": CACHES}
_NUMBERS = ("pfn", "swap_type", "swap_offset")


def codes(frame: pd.DataFrame, name: str) -> NDArray[Any]:
    """Return a column as plain numbers, ``int8[n]`` or ``int64[n]``, -1 where missing or without the column."""
    if name not in frame.columns:
        return np.full(len(frame), -1, np.int8)
    column: Any = frame[name].array
    categories = _CATEGORIES.get(name)
    if categories:
        if not isinstance(column, pd.Categorical) or tuple(column.categories) != categories:
            column = pd.Categorical(column, categories=list(categories))
        found: NDArray[Any] = column.codes
        return found
    column = column.copy() if isinstance(column, Lazy) else column  # the frame need not keep what is decoded
    numbers: NDArray[Any] = column.to_numpy(np.int64 if name in _NUMBERS else np.int8, na_value=-1)
    return numbers


def entries(frame: pd.DataFrame) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """Return the raw entries, ``uint64[n]``, and which of them are known, ``bool[n]``."""
    if "entry" not in frame.columns:
        return np.zeros(len(frame), np.uint64), np.zeros(len(frame), np.bool_)
    column: Any = frame["entry"].array
    return column.to_numpy(np.uint64, na_value=0), ~np.asarray(column.isna())
