"""``%%pte`` in a notebook: the cell's own output, then what it changed; an error comes last, as without the magic."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import axe
from jupyter import NARROW, THEMES, WIDE
from playwright.sync_api import expect

if TYPE_CHECKING:
    from jupyter import Jupyter

CELLS = (
    "%load_ext pte_magic",
    "import asyncio, mmap\nm, n = mmap.mmap(-1, 8 * 4096), mmap.mmap(-1, 8 * 4096)",
)


def test_the_value_of_a_cell_and_what_it_changed(jupyter: Jupyter) -> None:
    with jupyter.notebook(CELLS) as notebook:
        output = notebook.run("%%pte m\nm[4096] = 1\nawait asyncio.sleep(0, 'slept')")  # in the kernel's running loop
        expect(output).to_have_count(2)
        expect(output.nth(0)).to_have_text("'slept'")
        expect(output.nth(1)).to_contain_text("1 of 8 entries changed: 1 mapped")
        assert notebook.text("print(type(_).__name__)") == "PteDiff"


def test_several_targets_have_headings_in_both_themes(jupyter: Jupyter) -> None:
    with jupyter.notebook(CELLS) as notebook:
        output = notebook.run("%%pte m, n\nn[0] = 1")
        expect(output.get_by_role("heading", name="m", exact=True)).to_be_visible()
        expect(output.get_by_role("heading", name="n", exact=True)).to_be_visible()
        for width in (WIDE, NARROW):
            notebook.width(width)
            for theme in THEMES:
                notebook.theme(theme)
                notebook.picture(f"differences-{theme}-{width}", output)
                assert not axe.violations(output)


def test_an_error_comes_after_the_difference_and_stops_what_follows(jupyter: Jupyter) -> None:
    with jupyter.notebook(CELLS) as notebook:
        output = notebook.fails("%%pte m\nm[0] = 1\n1 / 0")
        expect(output).to_have_count(2)
        expect(output.nth(0)).to_contain_text("1 of 8 entries changed: 1 mapped")
        expect(output.nth(1)).to_have_text(re.compile(r"^-*\s*ZeroDivisionError +Traceback \(most recent call last\)"))
        expect(output.nth(1)).to_contain_text("Cell In[3], line 2")
        expect(output.nth(1)).not_to_contain_text("pte_magic")
