"""How a frame is shown: hex, sizes with units, bits as 0 and 1, and no columns that say nothing."""

from __future__ import annotations

import html as html_escape
from itertools import compress
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Callable

    from pte_magic.frame import PteFrame

MISSING = "-"
_HEX = {"vaddr": "#014x", "entry": "#018x", "pfn": "#x", "swap_offset": "#x"}
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_CONSTANT = ("cache", "pkey", "host", "pid", "walker")


def size(count: int) -> str:
    """Return a number of bytes with its unit: ``2 MiB``, ``1.5 GiB``."""
    unit = 0
    value = float(count)
    while value >= 1024 and unit < len(_UNITS) - 1:  # noqa: PLR2004  (the ratio of units)
        value /= 1024
        unit += 1
    return f"{value:.4g} {_UNITS[unit]}"


def formatters(frame: pd.DataFrame) -> dict[Any, Callable[[Any], str]]:
    """Return what formats the values of each column, for pandas' ``to_string`` and ``to_html``."""
    found: dict[Any, Callable[[Any], str]] = {}
    for name, dtype in frame.dtypes.items():
        if name in _HEX:
            found[name] = _hex(_HEX[str(name)])
        elif name in ("size", "bytes"):
            found[name] = lambda value: size(int(value))
        elif isinstance(dtype, pd.BooleanDtype):
            found[name] = lambda value: MISSING if value is pd.NA else str(int(value))
        elif isinstance(dtype, (pd.CategoricalDtype, pd.UInt8Dtype)):
            found[name] = lambda value: MISSING if pd.isna(value) else str(value)
    return found


def _hex(form: str) -> Callable[[Any], str]:
    return lambda value: MISSING if pd.isna(value) else format(int(value), form)


def _shown(frame: PteFrame) -> tuple[PteFrame, list[str]]:
    """Return what is worth showing of a frame, and the lines below it."""
    notes = []
    if len(frame) and {"vaddr", "state"} <= set(frame.columns):
        empty = [name for name in frame.columns if frame[name].isna().all()]
        same = {name: frame[name].dropna().unique() for name in _CONSTANT if name in frame.columns}
        same = {name: values[0] for name, values in same.items() if len(values) == 1}
        if same:
            notes.append(", ".join(f"{name} {value}" for name, value in same.items()))
        if empty:
            notes.append(f"missing throughout, not shown: {', '.join(empty)}")
        frame = frame.drop(columns=[*empty, *same])
    return frame, notes


def text(frame: PteFrame) -> str:
    """Return a frame as text, for the terminal, which is narrow: the bits that are set, by their names."""
    shown, notes = _shown(frame)
    limit = pd.get_option("display.max_rows")
    keep = pd.get_option("display.min_rows") or limit
    if limit and len(shown) > limit:  # only what is printed needs words
        shown = shown.iloc[[*range(keep // 2), *range(len(shown) - keep // 2 - 1, len(shown))]]
    bits = [str(name) for name, dtype in shown.dtypes.items() if isinstance(dtype, pd.BooleanDtype)]
    plain = pd.DataFrame(shown.drop(columns=bits))
    if bits:
        is_set = shown[bits].fillna(value=False).astype(bool).to_numpy()
        plain["bits that are set"] = [" ".join(compress(bits, row)) for row in is_set]
    body = plain.to_string(
        formatters=formatters(plain),
        na_rep=MISSING,
        max_rows=keep if len(shown) < len(frame) else None,
        max_cols=pd.get_option("display.max_columns") or None,
    )
    return "\n".join([body, f"[{len(frame)} rows x {len(frame.columns)} columns]", *notes])


def html(frame: PteFrame) -> str | None:
    """Return a frame as HTML, for a notebook; None if pandas was told not to."""
    if not pd.get_option("display.notebook_repr_html"):
        return None
    shown, notes = _shown(frame)
    limit = pd.get_option("display.max_rows")
    if limit and len(shown) > limit:
        limit = pd.get_option("display.min_rows") or limit
    body: str = shown.to_html(
        max_rows=limit, max_cols=None, show_dimensions=len(shown) > (limit or len(shown)), notebook=True, na_rep=MISSING
    )
    return body + "".join(f"<p>{html_escape.escape(note)}</p>" for note in notes)
