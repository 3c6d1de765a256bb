"""DataFrames of words as text that fits the screen, with pandas' options for the display of frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from pte_magic.text import screen
from pte_magic.views import text_table
from pte_magic.views.value_words import MISSING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pte_magic.views.text_table import Fitted, Rules

_ANY = 1 << 30  # characters of a line that is as long as it is
_WIDTH = 80  # pandas' own display.width
_BY_ITSELF = {0, 20}  # pandas' own display.max_columns: in a terminal, and elsewhere
_ROW, _CELL = "..", "..."  # where rows are left out, as pandas has it


def width() -> int:
    """Return the columns of the screen, unless the user told pandas another width, or to break no lines."""
    if not pd.get_option("display.expand_frame_repr"):
        return _ANY
    wanted = pd.get_option("display.width")
    return screen.width() if wanted in {None, _WIDTH} else max(int(wanted), 1)


def most_rows(rows: int) -> int:
    """Return how many rows of a table are shown, the first ones: by pandas' options; at a shell, by its screen."""
    limit = pd.get_option("display.max_rows")
    if not limit:
        return rows
    at_shell = screen.rows_at_shell(rows)
    if at_shell is not None:
        return at_shell
    return rows if rows <= limit else min(pd.get_option("display.min_rows") or limit, limit)


def rows_at_ends(rows: int) -> int | None:
    """Return how many rows of a long table are shown, of its beginning and its end; None for all.

    At a shell, all are shown where they have room, and in a pipe.
    """
    limit = pd.get_option("display.max_rows")
    if not limit or rows <= limit or screen.rows_at_shell(rows) == rows:
        return None
    return int(min(pd.get_option("display.min_rows") or limit, limit))


def fitted(table: pd.DataFrame, limit: int | None, rules: Rules, *, index: bool = True) -> Fitted:
    """Return a table of words as text in the width of the screen.

    Args:
        table: The result of `frame_view.words`, and of `frame_view.ends`.
        limit: The rows to show if these are not all, as `frame_view.ends` says.
        rules: The rules of what gives way where it is too wide.
        index: Whether to show the index.

    """
    most = pd.get_option("display.max_columns")
    is_plain = table.columns.nlevels == table.index.nlevels == 1 and table.columns.is_unique
    texts = _texts(table) if is_plain and len(table.columns) and len(table) and most is not None else None
    if texts is None:
        found = table.to_string(max_rows=limit, na_rep=MISSING, index=index, line_width=width())
        lines = found.splitlines()
        return text_table.Fitted(lines if len(table) else sentences(lines), {})
    labels: list[str] | None = [str(label) for label in table.index] if index else None
    cut = limit is not None and len(table) > limit
    if limit is not None and cut:
        texts = {name: _shortened(cells, limit, _CELL) for name, cells in texts.items()}
        labels = None if labels is None else _shortened(labels, limit, _ROW)
    return text_table.fitted(texts, labels, width(), rules, None if most in _BY_ITSELF else most)


def _shortened(cells: list[str], limit: int, between: str) -> list[str]:
    first, last = max(limit // 2, 1), limit // 2
    return [*cells[:first], between, *cells[len(cells) - last :]]


def _texts(table: pd.DataFrame) -> dict[str, list[str]] | None:
    """Return the text of each value; None if only pandas can show them."""
    made: dict[str, list[str]] = {}
    for at, name in enumerate(table.columns):
        values: Any = table.iloc[:, at]
        cells = [str(value) for value in values] if _is_text(values) else _as_pandas(values)
        if len(cells) != len(table):
            return None
        made[str(name)] = cells
    return made if len(made) == len(table.columns) else None


def _is_text(values: pd.Series[Any]) -> bool:
    return all(isinstance(value, str) for value in values)


def _as_pandas(values: pd.Series[Any]) -> list[str]:
    shown = values.to_frame().to_string(index=False, header=False, na_rep=MISSING, max_rows=None)
    return [line.strip() or " " for line in shown.splitlines()]


def sentences(lines: Sequence[str], style: str = "") -> list[str]:
    """Return lines of words in the width of the screen."""
    columns = width()
    return [screen.fitted(line, columns, style=style) for line in lines]
