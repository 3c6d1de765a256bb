"""The display of why memory is not on huge pages: the line that matters, what to type, and a table of checks."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import pandas as pd

from pte_magic.text import screen
from pte_magic.views import frame_text, frame_view, html_table, pandas_table
from pte_magic.views.markup import escape, scrolled

if TYPE_CHECKING:
    from collections.abc import Iterator

_NEEDED = ("check", "found", "forbids", "type_this")
_NARROWEST, _WIDEST = 30, 110  # letters: of a line of what was found beside a check, and of the table
_BELOW = "  "  # before what was found, where it is below its check
_FORBIDS = {True: "yes", False: "no"}
_UNKNOWN = "-"
_CODE = '<code style="background: none; padding: 0; font-size: 100%; white-space: normal">'


def text(frame: pd.DataFrame) -> str:
    """Return the checks as text; a selection of columns as any frame."""
    if not _is_whole(frame):
        return frame_text.text(frame)
    rows = list(_rows(frame))
    widths = [max(len(name), *(len(row[at]) for row in rows)) for at, name in ((0, "check"), (1, "forbids"))]
    before = f"{'check':{widths[0]}}  {'forbids':{widths[1]}}  "
    columns = min(pandas_table.width(), _WIDEST)
    is_below = columns - len(before) < _NARROWEST
    indent = _BELOW if is_below else " " * len(before)
    line, *others = _above(frame)
    lines = [*pandas_table.sentences([line], screen.BOLD), *others]
    lines += [before.rstrip(), f"{indent}found"] if is_below else [f"{before}found"]
    for check, forbids, found, todo in rows:
        body = textwrap.wrap(found, columns - len(indent), break_on_hyphens=False)
        body += [f"-> {todo}"] if todo else []  # not cut: it is to be copied
        first = f"{check:{widths[0]}}  {forbids:{widths[1]}}"
        lines.append(first.rstrip() if is_below else f"{first}  {body.pop(0)}")
        lines += [indent + line for line in body]
    return "\n".join(lines)


def html(frame: pd.DataFrame) -> str | None:
    """Return the checks as HTML; None if pandas was told not to."""
    if not pd.get_option("display.notebook_repr_html") or not _is_whole(frame):
        return frame_view.html(frame)
    rows = [
        html_table.row(
            html_table.row_head(escape(check), html_table.KEPT),
            html_table.cell(escape(forbids), html_table.KEPT),
            html_table.cell(escape(found) + _code(todo), html_table.WRAPPED),
        )
        for check, forbids, found, todo in _rows(frame)
    ]
    head = html_table.row(html_table.column_heads(["check", "forbids", "found, and what to type"], html_table.KEPT))
    line, *others = _above(frame)
    above = f"<p><b>{escape(line)}</b>{''.join(f'<br>{escape(other)}' for other in others)}</p>"
    return above + scrolled(html_table.table(rows, head, 'class="dataframe"'), "table of checks")


def _is_whole(frame: pd.DataFrame) -> bool:
    return frame.columns.is_unique and set(_NEEDED) <= set(frame.columns) and "line" in frame.attrs and len(frame) > 0


def _above(frame: pd.DataFrame) -> list[str]:
    todo = frame.attrs.get("type_this")
    return [str(frame.attrs["line"]), *([f"type this: {todo}"] if todo else []), *map(str, frame.attrs.get("also", ()))]


def _rows(frame: pd.DataFrame) -> Iterator[tuple[str, str, str, str]]:
    columns: list[Any] = [frame[name].tolist() for name in _NEEDED]
    for check, found, forbids, todo in zip(*columns, strict=True):
        yield str(check), _UNKNOWN if pd.isna(forbids) else _FORBIDS[bool(forbids)], str(found), str(todo)


def _code(todo: str) -> str:
    return f"<br>{_CODE}{escape(todo)}</code>" if todo else ""
