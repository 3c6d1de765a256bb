"""Arrays of numpy, many at once: which of them are views, of which dtypes they are, and how many bytes they have.

Members of ``PyArrayObject_fields`` (numpy/ndarraytypes.h) are read if they are where numpy's headers have them: they
are tried on arrays whose answers are known. Else each array is asked.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from pte_magic.targets import object_words
from pte_magic.targets.object_words import WORD

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

BASE: Any = np.ndarray.__dict__["base"].__get__
DTYPE: Any = np.ndarray.__dict__["dtype"].__get__
_BYTES: Any = np.ndarray.__dict__["nbytes"].__get__
# data, nd, dimensions, strides come before it; then the dtype
_BASE_AT = object.__basicsize__ + 4 * WORD
_DTYPE_AT = _BASE_AT + WORD


def bytes_of(things: Sequence[Any]) -> NDArray[np.int64]:
    """Return the bytes of arrays' elements, ``int64[n]``."""
    return np.fromiter(map(_BYTES, things), np.int64, len(things))


def are_views(things: Sequence[Any], ids: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Tell which arrays show memory that another object holds, ``bool[n]``."""
    if not _are_known():
        return np.array([BASE(one) is not None for one in things], np.bool_)
    found: NDArray[np.bool_] = object_words.at(ids, _BASE_AT) != 0
    return found


def have_dtype(things: Sequence[Any], ids: NDArray[np.uint64], wanted: Any) -> NDArray[np.bool_]:
    """Tell which arrays have a dtype for which a function returns true, ``bool[n]``."""
    if not _are_known():
        return np.array([wanted(DTYPE(one)) for one in things], np.bool_)
    first, of = object_words.distinct(object_words.at(ids, _DTYPE_AT))
    return np.array([wanted(DTYPE(things[at])) for at in first.tolist()], np.bool_)[of]


def have_objects(things: Sequence[Any], ids: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Tell which arrays have elements that are references, ``bool[n]``."""
    return have_dtype(things, ids, lambda dtype: dtype.hasobject)


@functools.cache
def _are_known() -> bool:
    """Tell whether the members are where they are looked for."""
    array = np.zeros((3, 5), np.dtype([("a", "<u2"), ("b", "<i8")]))
    arrays = array, array[1:, ::2], np.zeros(3, "<f4")
    ids = np.array([id(one) for one in arrays], np.uint64)
    bases = [0 if BASE(one) is None else id(BASE(one)) for one in arrays]
    dtypes = [id(DTYPE(one)) for one in arrays]
    return [bases, dtypes] == [object_words.at(ids, offset).tolist() for offset in (_BASE_AT, _DTYPE_AT)]
