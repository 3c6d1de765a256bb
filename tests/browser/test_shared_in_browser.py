"""The table and the strips of shared memory in JupyterLab: in both themes, narrow and wide, live, and when saved."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import axe
import pytest
from jupyter import THEMES
from playwright.sync_api import expect

if TYPE_CHECKING:
    from jupyter import Jupyter

CELLS = (
    "%load_ext pte_magic",
    """from pte_magic.workloads import fork_with, private_mapping
b, untouched = private_mapping(512), private_mapping(256)
b[:] = untouched[:] = 1
child, other = fork_with(b), fork_with(b)
for page in range(128): child.write(page)
for page in range(0, 64, 2): other.write(page)
b[384:448] = 2
untouched[:16] = 2""",
)
LINE = "%pte --shared child, other, b, untouched"


@pytest.mark.parametrize("width", [700, 1600])
def test_the_table_and_a_strip_for_each_process(jupyter: Jupyter, width: int) -> None:
    with jupyter.notebook(CELLS, width=width) as notebook:
        output = notebook.run(LINE)
        expect(output.locator("p").first).to_contain_text("2 processes forked from it, compared by ")
        strips = output.get_by_role("img", name=re.compile(r"^pid \d+ .*: .* shared"))
        expect(strips).to_have_count(3)
        for at in range(3):
            box = strips.nth(at).bounding_box()
            assert box
            assert box["x"] + box["width"] <= width
            assert box["width"] > 300
        expect(output.get_by_role("columnheader", name="copied_there")).to_be_visible()
        for theme in THEMES:
            notebook.theme(theme)
            notebook.picture(f"shared-{width}-{theme}", output)
            assert not axe.violations(output)


def test_a_watch_shows_strips_that_grow(jupyter: Jupyter) -> None:
    with jupyter.notebook((*CELLS, "seen = %pte --shared --watch --every 0.05 child, b")) as notebook:
        output = notebook.run("seen")
        expect(output.get_by_role("status")).to_have_text("watching")
        shared = output.get_by_role("row", name="shared").last.get_by_role("cell").nth(1)
        expect(shared).to_have_text("320")
        notebook.run("for page in range(128, 160): child.write(page)")
        expect(shared).to_have_text("288")
        expect(output.get_by_text("MiB/s lately")).to_be_visible()
        for theme in THEMES:
            notebook.theme(theme)
            notebook.picture(f"shared-watch-{theme}", output)
            assert not axe.violations(output)
        output.get_by_role("button", name="Stop").click()
        expect(output.get_by_role("status")).to_have_text("stopped")
        assert notebook.text("print(seen.running)") == "False"


def test_a_saved_notebook_has_the_strips_whether_it_is_trusted_or_not(jupyter: Jupyter) -> None:
    with jupyter.notebook((*CELLS, LINE)) as notebook:
        notebook.run("1")
        saved = notebook.saved()
    for trusted in (True, False):
        with jupyter.again(saved, trusted=trusted) as notebook:
            output = notebook.output(len(CELLS))
            strips = output.get_by_role("img", name=re.compile(r"^pid \d+ .*: .* shared"))
            expect(strips).to_have_count(3)
            assert strips.first.evaluate("image => image.naturalWidth") == 640
