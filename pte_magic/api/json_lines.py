"""Rows of a frame as JSON, one object per row."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pandas as pd

from pte_magic.views.value_words import is_hex, of_number

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROWS = 10_000  # that are Python's objects at a time: each takes some hundred times as much as in the frame


def lines(frame: pd.DataFrame) -> Iterator[str]:
    """Yield the rows of a frame as JSON objects, each in one line; a named index is among the columns.

    Addresses, raw entries and page frame numbers are texts in hex, as the frame prints them: a raw entry has more bits
    than a number of JSON can be relied on to have. Missing values are null.
    """
    if any(name is not None for name in frame.index.names):
        frame = pd.DataFrame(frame).reset_index()
    for first in range(0, len(frame), _ROWS):
        part = frame.iloc[first : first + _ROWS]
        columns = {str(name): _values(str(name), part[name]) for name in part.columns}
        for row in zip(*columns.values(), strict=True):
            yield json.dumps(dict(zip(columns, row, strict=True)), ensure_ascii=False)


def _values(name: str, column: pd.Series[Any]) -> list[Any]:
    values = column.astype(object).where(column.notna(), None).tolist()
    form = of_number(name) if is_hex(name) and str(column.dtype).lower() == "uint64" else None
    return [value if form is None or value is None else form(value) for value in values]
