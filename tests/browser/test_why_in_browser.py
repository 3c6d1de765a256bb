"""``%pte --why`` in JupyterLab: the line that matters, what to type, and the checks, in both themes and widths."""

from __future__ import annotations

from typing import TYPE_CHECKING

import axe
import pytest
from jupyter import THEMES
from playwright.sync_api import expect

if TYPE_CHECKING:
    from jupyter import Jupyter, Notebook
    from playwright.sync_api import Locator

CELLS = (
    "%load_ext pte_magic",
    """import mmap, numpy as np
memory = mmap.mmap(-1, 16 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
memory.madvise(mmap.MADV_NOHUGEPAGE)
a = np.frombuffer(memory, np.uint8)
a[:] = 1""",
)
LINE = "%pte --why a"


def is_the_answer(notebook: Notebook, output: Locator) -> None:
    """Assert that the first line names the cause, the second one what to type, and that a row forbids it."""
    first = output.locator("p").first
    expect(first.locator("b")).to_contain_text("not on huge pages: ")
    expect(first.locator("b")).to_contain_text("has the advice MADV_NOHUGEPAGE")
    expect(first).to_contain_text("type this: ")
    table = output.get_by_role("table")
    for name in ("check", "forbids", "found, and what to type"):
        expect(table.get_by_role("columnheader", name=name, exact=True)).to_be_visible()
    row = table.get_by_role("row").filter(has=notebook.page.get_by_role("rowheader", name="advice", exact=True))
    expect(row.get_by_role("cell").first).to_have_text("yes")


@pytest.mark.parametrize("width", [700, 1600])
def test_the_line_that_matters_and_the_checks(jupyter: Jupyter, width: int) -> None:
    with jupyter.notebook(CELLS, width=width) as notebook:
        output = notebook.run(LINE)
        is_the_answer(notebook, output)
        for what in (output.locator("p").first, output.get_by_role("table")):
            box = what.bounding_box()
            assert box
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= width  # nothing is beyond the edge
        for theme in THEMES:
            notebook.theme(theme)
            notebook.picture(f"why-{theme}-{width}", output)
            assert not axe.violations(output)


def test_a_saved_notebook_has_the_same_answer_whether_it_is_trusted_or_not(jupyter: Jupyter) -> None:
    with jupyter.notebook((*CELLS, LINE)) as notebook:
        notebook.run("1")
        told = notebook.output(len(CELLS)).inner_text()
        saved = notebook.saved()
    for trusted in (True, False):
        with jupyter.again(saved, trusted=trusted) as notebook:
            output = notebook.output(len(CELLS))
            is_the_answer(notebook, output)
            assert output.inner_text() == told
