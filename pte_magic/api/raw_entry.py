"""`raw_entry`: the raw entry of one row of a frame, by the row's number as a user gives it."""

from __future__ import annotations

from typing import Any

import pandas as pd

from pte_magic.errors import TargetError
from pte_magic.errors.arguments import index, shown
from pte_magic.text import screen


def raw_entry(frame: pd.DataFrame, row: Any) -> tuple[Any, int]:
    """Return the row, as a frame, and its raw entry.

    Args:
        frame: A frame with the columns ``entry`` and ``level``.
        row: Its number, from either end; None for the first at which a translation ends, or else the first.

    Raises:
        TargetError: There is no such row, or it has no raw entry.

    """
    at = _place(frame, row)
    entry = frame["entry"].iloc[at]
    if pd.isna(entry):
        walker = frame["walker"].iloc[at] if "walker" in frame.columns else "its origin"
        message = f"row {row if row is not None else at} has no raw entry: {walker} shows none; "
        message += f"{screen.doctor()} says which walker does"
        raise TargetError(message)
    return frame.iloc[[at]], int(entry)


def _place(frame: pd.DataFrame, row: Any) -> int:
    if row is None:
        row = int((frame["state"] != "table").to_numpy().argmax()) if len(frame) and "state" in frame.columns else 0
    at = index(row)
    if at is None:
        message = f"row {shown(row)} is not a row number; type one from 0 to {len(frame) - 1}"
        raise TargetError(message)
    if not -len(frame) <= at < len(frame):
        message = f"row {shown(at)} does not exist; the frame has {len(frame)}"
        raise TargetError(message)
    return at
