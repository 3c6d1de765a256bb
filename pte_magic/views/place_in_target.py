"""The place of each entry in what was asked for: an array's index, or the offset in bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pte_magic.dataframes.frame_kinds import can_be_counted, is_translation
from pte_magic.dataframes.runs import counts
from pte_magic.text.units import size

if TYPE_CHECKING:
    import pandas as pd

ITEMS = "items"
"""The name in ``attrs`` of an array's layout: its first address, the bytes of an item, and its shape."""


def offsets(frame: pd.DataFrame, rows: pd.DataFrame) -> tuple[str, list[str]] | None:
    """Return the heading of the column and a text for each of some rows of a frame; None if there is nothing to say."""
    if len(frame) < 2 or not can_be_counted(frame) or is_translation(frame):  # noqa: PLR2004  (one begins where it begins)
        return None
    vaddr = rows["vaddr"].to_numpy(np.uint64)
    if items := items_of(frame):
        return "index", [_index(int(address), items) for address in vaddr]
    first, covered = frame["vaddr"].to_numpy(np.uint64), counts(frame)[1]
    if not first[0] or (first[1:] != first[:-1] + covered[:-1]).any():  # all addresses, or several pieces
        return None
    return "offset", [f"+{size(int(address - first[0]))}" for address in vaddr]


def items_of(frame: pd.DataFrame) -> dict[str, Any]:
    """Return the layout of the array that a frame is of; empty if it is not known."""
    items = frame.attrs.get(ITEMS)
    return items if isinstance(items, dict) and items.keys() == {"first", "bytes", "shape"} else {}


def _index(address: int, items: dict[str, Any]) -> str:
    """Return the first item that begins at an address or after it: the one before may begin on the page before."""
    at = max(0, -(-(address - items["first"]) // items["bytes"]))
    shape = tuple(items["shape"])
    if at >= int(np.prod(shape)):
        return "-"
    return f"[{', '.join(f'{index:_}' for index in np.unravel_index(at, shape))}]"
