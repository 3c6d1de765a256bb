"""``%pte --vars`` and ``%pte --file`` in JupyterLab: tables with bars and maps, in both themes, wide and narrow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import axe
from jupyter import THEMES
from playwright.sync_api import expect

if TYPE_CHECKING:
    from jupyter import Jupyter

MAKE = """
import atexit, os, numpy as np, pandas as pd
small = np.ones(10_000_000)[:10]; a = np.ones((1000, 5000))
df = pd.DataFrame({'x': np.arange(10**6), 'y': np.arange(10**6) * 1.5})
words = [f'word {at}' for at in range(300_000)]
fd = os.memfd_create("cached"); os.truncate(fd, 10**6); os.pwrite(fd, bytes(10**6 // 2), 0)
path = f"/proc/self/fd/{fd}"
"""
CELLS = ("%load_ext pte_magic", MAKE, "a")


def test_the_table_and_the_map_in_both_themes_wide_and_narrow(jupyter: Jupyter) -> None:
    with jupyter.notebook(CELLS, width=1600) as notebook:
        output = notebook.run("%pte --vars")
        table = output.get_by_role("table")
        for name in ("name", "type", "resident", "frees"):
            expect(table.get_by_role("columnheader", name=name, exact=True)).to_be_visible()
        for name in ("small", "a", "df", "words"):
            row = table.get_by_role("row").filter(has=notebook.page.get_by_role("rowheader", name=name, exact=True))
            expect(row.locator("img")).to_be_visible()
        expect(output.get_by_text("total: ")).to_contain_text("the kernel counts")
        expect(output).to_contain_text("a view of 80 B keeps 76.29 MiB; keep a copy instead")
        expect(output).to_contain_text("Out[3] and others hold it, too: type %reset -f out")
        cached = notebook.run("%pte --file $path")
        expect(cached).to_contain_text("of 976.6 KiB in the page cache")
        expect(cached.locator("img").first).to_be_visible()
        for width in (1600, 700):
            notebook.width(width)
            for theme in THEMES:
                notebook.theme(theme)
                notebook.picture(f"variables-{theme}-{width}", output)
                notebook.picture(f"page-cache-{theme}-{width}", cached)
                assert not axe.violations(output)
                assert not axe.violations(cached)
        last = table.get_by_role("columnheader").last
        last.scroll_into_view_if_needed()
        expect(last).to_be_in_viewport(ratio=0.9)
