"""What ``%pte a`` shows in JupyterLab: a table with the array's addresses, for eyes, keyboards and screen readers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import axe
from jupyter import NARROW, THEMES
from playwright.sync_api import expect

if TYPE_CHECKING:
    from jupyter import Jupyter

PAGES = 3
# A mapping of its own: nothing of it is in a huge page, and it begins where a page does.
CELLS = (
    "%load_ext pte_magic",
    f"import mmap, numpy as np\na = np.frombuffer(mmap.mmap(-1, {PAGES} * 4096), np.uint8)\na[:] = 1",
)


def test_pte_shows_a_table_with_the_array_s_addresses_in_hex(jupyter: Jupyter) -> None:
    with jupyter.notebook(CELLS) as notebook:
        table = notebook.run("%pte a").get_by_role("table")
        start = int(notebook.text("print(hex(a.ctypes.data))"), 16)
        for name in ("vaddr", "size", "level", "state"):
            expect(table.get_by_role("columnheader", name=name, exact=True)).to_be_visible()
        rows = table.locator("tbody").get_by_role("row")
        expect(rows).to_have_count(PAGES)
        for page in range(PAGES):
            told = rows.nth(page).get_by_role("cell").all_inner_texts()
            assert told[0] == hex(start + page * 4096)
            assert told[1].split() == ["4", "KiB"]
            assert "present" in told


def test_axe_finds_nothing_wrong_with_the_table_in_both_themes(jupyter: Jupyter) -> None:
    with jupyter.notebook(CELLS) as notebook:
        output = notebook.run("%pte a")
        for theme in THEMES:
            notebook.theme(theme)
            notebook.picture(f"table-{theme}", output)
            assert not axe.violations(output)


def test_in_a_narrow_window_all_of_the_table_can_be_reached(jupyter: Jupyter) -> None:
    with jupyter.notebook(CELLS, theme="dark", width=NARROW) as notebook:
        output = notebook.run("%pte a")
        last = output.get_by_role("columnheader").last
        notebook.picture("table-narrow")
        last.scroll_into_view_if_needed()
        expect(last).to_be_in_viewport(ratio=0.9)
        assert notebook.page.evaluate("document.scrollingElement.scrollWidth") <= NARROW
