"""Keys pressed in a picture are the picture's: the notebook around it stays as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from conftest import needs_root
from playwright.sync_api import expect
from test_physical_map_in_browser import MADE

if TYPE_CHECKING:
    from jupyter import Jupyter, Notebook
    from playwright.sync_api import Locator

CELLS = (
    "%load_ext pte_magic",
    "import mmap, numpy as np, pte_magic\nm = mmap.mmap(-1, 64 * 4096)\na = np.frombuffer(m, np.uint8)\na[:9999] = 1",
)
BELOW = ("below = 1", "below += 1", "below += 1")
SHOWN = {
    "bits": "pte_magic.BitField(0x8000000153016067)",
    "map": "pte_magic.walk(a).map()",
    "physical map": f"{MADE}\nview",
    "watch": "%pte --watch m",
    "table": "%pte a",
    "difference": "%%pte m\nm[20 * 4096] = 1",
    "differences": "%%pte m, a[:9]\nm[30 * 4096] = 1",
    "two maps": "%%pte --map m\nm[40 * 4096] = 1",
    "translation": "%pte --translation a.ctypes.data",
}
# In a notebook: cut, new cells, copy, delete, down, up, merge, paste, kinds of cells, undo, restart, interrupt, edit,
# find, save, hide, line numbers, help; and what moves and scrolls.
KEYS = (
    *("x", "a", "b", "c", "d", "d", "j", "k", "m", "v", "y", "r", "z", "0", "0", "i", "i"),
    *("1", "6", "f", "h", "l", "o", "s"),
    *("Shift+j", "Shift+k", "Shift+m", "Shift+v", "Shift+o", "Shift+l", "Enter", "Shift+Enter", "Control+Enter"),
    *("ArrowDown", "ArrowUp", "ArrowRight", "ArrowLeft", "Home", "End", "PageDown", "PageUp", "Space", "Shift+Space"),
)  # fmt: skip
FOCUSABLE = ":is(a[href], button, input, select, summary, [tabindex]):visible"


def shown(notebook: Notebook, what: str) -> Locator:
    output = notebook.run(SHOWN[what])
    for cell in BELOW:
        notebook.run(cell)
    ready = {
        "watch": "button",
        "map": "[role=slider]",
        "physical map": "[role=slider]",
        "bits": "input",
        "two maps": "button",
    }
    output.locator(ready.get(what, "[data-lm-suppress-shortcuts]")).first.wait_for()
    return output


@pytest.mark.parametrize("what", [*list(SHOWN)[:-1], pytest.param("translation", marks=needs_root)])
def test_keys_in_a_picture_leave_the_notebook_alone(jupyter: Jupyter, what: str) -> None:
    with jupyter.notebook(CELLS) as notebook:
        found = shown(notebook, what).locator(FOCUSABLE)
        # Of many bits some: they are all made alike.
        places = [at for at in range(found.count()) if at < 6 or at == found.count() - 1]
        assert places
        for at in places:
            found.nth(at).focus()
            before = notebook.state()
            for key in KEYS:
                found.nth(at).press(key)  # which also focuses it again: Home, in the bits, moved on
                assert notebook.state() == before, f"{key} in {found.nth(at).evaluate('each => each.outerHTML')}"
            expect(notebook.page.locator(".jp-Dialog")).to_have_count(0)
        assert notebook.text("print(below)") == "3"  # the kernel is the same


@pytest.mark.parametrize("what", ["bits", "map", "physical map", "watch", "two maps"])
def test_escape_leads_back_to_the_notebook(jupyter: Jupyter, what: str) -> None:
    with jupyter.notebook(CELLS) as notebook:
        output = shown(notebook, what)
        cells = notebook.count()
        output.locator(FOCUSABLE).first.press("Escape")
        notebook.page.keyboard.press("b")
        expect(notebook.cell(cells)).to_be_attached()
        assert notebook.count() == cells + 1
