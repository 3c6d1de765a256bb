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
        table = notebook.run("%pte a").get_by_role("table").first
        start = int(notebook.text("print(hex(a.ctypes.data))"), 16)
        for name in ("vaddr", "index", "size", "state", "bits that are set"):
            expect(table.get_by_role("columnheader", name=name, exact=True)).to_be_visible()
        rows = table.locator("tbody").get_by_role("row")
        expect(rows).to_have_count(PAGES)
        for page in range(PAGES):
            told = rows.nth(page).get_by_role("cell").all_inner_texts()
            assert told[0] == hex(start + page * 4096)
            assert told[1] == f"[{page * 4096:_}]"
            assert told[2].split() == ["4", "KiB"]
            assert "present" in told


def test_axe_finds_nothing_wrong_with_the_table_in_both_themes(jupyter: Jupyter) -> None:
    with jupyter.notebook(CELLS) as notebook:
        output = notebook.run("%pte a")
        for theme in THEMES:
            notebook.theme(theme)
            notebook.picture(f"table-{theme}", output)
            assert not axe.violations(output)
        output.get_by_text("columns that are not empty").click()
        every = output.get_by_role("table").nth(1)
        expect(every).to_be_visible()
        notebook.picture("table-all-columns", output)
        assert not axe.violations(output)


def test_in_a_narrow_window_all_of_the_table_can_be_reached(jupyter: Jupyter) -> None:
    with jupyter.notebook(CELLS, theme="dark", width=700) as notebook:
        output = notebook.run("%pte a")
        for name in ("vaddr", "index", "size", "state", "bits that are set"):
            expect(output.get_by_role("columnheader", name=name, exact=True)).to_be_in_viewport(ratio=0.9)
        last = output.get_by_role("columnheader").last
        notebook.picture("table-narrow")
        last.scroll_into_view_if_needed()
        expect(last).to_be_in_viewport(ratio=0.9)
        notebook.width(NARROW)
        last.scroll_into_view_if_needed()
        expect(last).to_be_in_viewport(ratio=0.9)
        assert notebook.page.evaluate("document.scrollingElement.scrollWidth") <= NARROW


def test_in_a_narrow_window_the_bits_of_a_large_array_are_seen(jupyter: Jupyter) -> None:
    cells = (*CELLS[:1], "import mmap, numpy as np\nb = np.ones(9_000_000)")
    with jupyter.notebook(cells, width=700) as notebook:
        output = notebook.run("%pte b")
        for name in ("vaddr", "size", "entries", "state", "bits that are set"):
            expect(output.get_by_role("columnheader", name=name, exact=True)).to_be_in_viewport(ratio=0.9)
        for theme in THEMES:
            notebook.theme(theme)
            notebook.picture(f"array-narrow-{theme}", output)


def test_a_process_is_shown_by_region_in_both_themes_and_widths(jupyter: Jupyter) -> None:
    for width in (NARROW, 1600):
        with jupyter.notebook(("%load_ext pte_magic", "import os"), width=width) as notebook:
            output = notebook.run("%pte all")
            for name in ("region", "resident"):
                expect(output.get_by_role("columnheader", name=name, exact=True)).to_be_in_viewport(ratio=0.9)
            for theme in THEMES:
                notebook.theme(theme)
                notebook.picture(f"regions-{width}-{theme}", output)
                assert not axe.violations(output)
            notebook.picture(f"frames-{width}", notebook.run("%pte --frames [stack]"))
