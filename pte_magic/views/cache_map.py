"""The display of a file in the page cache: a sentence, and a map of squares, as text and as an image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pte_magic.errors.escapes import visible
from pte_magic.linux.hardware import PAGE_SIZE
from pte_magic.text.units import counted, share, size
from pte_magic.views import palette, pandas_table, svg_image
from pte_magic.views.frame_view import paragraph
from pte_magic.views.markup import escape

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

_COLUMNS, _ROWS = 64, 8  # squares at most
_SIDE, _GAP = 9, 1  # pixels of a square
_NARROW = 'style="max-width: 100%; height: auto" '
_LOOKS = (palette.STATES["present"], palette.STATES["swap"], palette.NOTHING)
_WORDS = ("cached", "in part", "not cached")
_LETTERS = "#+."
_ALL, _PART, _NONE = range(len(_WORDS))


def text(frame: pd.DataFrame) -> str:
    """Return the sentence and the map as text."""
    codes, each = _squares(frame)
    columns = min(_COLUMNS, pandas_table.width())
    lines = ["".join(_LETTERS[code] for code in codes[at : at + columns]) for at in range(0, len(codes), columns)]
    legend = ", ".join(f"{_LETTERS[code]} {_WORDS[code]}" for code in sorted(set(codes.tolist())))
    below = [f"a square is {size(each)}: {legend}"] if len(codes) else []
    return "\n".join([*pandas_table.sentences(_said(frame)), *lines, *pandas_table.sentences(below)])


def html(frame: pd.DataFrame) -> str:
    """Return the sentence and the map as HTML."""
    codes, each = _squares(frame)
    if not len(codes):
        return paragraph(_said(frame))
    step, columns = _SIDE + _GAP, min(len(codes), _COLUMNS)
    side = f'width="{_SIDE}" height="{_SIDE}"'
    drawn = "".join(
        f'<rect x="{at % columns * step}" y="{at // columns * step}" {side} {svg_image.filled(code)}/>'
        for at, code in enumerate(codes.tolist())
    )
    used = sorted(set(codes.tolist()))
    label = " ".join(_said(frame))
    height = -(-len(codes) // columns) * step
    picture = svg_image.image(drawn, columns * step, height, {code: _LOOKS[code] for code in used}, label, _NARROW)
    legend = " &ensp; ".join(f"{svg_image.swatch(_LOOKS[code])} {_WORDS[code]}" for code in used)
    return f"{paragraph(_said(frame))}<p>{picture}<br>a square is {escape(size(each))} &ensp; {legend}</p>"


def _squares(frame: pd.DataFrame) -> tuple[NDArray[np.intp], int]:
    """Return the code of each square, and the bytes that it stands for: pages, as many as there have to be."""
    whole = int(frame.attrs["size"])
    if not whole or not frame.attrs["is_told"]:
        return np.empty(0, np.intp), PAGE_SIZE
    pages = -(-whole // PAGE_SIZE)
    each = 1 << (-(-pages // (_COLUMNS * _ROWS)) - 1).bit_length()
    edges = np.minimum(np.arange(-(-pages // each) + 1) * each * PAGE_SIZE, whole).astype(np.float64)
    ends = np.append(0.0, (frame["offset"] + frame["size"]).to_numpy(np.float64))
    cached = np.append(0.0, np.cumsum(np.where(frame["cached"], frame["size"], 0).astype(np.float64)))
    inside = np.diff(np.interp(edges, ends, cached))
    codes = np.where(inside >= np.diff(edges), _ALL, np.where(inside > 0, _PART, _NONE))
    return codes, each * PAGE_SIZE


def _said(frame: pd.DataFrame) -> list[str]:
    told: dict[Any, Any] = frame.attrs
    whole = int(told["size"])
    name = visible(str(told["path"]))
    if not whole:
        return [f"{name} is empty"]
    cached = int(frame.loc[frame["cached"], "size"].sum())
    if not told["is_told"]:
        if "cached" not in told:
            return [f"{name}: the kernel shows the pages of a file only to users who may write to it, or own it"]
        cached = min(whole, int(told["cached"]) * PAGE_SIZE)
    parts = f", in {counted(int(frame['cached'].sum()), 'part')}" if cached and told["is_told"] else ""
    lines = [f"{name}: {size(cached)} of {size(whole)} in the page cache ({share(cached, whole)}){parts}"]
    more = [
        f"{size(int(told[key]) * PAGE_SIZE)} {words}"
        for key, words in (
            ("dirty", "not yet written"), ("writeback", "being written"), ("recently_evicted", "evicted recently")
        )
        if told.get(key)
    ]  # fmt: skip
    if more:
        lines.append(f"of it {', '.join(more)}")
    if told["kind"]:
        lines.append(f"on {told['kind']}: a page that is not there was never written, or is swapped out")
    return lines
