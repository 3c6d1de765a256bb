"""The original dtypes of columns that come back from a file or from pandas with others, where nothing was lost.

CSV has no dtypes, and other formats and libraries do not have all of them. A column of numbers that became floats stays
what it is if a float cannot hold all their bits; a method that needs the column then raises an error.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pandas.arrays import BooleanArray, IntegerArray

from pte_magic.dataframes import row_kernels
from pte_magic.errors import TargetError

if TYPE_CHECKING:
    from collections.abc import Callable

_EXACT = 1 << 53
"""Floats of 64 bits hold all whole numbers below it."""
_NAMES = ("host", "walker", row_kernels.COLUMN)
_TRUTH = {True: True, False: False, "True": True, "False": False}


def restored(frame: pd.DataFrame, wanted: Callable[[Any], Any]) -> pd.DataFrame:
    """Return a frame whose columns have their dtypes again, where no value would be lost.

    Args:
        frame: The frame.
        wanted: Returns the dtype that a column of some name must have; None for any.

    """
    if not frame.columns.is_unique:
        return frame
    types = {name: wanted(name) for name in frame.columns}
    other = {name: dtype for name, dtype in types.items() if dtype is not None and frame[name].dtype != dtype}
    found: dict[Any, Any] = {name: _names(frame[name]) for name in _NAMES if name in frame.columns}
    for name, dtype in other.items():
        if isinstance(dtype, pd.CategoricalDtype):
            array = _category(frame[name], dtype)
        elif isinstance(dtype, pd.BooleanDtype):
            array = _booleans(frame[name])
        elif isinstance(dtype, pd.Float64Dtype):
            array = _floats(frame[name])
        else:
            array = _integers(frame[name], dtype)
        if array is not None:
            found[name] = array
    return frame.assign(**found) if found else frame


def attrs(data: Any, frame: pd.DataFrame) -> dict[Any, Any]:
    """Return the `attrs` of a frame made of some data: those of the data, and those that its rows show."""
    found = deepcopy(data.attrs) if isinstance(data, pd.DataFrame) else {}
    if row_kernels.COLUMN in frame.columns and frame.columns.is_unique and "entry" in frame.columns:
        try:
            kernels = row_kernels.known(frame)[1]
        except TargetError:  # decoding it raises an error
            return found
        if len(kernels) == 1 and kernels[0] and frame["entry"].notna().any():
            found |= row_kernels.attrs(kernels[0])
    return found


def _names(column: pd.Series[Any]) -> Any:
    """Return a column of few different texts as categories."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return column.array
    try:
        return pd.Categorical(column.astype(object).where(column.notna(), None))
    except TypeError:  # whatever somebody put there
        return column.array


def _category(column: pd.Series[Any], dtype: Any) -> Any:
    known = column.isna() | column.isin(dtype.categories)
    return pd.Categorical(column, dtype=dtype) if known.all() else None


def _booleans(column: pd.Series[Any]) -> Any:
    missing = np.asarray(column.isna(), np.bool_)
    try:
        values = [_TRUTH[value] for value in column[~missing]]
    except (KeyError, TypeError):
        return None
    whole = np.zeros(len(column), np.bool_)
    whole[~missing] = values
    return BooleanArray(whole, missing)


def _floats(column: pd.Series[Any]) -> Any:
    try:
        return column.astype("Float64").array
    except (TypeError, ValueError):
        return None


def _integers(column: pd.Series[Any], dtype: Any) -> Any:
    missing = np.asarray(column.isna(), np.bool_)
    wanted: np.dtype[Any] = getattr(dtype, "numpy_dtype", dtype)
    if wanted is dtype and missing.any():
        return None
    try:
        values = [_whole(value) for value in column[~missing]]
        whole = np.zeros(len(column), wanted)
        whole[~missing] = np.array(values, wanted)
    except (OverflowError, ValueError, TypeError):
        return None
    return whole if wanted is dtype else IntegerArray(whole, missing)


def _whole(value: Any) -> int:
    """Return a value as a whole number if it certainly is one."""
    if isinstance(value, (bool, np.bool_)) or (
        isinstance(value, (float, np.floating)) and not abs(float(value)) < _EXACT
    ):
        raise ValueError
    number = int(value, 0) if isinstance(value, str) else int(value)
    if not isinstance(value, str) and number != value:
        raise ValueError
    return number
