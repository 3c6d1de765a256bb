"""The first line and its strip in JupyterLab: in both themes, narrow and wide, and in a saved notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING

import axe
import pytest
from jupyter import THEMES
from playwright.sync_api import expect

if TYPE_CHECKING:
    from jupyter import Jupyter
    from playwright.sync_api import Locator

# Huge pages in the middle, small ones at both ends, where the array is not aligned, and a part without pages.
CELLS = (
    "%load_ext pte_magic",
    """import mmap, numpy as np
m = mmap.mmap(-1, 32 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
whole = np.frombuffer(m, np.uint8)
first = -whole.ctypes.data % (2 << 20)
m.madvise(mmap.MADV_NOHUGEPAGE)
m.madvise(mmap.MADV_HUGEPAGE, first + (4 << 20), 12 << 20)
a = whole[first + (1 << 20) : first + (25 << 20)]
a[: 21 << 20] = 1""",
)


def strip(output: Locator) -> Locator:
    return output.get_by_role("img").first


@pytest.mark.parametrize("width", [700, 1600])
def test_the_line_and_its_strip(jupyter: Jupyter, width: int) -> None:
    with jupyter.notebook(CELLS, width=width) as notebook:
        output = notebook.run("%pte a")
        line = output.locator("p").first
        expect(line).to_contain_text("24 MiB: 21 MiB resident, 3 MiB without pages")
        expect(strip(output)).to_be_visible()
        assert strip(output).get_attribute("alt") == line.inner_text()
        box = strip(output).bounding_box()
        assert box
        assert box["x"] + box["width"] <= width
        assert box["width"] > 300
        for theme in THEMES:
            notebook.theme(theme)
            notebook.picture(f"first-line-{width}-{theme}", output)
            assert not axe.violations(output)


def test_a_saved_notebook_has_both_whether_it_is_trusted_or_not(jupyter: Jupyter) -> None:
    with jupyter.notebook(CELLS) as notebook:
        words = notebook.run("%pte a").locator("p").first.inner_text()
        saved = notebook.saved()
    for trusted in (True, False):
        with jupyter.again(saved, trusted=trusted) as notebook:
            output = notebook.output(len(CELLS))
            expect(output.locator("p").first).to_have_text(words)
            expect(strip(output)).to_be_visible()
            assert strip(output).evaluate("image => image.naturalWidth") == 640
            notebook.picture(f"first-line-saved-{'trusted' if trusted else 'untrusted'}", output)
