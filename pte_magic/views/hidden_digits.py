"""The digits of raw entries that were hidden from this user, as question marks in what is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pte_magic.dataframes import row_kernels
from pte_magic.dataframes.diff.values import codes, entries
from pte_magic.errors import TargetError
from pte_magic.formats.hidden import taken
from pte_magic.views.value_words import marked

if TYPE_CHECKING:
    import pandas as pd


def mark(table: pd.DataFrame, rows: pd.DataFrame, whole: pd.DataFrame) -> pd.DataFrame:
    """Return a table of texts with a question mark for each hexadecimal digit all of whose bits are hidden.

    Args:
        table: The texts of what is shown; if it has a column ``entry``, it is changed.
        rows: The rows that are shown.
        whole: The frame that they are of, which says how to read its entries.

    """
    if not table.columns.is_unique or "entry" not in table.columns or str(rows["entry"].dtype) != "UInt64":
        return table
    try:
        kernel = row_kernels.of_all(whole)
    except TargetError:  # of several kernels, or of an unknown one
        return table
    if kernel.frames_hidden:
        hidden = taken(entries(rows)[0], codes(rows, "level"), kernel)
        table["entry"] = marked(table["entry"], hidden.tolist())
    return table
