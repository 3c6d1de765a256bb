"""HTML tables: each cell that heads a row or a column says so, and an empty corner heads nothing."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pte_magic.views.markup import escape

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd

WRAPPED = 'style="text-align: left; white-space: normal; overflow-wrap: anywhere"'
"""The attribute of a cell of sentences."""
KEPT = 'style="text-align: left; white-space: nowrap; vertical-align: top"'
"""The attribute of a cell of a word, beside sentences."""


def table(rows: Iterable[str], head: str = "", attributes: str = "") -> str:
    """Return a table of rows, below the row of its head, if it has one."""
    body = "".join(rows)
    return f"<table{_more(attributes)}>{f'<thead>{head}</thead><tbody>{body}</tbody>' if head else body}</table>"


def row(*cells: str, attributes: str = "") -> str:
    """Return a row of cells."""
    return f"<tr{_more(attributes)}>{''.join(cells)}</tr>"


def cell(body: str = "", attributes: str = "") -> str:
    """Return a cell of HTML."""
    return f"<td{_more(attributes)}>{body}</td>"


def cells(words: Iterable[str]) -> str:
    """Return a cell for each text."""
    return "".join(cell(escape(word)) for word in words)


def row_head(body: str, attributes: str = "") -> str:
    """Return the cell of HTML that heads its row."""
    return f'<th scope="row"{_more(attributes)}>{body}</th>'


def column_heads(words: Iterable[str], attributes: str = "") -> str:
    """Return a cell for each text, which heads its column."""
    return "".join(f'<th scope="col"{_more(attributes)}>{escape(word)}</th>' for word in words)


def of_frame(frame: pd.DataFrame, **options: Any) -> str:
    """Return a DataFrame as pandas' table, with options of ``to_html``; above its index is an empty cell."""
    made: str = frame.to_html(notebook=True, **options)
    return made.replace("<th></th>", cell(), 1)


def with_room(made: str, name: str, width: str) -> str:
    """Return a table of which the column of a name has at least a width."""
    return re.sub(rf"(<th[^>]*)(>{re.escape(escape(name))}</th>)", rf'\1 style="min-width: {width}"\2', made)


def _more(attributes: str) -> str:
    return f" {attributes}" if attributes else ""
