"""The columns of a difference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pte_magic.dataframes import column_names, columns
from pte_magic.dataframes.frame_kinds import is_one
from pte_magic.dataframes.runs import COUNTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

TYPES: Mapping[str, Any] = {
    **{name: columns.TYPES[name] for name in (*column_names.WHERE, *COUNTS, "level")},
    **dict.fromkeys(("before", "after", "flipped", "pfn_before", "pfn_after"), columns.TYPES["pfn"]),
    **dict.fromkeys(("level_before", "level_after"), columns.TYPES["level"]),
    **dict.fromkeys(("state_before", "state_after"), columns.TYPES["state"]),
}
"""Dtypes of the columns, by name."""
SAYS = frozenset({"vaddr", "before", "after", "flipped"})
"""A difference has at least one of these columns."""
_SHOWN = SAYS | {"size", "change", "level", "level_before", "level_after", "state_before", "state_after"}


def is_whole(frame: pd.DataFrame) -> bool:
    """Tell whether a frame has all columns that the display of a difference needs."""
    return set(frame.columns) >= _SHOWN and is_one(frame.columns, frame.dtypes, SAYS, TYPES.get)
