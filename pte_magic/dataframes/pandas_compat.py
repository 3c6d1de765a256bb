"""Differences between pandas 3 and pandas 2.3, which 32-bit Debian has: PyPI has no wheels for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["TEXT", "from_blocks"]

TEXT: Any = pd.StringDtype(na_value=np.nan)
"""The dtype of a column of text: ``str`` in pandas 3, which meant objects before."""

try:
    # The usual constructor takes half a millisecond for thirty columns, this one a tenth.
    from pandas.api.internals import create_dataframe_from_blocks as from_blocks
except ImportError:

    def from_blocks(
        blocks: list[tuple[Any, NDArray[np.intp]]], index: pd.Index[Any], columns: pd.Index[str]
    ) -> pd.DataFrame:
        """Return a frame of arrays, each with the places of its columns.

        Args:
            blocks: A numpy array has one row per column, ``[places, rows]``; an array of pandas is one column.
            index: Of the frame's rows.
            columns: Names of the columns, by place.

        """
        found: dict[int, Any] = {}
        for array, places in blocks:
            found.update(zip(places.tolist(), array if isinstance(array, np.ndarray) else [array], strict=True))
        made = pd.DataFrame({at: found[at] for at in range(len(columns))}, index=index, copy=False)
        made.columns = columns
        return made
