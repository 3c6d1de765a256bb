"""The display of a summary: sizes with units, and shares of the bytes of which there is something."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pte_magic.text.units import size
from pte_magic.views import frame_view, pandas_table
from pte_magic.views.text_table import Rules
from pte_magic.views.value_words import MISSING

if TYPE_CHECKING:
    import pandas as pd

_RULES = Rules(keep=("region", "state", "size", "entries", "bytes", "share"))


def text(summary: pd.DataFrame) -> str:
    """Return a summary as text."""
    return "\n".join(pandas_table.fitted(_table(summary), None, _RULES, index=False).lines)


def html(summary: pd.DataFrame) -> str:
    """Return a summary as HTML."""
    return frame_view.html_table(_table(summary), None, "summary of entries", index=False)


def _table(summary: pd.DataFrame) -> pd.DataFrame:
    rows = summary.reset_index()
    # Addresses without anything are most of an address space: shares of all would be nothing for the rest.
    there = rows["bytes"].where(rows["state"].astype(object) != "none", 0)
    total = sum(map(int, there))
    return rows.assign(
        size=[size(int(found)) if found else MISSING for found in rows["size"]],
        entries=[f"{found:,}" for found in rows["entries"]],
        bytes=[size(int(found)) if found else MISSING for found in rows["bytes"]],
        share=[f"{int(found) / total:.1%}" if found else MISSING for found in there],
    )
