"""`table`: the output of a script as a DataFrame."""

from __future__ import annotations

import csv
import re
from typing import Any

import numpy as np
import pandas as pd

from pte_magic.dataframes.pandas_compat import TEXT
from pte_magic.errors import SystemTapError
from pte_magic.errors.escapes import visible

_BLANKS = re.compile(" +")
_WHOLE = re.compile(r"[+-]?(?:\d{1,20}|0[xX][0-9a-fA-F]{1,16})", re.ASCII)
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)


def table(text: str) -> pd.DataFrame:
    """Return the table whose first line names its columns.

    Columns are separated by tabs if the first line has one, else by commas if it has one, else by blanks; then the last
    column takes the rest of its line. Lines may end early. Empty lines are skipped.

    Returns:
        Whole numbers, in decimal or as ``0x…``, are ``Int64``, or ``UInt64`` where one needs it; other numbers float64;
        other columns are printable text (see `escapes.visible`). Values that a line lacks are missing.

    Raises:
        SystemTapError: There is no first line, or a line has more columns than it.

    """
    # Not splitlines(): what a script prints of a process, such as its name, may hold any character but this one.
    lines = [line.removesuffix("\r") for line in text.split("\n") if line.strip(" \r\t")]
    if not lines:
        message = "the script printed nothing, so there is no table; print a line of column names first"
        raise SystemTapError(message)
    header, *rows = _split(lines)
    for line, row in zip(lines[1:], rows, strict=True):
        if len(row) > len(header):
            message = f"more columns than the first line's {len(header)}: {line!r:.80}"
            raise SystemTapError(message)
    columns = {at: _typed([row[at].strip(" ") if at < len(row) else "" for row in rows]) for at in range(len(header))}
    made = pd.DataFrame(columns, index=range(len(rows)))
    made.columns = pd.Index([visible(name.strip(" ")) for name in header])
    return made


def _split(lines: list[str]) -> list[list[str]]:
    if "\t" in lines[0]:
        return [line.split("\t") for line in lines]
    if "," in lines[0]:
        return [_commas(line) for line in lines]
    # Not split() without an argument: what it takes for blanks may be in a name, too.
    width = len(_BLANKS.split(lines[0].strip(" ")))
    return [_BLANKS.split(line.strip(" "), maxsplit=width - 1) if width > 1 else [line] for line in lines]


def _commas(line: str) -> list[str]:
    try:
        return next(csv.reader([line], strict=True))
    except csv.Error:  # a quotation mark that is just that
        return line.split(",")


def _typed(values: list[str]) -> Any:
    """Return a column of the type that holds all its texts; an empty text is missing."""
    given = [value for value in values if value]
    if given and all(_WHOLE.fullmatch(value) for value in given):
        numbers = {value: int(value, 16 if "x" in value.lower() else 10) for value in given}
        low, high = min(numbers.values()), max(numbers.values())
        if low >= -(1 << 63) and high < 1 << 63:
            return pd.array([numbers.get(value, pd.NA) for value in values], dtype=pd.Int64Dtype())
        if low >= 0 and high < 1 << 64:
            return pd.array([numbers.get(value, pd.NA) for value in values], dtype=pd.UInt64Dtype())
    elif given and all(_NUMBER.fullmatch(value) for value in given):
        return np.array([float(value) if value else np.nan for value in values])
    return pd.array([visible(value) or None for value in values], dtype=TEXT)
