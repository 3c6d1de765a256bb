"""The display of the walkers that work: what this user sees, and for each walker what to type, in full."""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING, Any

import pandas as pd

from pte_magic.text import screen
from pte_magic.views import html_table, pandas_table
from pte_magic.views.markup import escape, scrolled
from pte_magic.views.text_table import JOINED

if TYPE_CHECKING:
    from collections.abc import Iterator

_NEEDED = ("walker", "works", "sees", "note")
_WORKS = {True: "yes", False: "no"}
_UNKNOWN = "?"
_HEAD = "what it sees, and what to type"
_TYPED = re.compile(r"(`[^`]*`)")
_NARROWEST, _WIDEST = 30, 110  # letters: of a line of words beside a walker, and of all
_BELOW = "  "  # before words that are below their walker
_CODE = '<code style="background: none; font-size: 100%; white-space: normal">'


def text(frame: pd.DataFrame) -> str:
    """Return the walkers as text; a command to type is not cut, and is on one line."""
    above = pandas_table.sentences(_above(frame), screen.BOLD)
    if not is_whole(frame):
        return "\n".join([*above, frame.to_string()])
    rows = list(_rows(frame))
    wide = max(len(name) for name, *_ in [("walker",), *rows])
    before = f"{'walker':{wide}}  works  "
    columns = min(pandas_table.width(), _WIDEST)
    is_below = columns - len(before) < _NARROWEST
    indent = _BELOW if is_below else " " * len(before)
    room = columns - len(indent)
    lines = [before.rstrip(), f"{indent}{_HEAD}"] if is_below else [before + _HEAD]
    for name, works, sees, note in rows:
        body = [*_wrapped(sees, room), *(_wrapped(note, room) if note else [])]
        first = f"{name:{wide}}  {works:5}"
        lines.append(first.rstrip() if is_below else f"{first}  {body.pop(0)}")
        lines += [indent * (len(line) <= room) + line for line in body]
    return "\n".join([*above, *lines])


def html(frame: pd.DataFrame) -> str:
    """Return the walkers as HTML, with lines that fit the page."""
    above = "".join(f"<p>{escape(line)}</p>" for line in _above(frame))
    if not is_whole(frame):
        with pd.option_context("display.max_colwidth", None):
            return above + html_table.of_frame(frame)
    rows = [
        html_table.row(
            html_table.row_head(escape(name), html_table.KEPT),
            html_table.cell(escape(works), html_table.KEPT),
            html_table.cell(escape(sees) + _typed(note), html_table.WRAPPED),
        )
        for name, works, sees, note in _rows(frame)
    ]
    heads = html_table.column_heads(["walker", "works", _HEAD], html_table.KEPT)
    made = html_table.table(rows, html_table.row(heads), 'class="dataframe"')
    return above + scrolled(made, "table of walkers")


def is_whole(frame: pd.DataFrame) -> bool:
    """Tell whether a frame has all columns of the walkers, and rows."""
    return frame.columns.is_unique and set(_NEEDED) <= set(frame.columns) and len(frame) > 0


def _above(frame: pd.DataFrame) -> list[str]:
    return [str(frame.attrs["sees"])] if "sees" in frame.attrs else []


def _rows(frame: pd.DataFrame) -> Iterator[tuple[str, str, str, str]]:
    columns: list[Any] = [frame[name].tolist() for name in _NEEDED]
    for walker, works, sees, note in zip(*columns, strict=True):
        yield str(walker), _UNKNOWN if pd.isna(works) else _WORKS[bool(works)], str(sees), str(note)


def _wrapped(words: str, room: int) -> list[str]:
    """Return words in lines; a command in backquotes is never on two of them, as it is to be copied."""
    whole = _TYPED.sub(lambda found: found[0].replace(" ", JOINED), words)
    lines = textwrap.wrap(whole, room, break_long_words=False, break_on_hyphens=False)
    return [line.replace(JOINED, " ") for line in lines]


def _typed(note: str) -> str:
    """Return a note as HTML, with its commands as code."""
    parts = _TYPED.split(note)
    made = [f"{_CODE}{escape(part[1:-1])}</code>" if at % 2 else escape(part) for at, part in enumerate(parts)]
    return "<br>" * bool(note) + "".join(made)
