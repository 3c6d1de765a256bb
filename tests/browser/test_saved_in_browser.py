"""A notebook that was saved shows its pictures when it is opened again, trusted or not, and as a page of nbconvert."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import axe
import nbformat
import pytest
from jupyter import NARROW, THEMES, WIDE
from nbclient import NotebookClient
from nbconvert import HTMLExporter
from playwright.sync_api import expect
from test_keys_in_browser import CELLS
from test_physical_map_in_browser import MADE

if TYPE_CHECKING:
    from pathlib import Path

    from jupyter import Jupyter
    from playwright.sync_api import Locator, Page

ENTRY = 0x8000000153016067


class Shown(NamedTuple):
    """A cell, what tells that its picture is live, and what there is to read and to see when nothing is."""

    cell: str
    live: str
    words: str
    images: int


VIEWS = (
    Shown(f"pte_magic.BitField({ENTRY:#x})", "button", "present, maps 4 KiB at physical address 0x153016000", 0),
    Shown("pte_magic.walk(a).map()", "[role=slider]", "page map: 64 entries, 256 KiB", 3),
    Shown(f"{MADE}\nview", "[role=slider]", "physical memory: 2,000 page frames, 7.812 MiB", 4),
    Shown("%pte --watch m", "button", "watch of m: 0 changes; looks every 1 s; as it was at ", 3),
    Shown("%%pte --map m\nm[40 * 4096] = 1", "button", "1 of 64 entries changed: 1 mapped; one square is 4 KiB; ", 6),
)
# What takes more than a second has a bar.
SLOW = """from pte_magic.api import progress
import time
with progress.bar("looking", 3, "process") as bar:
    for _ in range(3):
        time.sleep(0.6)
        bar.update()"""
UNTRUSTED = {
    "empty-table-header": "JupyterLab takes roles of tables away",
    "scope-attr-valid": "as above",
    "scrollable-region-focusable": "it takes the style away, too, by which a table has a box; JupyterLab's own is none",
}
ERRORS = ("Error displaying widget", "model not found", "Loading widget")


def check(page: Locator, *, styled: bool) -> None:
    """Assert that all there was to see is there, and nothing tells of an error.

    Without style sheets, the bits are a drawing instead of tables.
    """
    expect(page.locator(".pte-picture").first).to_be_visible(visible=styled)
    for shown in VIEWS:
        place = page.locator(".pte-magic").filter(has_text=shown.words).first
        expect(place).to_be_visible()
        images = place.locator("img:visible")
        expect(images).to_have_count(shown.images or int(not styled))
        for image in images.all():
            image.scroll_into_view_if_needed()
            assert image.evaluate("async image => { await image.decode(); return image.naturalWidth; }") > 0
        expect(place.locator("button, input, select, [role=slider]")).to_have_count(0)
    for error in (*ERRORS, "looking:"):
        expect(page.get_by_text(error)).to_have_count(0)


@pytest.fixture(scope="module")
def saved(jupyter: Jupyter) -> nbformat.NotebookNode:
    """A notebook as JupyterLab saved it, while all its pictures were live."""
    with jupyter.notebook(CELLS) as notebook:
        for shown in VIEWS:
            output = notebook.run(shown.cell)
            output.locator(shown.live).first.wait_for()
            assert not output.get_by_text("as it was at").count()
        notebook.run(SLOW)
        found = notebook.saved()
    for cell in found.cells:
        for output in cell.outputs:
            assert "application/vnd.jupyter.widget-view+json" not in output.data
    return found


@pytest.mark.parametrize("trusted", [False, True])
def test_it_is_opened_again_when_its_kernel_has_ended(
    jupyter: Jupyter, saved: nbformat.NotebookNode, *, trusted: bool
) -> None:
    with jupyter.again(saved, trusted=trusted) as notebook:
        cells = notebook.page.locator(".jp-Notebook")
        assert notebook.count() == len(saved.cells)
        assert ask_trust(notebook.page) is trusted
        check(cells, styled=trusted)
        for width in (WIDE, NARROW):
            notebook.width(width)
            for theme in THEMES:
                notebook.theme(theme)
                for at, name in enumerate(("bits", "map", "physical", "watch", "maps"), len(CELLS)):
                    output = notebook.output(at)
                    notebook.picture(f"saved-{name}-{'trusted' if trusted else 'untrusted'}-{theme}-{width}", output)
                    assert not axe.violations(output, allowed={} if trusted else UNTRUSTED)


def ask_trust(page: Page) -> bool:
    return bool(page.evaluate("[...jupyterapp.shell.currentWidget.content.model.cells].every(cell => cell.trusted)"))


@pytest.mark.parametrize("state", [False, True])
def test_it_is_a_page_of_nbconvert_without_a_network(jupyter: Jupyter, tmp_path: Path, *, state: bool) -> None:
    """With or without the state of widgets, which nbconvert --execute keeps, and has a script of the network show."""
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell) for cell in (*CELLS, *(shown.cell for shown in VIEWS), SLOW)]
    )
    client = NotebookClient(
        notebook, kernel_name="python3", timeout=600, store_widget_state=state, extra_arguments=["--log-level=40"]
    )
    client.execute()
    assert bool(notebook.metadata.get("widgets")) is state
    path = tmp_path / "page.html"
    path.write_text(HTMLExporter().from_notebook_node(notebook)[0], encoding="utf-8")
    with jupyter.page(path.as_uri()) as page:
        check(page.locator("body"), styled=True)


def test_it_is_live_again_when_the_page_is_loaded_anew(jupyter: Jupyter) -> None:
    with jupyter.notebook([*CELLS, f"field = {VIEWS[0].cell}"]) as notebook:
        notebook.run("field")
        notebook.run("field")  # two places of one model
        notebook.reload()
        for at in (3, 4):
            output = notebook.output(at)
            output.get_by_role("button", name="bit 1, rw", exact=True).click()
            expect(output.get_by_text("nothing is written to any page table")).to_be_visible()
        expect(notebook.output(3).locator(".pte-says")).to_contain_text(f"{ENTRY:#x}")  # there and back
        notebook.output(4).get_by_role("button", name="bit 1, rw", exact=True).click()
        expect(notebook.output(3).locator(".pte-says")).to_contain_text(f"{ENTRY & ~2:#x}")
        assert notebook.text("print(hex(field.entry))") == f"{ENTRY & ~2:#x}"
