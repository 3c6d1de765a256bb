"""HTML tables, and patterns of drawings, are built in one place each; cells that are read aloud say what heads what."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

import pte_magic
from pte_magic.views import html_table

PACKAGE = Path(pte_magic.__file__).parent


class Cells(HTMLParser):
    """The cells of a table: tag, scope and text, row by row."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[list[str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append([])
        elif tag in {"td", "th"}:
            self.rows[-1].append([tag, dict(attrs).get("scope"), ""])

    def handle_data(self, data: str) -> None:
        if self.rows and self.rows[-1] and data.strip():
            self.rows[-1][-1][2] = data.strip()


@pytest.mark.parametrize(
    ("tag", "where"),
    [
        (r"<t(able|head|body|r|d|h)\b", "html_table.py"),
        (r"<pattern\b", "svg_image.py"),
        (r"\bto_html\(", "html_table.py"),
    ],
)
def test_one_module_writes_them(tag: str, where: str) -> None:
    found = {path for path in PACKAGE.rglob("*.py") if re.search(tag, path.read_text(encoding="utf-8"))}
    own_method = PACKAGE / "api" / "frame_base_class.py"  # pandas' method, with formatters of ours
    assert found - ({own_method} if "to_html" in tag else set()) == {PACKAGE / "views" / where}


def test_a_table_says_what_heads_its_rows_and_columns() -> None:
    head = html_table.row(html_table.cell(), html_table.column_heads(["<a>", "b"]))
    rows = [html_table.row(html_table.row_head("one"), html_table.cells(["1 & 2", "3"]))]
    assert Cells(html_table.table(rows, head, 'class="x"')).rows == [
        [["td", None, ""], ["th", "col", "<a>"], ["th", "col", "b"]],
        [["th", "row", "one"], ["td", None, "1 & 2"], ["td", None, "3"]],
    ]


def test_nothing_is_headed_by_an_empty_cell() -> None:
    for text in (html_table.of_frame(pd.DataFrame({"a": [1]})), pte_magic.doctor()[["walker"]]._repr_html_()):  # type: ignore[operator]
        cells = [cell for row in Cells(text).rows for cell in row]
        assert cells[0] == ["td", None, ""]
        assert [cell for cell in cells if cell[0] == "th" and not cell[2]] == []
