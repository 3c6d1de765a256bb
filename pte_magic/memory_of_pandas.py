"""What pandas' objects keep their data in: arrays of numpy, of Arrow, and of pandas itself.

Where the data lies is in private attributes only: every public way to it may make a copy, whose pages would be the
wrong answer, or keep something in the object that was asked, which would change it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pandas.api.extensions import ExtensionArray

from pte_magic import holders

if TYPE_CHECKING:
    from collections.abc import Iterator

# Masked ones, bounds of intervals, Arrow's, sparse ones.
_ATTRIBUTES = ("_data", "_mask", "_left", "_right", "_pa_array", "_sparse_values")


def parts(thing: Any) -> list[Any] | None:
    """Return the arrays that hold the data of an object, and of its index; None if it is not known of pandas.

    Of a `pandas.DataFrame` they are what `pandas.DataFrame.memory_usage` counts: not the labels of columns.
    """
    kind = type(thing)
    if issubclass(kind, (pd.DataFrame, pd.Series)):
        return [*thing._mgr.arrays, *_of_index(thing.index)]  # noqa: SLF001  (see above)
    if issubclass(kind, pd.Index):
        return _of_index(thing)
    if issubclass(kind, ExtensionArray):
        return list(_of_array(thing)) or None
    return None


def _of_index(index: Any) -> list[Any]:
    if isinstance(index, pd.RangeIndex):  # its array is made at first need, and kept here
        return [array for name, array in index._cache.items() if name == "_data"]  # type: ignore[attr-defined]  # noqa: SLF001  (see above)
    if isinstance(index, pd.MultiIndex):
        levels: Any = index._levels  # type: ignore[attr-defined]  # noqa: SLF001  (see above)
        codes: Any = index._codes  # type: ignore[attr-defined]  # noqa: SLF001  (see above)
        return [*(part for level in levels for part in _of_index(level)), *codes]
    return [index._data]  # noqa: SLF001  (see above)


def _of_array(array: Any) -> Iterator[Any]:
    """Yield what an extension array, of pandas or of somebody else, is made of."""
    if isinstance(ndarray := getattr(array, "_ndarray", None), np.ndarray):  # numpy's own, times, codes of categories
        yield ndarray
    if isinstance(array, pd.Categorical):
        yield from _of_index(array.categories)
    for name in _ATTRIBUTES:
        if (value := holders.own(array, name)) is not None:
            yield value
    if isinstance(array, pd.arrays.SparseArray):
        index: Any = array.sp_index  # of places, or of blocks of them, from which it would compute the places
        yield from [index.blocs, index.blengths] if hasattr(index, "blocs") else [index.indices]
