"""How a frame is shown: hex, sizes with units, bits as 0 and 1, and no columns that say nothing."""

from __future__ import annotations

import html as html_escape
from itertools import compress
from typing import TYPE_CHECKING, Any

import pandas as pd

from pte_magic.units import size

if TYPE_CHECKING:
    from collections.abc import Callable

MISSING = "-"
_HEX = {"vaddr": "#014x", "entry": "#018x", "pfn": "#x", "swap_offset": "#x"}
_SIZES = {"size", "bytes"}
_CONSTANT = ("cache", "pkey", "host", "pid", "walker")


def formatters(frame: pd.DataFrame) -> dict[Any, Callable[[Any], str]]:
    """Return what formats the values of each column, for pandas' ``to_string`` and ``to_html``."""
    return {name: _formatter(str(name), dtype) for name, dtype in frame.dtypes.items()}


def _formatter(name: str, dtype: Any) -> Callable[[Any], str]:
    if name in _HEX:
        return lambda value: MISSING if pd.isna(value) else format(int(value), _HEX[name])
    if name in _SIZES:
        return lambda value: MISSING if pd.isna(value) else size(int(value))
    if isinstance(dtype, pd.BooleanDtype):
        return lambda value: MISSING if pd.isna(value) else str(int(value))
    return lambda value: MISSING if pd.isna(value) else str(value)


def text(frame: pd.DataFrame) -> str:
    """Return a frame as text, for the terminal, which is narrow: the bits that are set, by their names."""
    shown, notes = _worth_showing(frame)
    shown, limit = _ends(shown)
    bits = [str(name) for name, dtype in shown.dtypes.items() if isinstance(dtype, pd.BooleanDtype)]
    words = _words(shown.drop(columns=bits))
    if bits:
        is_set = shown[bits].fillna(value=False).astype(bool).to_numpy()
        words["bits that are set"] = [" ".join(compress(bits, row)) or MISSING for row in is_set]
    return "\n".join([words.to_string(max_rows=limit), *notes])


def html(frame: pd.DataFrame) -> str | None:
    """Return a frame as HTML, for a notebook; None if pandas was told not to."""
    if not pd.get_option("display.notebook_repr_html"):
        return None
    shown, notes = _worth_showing(frame)
    shown, limit = _ends(shown)
    words = _words(shown)
    for at, name in enumerate(words.columns):
        if name in _SIZES:
            words.isetitem(at, [value.replace(" ", "\N{NO-BREAK SPACE}") for value in words.iloc[:, at]])
    table: str = words.to_html(max_rows=limit, notebook=True)
    return f"{table}<p>{'<br>'.join(html_escape.escape(note) for note in notes)}</p>"


def _worth_showing(frame: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Return a frame without the columns that say nothing, and the lines below it that say what they would."""
    shape = f"{len(frame)} rows x {len(frame.columns)} columns"
    if not len(frame) or not frame.columns.is_unique or not {"level", "state"} <= set(frame.columns):
        return frame, [f"[{shape}]"]
    empty = [name for name in frame.columns if frame[name].isna().all()]
    values = {name: frame[name].dropna().unique() for name in _CONSTANT if name in frame.columns}
    same = {name: found[0] for name, found in values.items() if len(found) == 1}
    if empty:
        shape += f"; {len(empty)} of them missing throughout, not shown"
    notes = [f"[{shape}]"]
    if same:
        notes.append(", ".join(f"{name} {value}" for name, value in same.items()))
    return frame.drop(columns=[*empty, *same]), notes


def _ends(frame: pd.DataFrame) -> tuple[pd.DataFrame, int | None]:
    """Cut what pandas would not print out of a long frame; return how many rows it is to print."""
    limit = pd.get_option("display.max_rows")
    if not limit or len(frame) <= limit:
        return frame, None
    keep = min(pd.get_option("display.min_rows") or limit, limit)
    half = keep // 2 + 1  # pandas has to see a row more than it prints, to say that there are more
    return frame.iloc[[*range(half), *range(len(frame) - half, len(frame))]], keep


def _words(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame of what is printed for each value."""
    columns = [
        [form(value) for value in frame.iloc[:, at]]
        for at, form in enumerate(_formatter(str(name), dtype) for name, dtype in frame.dtypes.items())
    ]
    words = pd.DataFrame(dict(enumerate(columns)), frame.index)
    words.columns = frame.columns
    return words
