"""Physical memory by owner in a notebook: what a mouse, a keyboard and a screen reader get of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import axe
from jupyter import NARROW, THEMES, WIDE
from playwright.sync_api import expect

if TYPE_CHECKING:
    from jupyter import Jupyter

# Five page frames are a process', two the page cache's.
MADE = """import numpy as np
from pte_magic.api.machine.owners import KINDS
from pte_magic.views.page_map.physical_map import PhysicalMap
codes = np.full(2000, KINDS.index("free") + 1, np.uint8)
codes[:5] = 0
codes[6:8] = KINDS.index("page cache") + 1
view = PhysicalMap(("python (pid 7)", *KINDS), codes)"""
CELLS = ("%load_ext pte_magic", MADE)


def test_it_is_to_be_seen_and_read_in_both_themes(jupyter: Jupyter) -> None:
    with jupyter.notebook(CELLS) as notebook:
        output = notebook.run("view")
        expect(output).to_contain_text("physical memory: 2,000 page frames, 7.812 MiB")
        legend = output.get_by_role("table", name="Legend")
        for row, said in (("python (pid 7)", "520 KiB1"), ("page cache", "28 KiB1"), ("free", "1,9937.785 MiB2")):
            expect(legend.get_by_role("row", name=row)).to_contain_text(said)
        for width in (WIDE, NARROW):
            notebook.width(width)
            for theme in THEMES:
                notebook.theme(theme)
                notebook.picture(f"physical-{theme}-{width}", output)
                assert not axe.violations(output)


def test_the_keyboard_walks_through_the_page_frames(jupyter: Jupyter) -> None:
    with jupyter.notebook(CELLS) as notebook:
        output = notebook.run("view")
        cells, status = output.get_by_role("slider", name="Page map"), output.get_by_role("status")
        cells.focus()
        expect(status).to_have_text("0x000000000000, 4 KiB, python (pid 7); 1 of 5 page frames in this run")
        cells.press("End")
        expect(status).to_have_text("0x0000007cf000, 4 KiB, free; 1,992 of 1,992 page frames in this run")
        cells.press("Home")
        for _ in range(6):
            cells.press("ArrowRight")
        expect(status).to_have_text("0x000000006000, 4 KiB, page cache; 1 of 2 page frames in this run")
