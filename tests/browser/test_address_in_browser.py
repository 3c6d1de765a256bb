"""One address in a notebook: its table with the bits of its leaf, and its way through the tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import axe
from conftest import needs_root
from jupyter import NARROW, THEMES, WIDE
from playwright.sync_api import expect

if TYPE_CHECKING:
    from jupyter import Jupyter, Notebook
    from playwright.sync_api import Locator

pytestmark = needs_root  # without raw entries there is nothing to explain

# A mapping of its own: nothing of it is in a huge page, and it begins where a page does.
CELLS = (
    "%load_ext pte_magic",
    "import mmap, numpy as np\na = np.frombuffer(mmap.mmap(-1, 4 * 4096), np.uint8)\na[:] = 1",
    "address = a.ctypes.data + 4096 + 0x123",
)


def looked_at(notebook: Notebook, output: Locator, name: str) -> None:
    """Look at all of it in both themes, wide and narrow."""
    for width in (WIDE, NARROW):
        notebook.width(width)
        for theme in THEMES:
            notebook.theme(theme)
            notebook.picture(f"{name}-{theme}-{width}", output)
            assert not axe.violations(output)
            assert notebook.page.evaluate("document.scrollingElement.scrollWidth") <= width


def test_an_address_is_shown_with_the_bits_of_its_leaf(jupyter: Jupyter) -> None:
    with jupyter.notebook(CELLS) as notebook:
        output = notebook.run("%pte address")
        table = output.get_by_role("group", name="table of entries")
        expect(table.locator("tbody").get_by_role("row")).to_have_count(4)  # and not 5: a machine of the tests has none
        entry = notebook.text("print(f'{int(_[\"entry\"].iloc[-1]):#018x}')")
        expect(table.locator("tbody").get_by_role("row").last).to_contain_text(entry)
        expect(output.locator(".pte-says")).to_contain_text(
            f"pte entry {entry}: present, maps 4 KiB at physical address"
        )
        fields = output.locator(".pte-fields")
        expect(fields.get_by_role("row", name="51:12 pfn")).to_contain_text("page frame 0x")
        expect(output.get_by_text("Intel SDM 3A, 4.5:")).to_be_visible()
        expect(output.locator(".pte-picture td.pte-set").first).to_be_visible()
        output.get_by_role("button", name="bit 1, rw", exact=True).click()  # it is live
        expect(output.locator(".pte-says")).to_contain_text(f"pte entry {int(entry, 16) ^ 2:#018x}: ")
        expect(table.locator("tbody").get_by_role("row").last).to_contain_text(entry)  # and the table is what was read
        looked_at(notebook, output, "address")


def test_an_address_is_followed_and_each_entry_opens(jupyter: Jupyter) -> None:
    with jupyter.notebook(CELLS) as notebook:
        output = notebook.run("%pte --translation address")
        address = notebook.text("print(hex(address))")
        expect(output.get_by_text(f"virtual address {address}: physical address")).to_be_visible()
        steps, pictures = output.get_by_role("listitem"), output.locator(".pte-picture")
        expect(pictures.last).to_be_hidden()
        steps.last.locator("summary").press("Enter")
        expect(pictures.last).to_be_visible()
        expect(steps.last.locator("summary")).to_be_focused()
        expect(steps.last.get_by_role("row", name="51:12 pfn")).to_be_visible()
        looked_at(notebook, output, "translation")


def test_keys_scroll_what_is_wide_and_leave_the_cells_alone(jupyter: Jupyter) -> None:
    with jupyter.notebook(CELLS, width=NARROW) as notebook:
        for cell, name in (
            ("%pte --frames a", "table of entries"),
            ("%pte --translation address", "the address, cut into indices"),
        ):
            output = notebook.run(cell)
            wide = output.get_by_role("group", name=name, exact=True)
            cells = notebook.count()
            wide.focus()
            for key in ("ArrowRight", "ArrowRight", "d", "d", "ArrowRight"):
                notebook.page.keyboard.press(key)
            expect(wide).to_be_focused()
            expect(wide).not_to_have_js_property("scrollLeft", 0)
            assert notebook.count() == cells
