"""``%%pte`` in a notebook: the cell's own output, then what it changed; an error comes last, as without the magic."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import axe
from jupyter import THEMES
from playwright.sync_api import expect

if TYPE_CHECKING:
    from jupyter import Jupyter
    from playwright.sync_api import Locator

PAGE = 700  # pixels
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
        for width in (1600, 700):
            notebook.width(width)
            for name in ("vaddr", "change", "flipped bits", "before, after"):
                box = output.get_by_role("columnheader", name=name, exact=True).bounding_box()
                assert box
                assert box["x"] + box["width"] <= width  # nothing of it is beyond the edge
            for theme in THEMES:
                notebook.theme(theme)
                notebook.picture(f"differences-{theme}-{width}", output)
                assert not axe.violations(output)


def test_a_difference_fits_a_narrow_page_in_both_themes(jupyter: Jupyter) -> None:
    """Of the widest changes: of a new page frame whose entry has other bits, too."""
    cells = (
        *CELLS,
        "import os, time\nm = mmap.mmap(-1, 8 * 4096, mmap.MAP_PRIVATE)\nm[:] = b'1' * len(m)",
        "if not (pid := os.fork()): time.sleep(999)",
    )
    with jupyter.notebook(cells) as notebook:
        try:
            output = notebook.run("%%pte m\nfor at in (0, 2, 3): m[at * 4096] = 2")
            expect(output).to_contain_text("new page frame")
            notebook.width(PAGE)
            for theme in THEMES:
                notebook.theme(theme)
                notebook.picture(f"difference-{theme}-{PAGE}", output)
                for name in ("before", "change", "flipped bits"):
                    head = output.get_by_role("columnheader", name=re.compile(name)).first
                    assert head.evaluate(
                        "head => head.getBoundingClientRect().right <= "
                        "head.closest('table').parentElement.getBoundingClientRect().right"
                    ), name
                assert not axe.violations(output)
        finally:
            notebook.run("os.kill(pid, 9), os.waitpid(pid, 0)")


def test_an_error_comes_after_the_difference_and_stops_what_follows(jupyter: Jupyter) -> None:
    with jupyter.notebook(CELLS) as notebook:
        output = notebook.fails("%%pte m\nm[0] = 1\n1 / 0")
        expect(output).to_have_count(2)
        expect(output.nth(0)).to_contain_text("1 of 8 entries changed: 1 mapped")
        expect(output.nth(1)).to_have_text(re.compile(r"^-*\s*ZeroDivisionError +Traceback \(most recent call last\)"))
        expect(output.nth(1)).to_contain_text("Cell In[3], line 2")
        expect(output.nth(1)).not_to_contain_text("pte_magic")


def outlined(image: Locator) -> set[tuple[int, int]]:
    """Return the squares of a map, by column and row, at whose edges its pixels are black, as an outline's are."""
    found = image.evaluate("""async image => {
      await image.decode();
      const canvas = document.createElement("canvas");
      [canvas.width, canvas.height] = [image.width * 4, image.height * 4];
      const context = canvas.getContext("2d");
      context.drawImage(image, 0, 0, canvas.width, canvas.height);
      const dark = (x, y) => {
        const [red, green, blue, alpha] = context.getImageData(Math.round(x), Math.round(y), 1, 1).data;
        return alpha > 200 && red + green + blue < 60;
      };
      const zoom = canvas.width / (64 * 10 + 4); // of a pixel: 64 squares of 10 in a line, between edges of 2
      const found = [];
      for (let row = 0; row < 4; row++) {
        for (let column = 0; column < 64; column++) {
          const [left, top] = [column, row].map((at) => (2 + 10 * at - 0.6) * zoom);
          if (dark(left, top + 5 * zoom) && dark(left + 5 * zoom, top)) found.push([column, row]);
        }
      }
      return found;
    }""")
    return {(column, row) for column, row in found}


def test_two_maps_outline_what_the_cell_changed_in_both_themes(jupyter: Jupyter) -> None:
    """Squares (9, 2) and (20, 1) of four lines of 64 pages are written; each stands alone."""
    cells = (CELLS[0], "import mmap\nm = mmap.mmap(-1, 256 * 4096)\nm[0] = m[64 * 4096] = 1")
    with jupyter.notebook(cells) as notebook:
        output = notebook.run("%%pte --map -o found m\nm[84 * 4096] = m[137 * 4096] = 1")
        expect(output).to_contain_text("2 of 256 entries changed: 2 mapped; one square is 4 KiB")
        pair = output.locator("figure")
        expect(pair).to_have_count(2)
        for each, title, present in zip(pair.all(), ("before", "after"), (2, 4), strict=True):
            expect(each.locator("figcaption")).to_contain_text(f"{title}: page map: 256 entries, 1 MiB, ")
            expect(each.get_by_role("row", name="present")).to_contain_text(f"present{present}")
            assert outlined(each.get_by_role("img", name=title, exact=True)) == {(20, 1), (9, 2)}
        assert notebook.text("print(type(_).__name__, type(found).__name__)") == "BeforeAfter PteDiff"
        for width in (700, 1600):
            notebook.width(width)
            left, right = (each.bounding_box() for each in pair.all())
            assert left
            assert right
            assert (left["y"] == right["y"]) is (width == 1600)  # beside each other, where there is room
            assert max(box["x"] + box["width"] for box in (left, right)) <= width
            for theme in THEMES:
                notebook.theme(theme)
                notebook.picture(f"two-maps-{theme}-{width}", output)
                assert not axe.violations(output)
