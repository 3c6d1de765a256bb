"""The columns of a frame of page-table entries: names, order, dtypes, and pandas arrays for them."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pandas.arrays import BooleanArray, IntegerArray

from pte_magic.dataframes import row_kernels
from pte_magic.dataframes.column_names import BOOLEANS, OF_PAGEMAP, WHERE, decoded, of_walk
from pte_magic.dataframes.lazy_arrays import Nothing, Packed, lazy
from pte_magic.errors import TargetError
from pte_magic.formats.decoding_plan import CACHES
from pte_magic.formats.field import KINDS, STATES
from pte_magic.linux import hardware
from pte_magic.linux.geometry import LEVELS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from pte_magic.dataframes.lazy_arrays import Source
    from pte_magic.formats.decode import Column
    from pte_magic.formats.kernel import Kernel

_CATEGORIES: dict[str, Any] = {
    "level": pd.CategoricalDtype(list(LEVELS), ordered=True),
    "state": pd.CategoricalDtype(list(STATES)),
    "kind": pd.CategoricalDtype(list(KINDS)),
    "cache": pd.CategoricalDtype(list(CACHES)),
}
_INTEGERS: dict[str, Any] = {
    "entry": np.dtype(np.uint64),
    "pfn": np.dtype(np.uint64),
    "mapped": np.dtype(np.uint64),
    "pkey": np.dtype(np.uint8),
    "swap_type": np.dtype(np.uint8),
    "swap_offset": np.dtype(np.uint64),
}
EAGER = (*_CATEGORIES, *OF_PAGEMAP)
"""Columns that are made at once: categories, and what no entry says."""
TYPES: dict[str, Any] = {
    **dict.fromkeys((*WHERE, "bytes"), np.dtype(np.uint64)),
    **dict.fromkeys(("entries", "pid"), np.dtype(np.int64)),
    **_CATEGORIES,
    **{name: IntegerArray(np.empty(0, dtype), np.empty(0, np.bool_)).dtype for name, dtype in _INTEGERS.items()},
    **dict.fromkeys(("map_count", "page_flags"), pd.UInt64Dtype()),
    **dict.fromkeys(BOOLEANS, pd.BooleanDtype()),
}
"""Dtypes of the columns of a frame of entries, by name; others, such as host, may have any."""


def fits(dtype: Any, wanted: Any) -> bool:
    """Tell whether a column of a dtype fits where another dtype is required."""
    if isinstance(wanted, pd.CategoricalDtype):
        return isinstance(dtype, pd.CategoricalDtype)
    return wanted is None or bool(dtype == wanted) or bool(dtype == getattr(wanted, "numpy_dtype", wanted))


def arrays(found: Mapping[str, Column], n: int, kernel: Kernel, source: Source | None = None) -> dict[str, Any]:
    """Make pandas arrays of decoded columns.

    Args:
        found: The columns; the others are lazy arrays.
        n: The number of rows.
        kernel: The kernel of the entries.
        source: The rows from which the other columns can be decoded; without it, they are empty.

    """
    made: dict[str, Any] = {}
    source = source or Nothing(n)
    for name in decoded(kernel):
        if name in _CATEGORIES:
            codes, missing = found.get(name) or (np.full(n, -1, np.int8), None)
            codes = codes if missing is None else np.where(missing, np.int8(-1), codes)
            made[name] = pd.Categorical.from_codes(codes, dtype=_CATEGORIES[name], validate=False)
        elif name not in found:
            made[name] = lazy(source, name, TYPES[name])
        elif name in _INTEGERS:
            made[name] = IntegerArray(*_whole(found[name]))
        elif name in OF_PAGEMAP:  # not a bit of an entry
            made[name] = lazy(Packed(found[name]), name, TYPES[name])
        else:
            made[name] = BooleanArray(*_whole(found[name]))
    return made


def _whole(column: Column) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    values, missing = column
    return values, np.zeros(len(values), np.bool_) if missing is None else missing


def translated(frame: pd.DataFrame) -> NDArray[np.uint64]:
    """Return the bytes that the hardware may hold as one translation with each entry, ``uint64[n]``.

    These are the bytes of its contiguous block, where the format has such blocks (``mapped``); else those that it
    covers.
    """
    size: NDArray[np.uint64] = frame["size"].to_numpy(np.uint64)
    if "mapped" not in frame.columns:
        return size
    return np.maximum(size, frame["mapped"].astype("UInt64").to_numpy(np.uint64, na_value=0))


def pages(frame: pd.DataFrame) -> NDArray[np.uint64]:
    """Return the number of smallest pages (the unit of page frame numbers) that each entry covers, ``uint64[n]``.

    Raises:
        TargetError: The host of an entry is not known.

    """
    size: NDArray[np.uint64] = frame["size"].to_numpy(np.uint64)
    codes, kernels = row_kernels.known(frame)
    shifts = [found.format.page_shift if found else _unsaid(frame) for found in kernels]
    if len(set(shifts)) <= 1:
        return size >> np.uint64(shifts[0]) if shifts else size
    return size >> np.array(shifts, np.uint64)[codes]


def page_size(frame: pd.DataFrame) -> int:
    """Return the size of the smallest page, the unit of page frame numbers, on the host of a frame.

    Raises:
        TargetError: Its entries are of hosts with several page sizes, or of unknown ones.

    """
    codes, kernels = row_kernels.known(frame)
    if kernels and None not in kernels:
        return 1 << row_kernels.of_all(frame).format.page_shift
    return 1 << _unsaid(frame.iloc[codes == len(kernels) - 1])


def _unsaid(frame: pd.DataFrame) -> int:
    """Return the bits of an address below a page, for rows whose kernel is not known.

    An entry of the lowest level covers a page; without one, the page size of this host is returned.
    """
    level = frame["level"].array if "level" in frame.columns else ()
    if isinstance(level, pd.Categorical) and tuple(level.categories) == LEVELS:
        lowest = np.flatnonzero(level.codes == len(LEVELS) - 1)
        if len(lowest):
            return int(frame["size"].iloc[lowest[0]]).bit_length() - 1
    if "host" in frame.columns and set(frame["host"].dropna()) <= {hardware.host()}:
        return hardware.PAGE_SIZE.bit_length() - 1
    message = "the kernel of these entries is not known, so its page size is not known either; keep the "
    message += f"column {row_kernels.COLUMN!r} of the frame that pte_magic.walk() returned"
    raise TargetError(message)


@functools.cache
def places(kernel: Kernel) -> dict[str, NDArray[np.intp]]:
    """Return the place of each column, as pandas' internals need it."""
    return {name: np.array([i]) for i, name in enumerate(of_walk(kernel))}


@functools.cache
def index(kernel: Kernel) -> pd.Index[str]:
    """Return the names of all columns, for a frame's ``columns``."""
    return pd.Index(of_walk(kernel))
