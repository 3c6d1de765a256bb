"""Memory of pandas' objects: their arrays of numpy, of Arrow, and of pandas itself.

Only private attributes lead to the data itself: every public way may make a copy, whose pages would be the wrong
answer, or keep something in the object, which would change it.
"""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pandas.api.extensions import ExtensionArray

from pte_magic.targets import memory_in_attributes

if TYPE_CHECKING:
    from collections.abc import Iterator

# Masked ones, bounds of intervals, Arrow's, sparse ones.
_ATTRIBUTES = ("_data", "_mask", "_left", "_right", "_pa_array", "_sparse_values")


def parts(thing: Any) -> list[Any] | None:
    """Return the arrays that hold the data of an object, and of its index; None if it is not an object of pandas.

    For a `pandas.DataFrame` they are those that `pandas.DataFrame.memory_usage` counts: not the labels of columns.
    """
    kind = type(thing)
    if issubclass(kind, (pd.DataFrame, pd.Series)):
        manager = memory_in_attributes.own(thing, "_mgr")
        return None if manager is None else [*manager.arrays, *_of_index(manager.axes[-1])]
    if issubclass(kind, pd.Index):
        return _of_index(thing)
    if issubclass(kind, ExtensionArray):
        return list(_of_array(thing)) or None
    return None


def _of_index(index: Any) -> list[Any]:
    kind = type(index)
    if issubclass(kind, pd.RangeIndex):  # its array is made at first need, and kept here
        return [array for name, array in memory_in_attributes.own(index, "_cache").items() if name == "_data"]
    if issubclass(kind, pd.MultiIndex):
        levels, codes = memory_in_attributes.own(index, "_levels"), memory_in_attributes.own(index, "_codes")
        return [*(part for level in levels for part in _of_index(level)), *codes]
    return [memory_in_attributes.own(index, "_data")]


def _of_array(array: Any) -> Iterator[Any]:
    """Yield the parts of an extension array, of pandas or of another library."""
    kind = type(array)
    ndarray = _own(array, "_ndarray")  # numpy's own, times, codes of categories
    if issubclass(type(ndarray), np.ndarray):
        yield ndarray
    if issubclass(kind, pd.Categorical):
        yield from _of_index(memory_in_attributes.own(_own(array, "_dtype"), "_categories"))
    for name in _ATTRIBUTES:
        if (value := memory_in_attributes.own(array, name)) is not None:
            yield value
    if issubclass(kind, pd.arrays.SparseArray):
        index: Any = memory_in_attributes.own(
            array, "_sparse_index"
        )  # of places, or of blocks of them, from which it would compute the places
        yield from [index.blocs, index.blengths] if hasattr(index, "blocs") else [index.indices]


def _own(array: Any, name: str) -> Any:
    """Return an attribute as `memory_in_attributes.own` does, or a member in C of a class of pandas."""
    found = memory_in_attributes.of_class(type(array), name)
    if type(found) is types.GetSetDescriptorType and found.__objclass__.__module__.startswith("pandas."):
        return found.__get__(array)
    return memory_in_attributes.own(array, name)
