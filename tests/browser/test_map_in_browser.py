"""The page map in a notebook: what a mouse, a keyboard and a screen reader get of it, also of a million pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import axe
from jupyter import NARROW, THEMES, WIDE
from playwright.sync_api import expect

from pte_magic.text import units

if TYPE_CHECKING:
    from jupyter import Jupyter

PAGES = 64
# Pages 0 to 15 are written, the others are not there: of a file, so that nothing is in a huge page.
CELLS = (
    "%load_ext pte_magic",
    f"import mmap, numpy as np\na = np.frombuffer(mmap.mmap(-1, {PAGES} * 4096), np.uint8)\na[: 16 * 4096 : 4096] = 1",
    "frame = %pte a\nview = frame.map()",
)


def size(pages: int) -> str:
    return units.size(pages * 4096)


def test_it_is_to_be_seen_and_read_in_both_themes(jupyter: Jupyter) -> None:
    with jupyter.notebook(CELLS) as notebook:
        output = notebook.run("view")
        legend = output.get_by_role("table", name="Legend")
        expect(legend.get_by_role("row", name="present")).to_contain_text("16")
        expect(legend.get_by_role("row", name="none")).to_contain_text("48")
        expect(output.get_by_role("slider", name="Page map")).to_have_attribute("aria-valuemax", str(PAGES - 1))
        for width in (WIDE, NARROW):
            notebook.width(width)
            for theme in THEMES:
                notebook.theme(theme)
                notebook.picture(f"map-{theme}-{width}", output)
                assert not axe.violations(output)


def test_the_keyboard_walks_through_the_cells_and_python_knows_where(jupyter: Jupyter) -> None:
    with jupyter.notebook(CELLS) as notebook:
        output = notebook.run("view")
        cells = output.get_by_role("slider", name="Page map")
        start = int(notebook.text("print(hex(a.ctypes.data))"), 16)
        for key, position in (("End", 63), ("Home", 0), ("ArrowRight", 1), ("ArrowRight", 2), ("ArrowLeft", 1)):
            cells.press(key)
            state = "present" if position < 16 else "none"
            expect(cells).to_have_attribute("aria-valuenow", str(position))
            expect(output.get_by_role("status")).to_contain_text(f"{start + position * 4096:#x}, 4 KiB, {state}")
        # It is told of moves at its leisure, as keys are pressed faster than it listens.
        assert any(notebook.text("print(view.position)") == "1" for _ in range(20))
        notebook.run("view.position = 20")
        expect(output.get_by_role("status")).to_contain_text(f"{start + 20 * 4096:#x}, 4 KiB, none")


def test_another_colouring_is_chosen(jupyter: Jupyter) -> None:
    with jupyter.notebook(CELLS) as notebook:
        output = notebook.run("view")
        output.get_by_role("combobox", name="Colour by").select_option("size")
        expect(output.get_by_role("table", name="Legend")).to_contain_text("4 KiB")
        assert notebook.text("print(view.color)") == "size"
        notebook.run("view.color = 'state'")
        expect(output.get_by_role("table", name="Legend")).to_contain_text("present")
        expect(output.get_by_role("combobox", name="Colour by")).to_have_value("state")


def test_a_million_pages_are_few_elements(jupyter: Jupyter) -> None:
    with jupyter.notebook(CELLS[:1]) as notebook:
        notebook.run(
            "import numpy as np, pte_magic\n"
            "from pte_magic.api import pte_frame as frame\n"
            "from pte_magic.formats import kernel\n"
            "from pte_magic.walkers.entries import SPAN, Entries\n"
            "raw = np.arange(1 << 20, dtype=np.uint64) << np.uint64(12) | np.uint64(0x67)\n"
            "raw[::3] = 0\n"
            "spans = np.array([(1 << 40, 4096, 1 << 20, 4)], SPAN)\n"
            "view = frame.build(Entries(raw, spans, 'x86_64', 'bpf'), kernel.running(), pid=1).map()"
        )
        output = notebook.run("view")
        cells = output.get_by_role("slider", name="Page map")
        cells.press("End")
        per = int(output.locator(".pte-map-bar span").inner_text().split()[3]) // 4
        none = sum(page % 3 == 0 for page in range((1 << 20) - per, 1 << 20))
        last = f"{(1 << 40) + ((1 << 20) - per) * 4096:#014x}-{(1 << 40) + (1 << 32):#014x}"
        told = f"{last}, {per} entries, {size(per)}: none {size(none)}, present {size(per - none)}"
        expect(output.get_by_role("status")).to_contain_text(told)
        assert output.locator("*").count() < 200


def test_the_region_of_a_square_is_told(jupyter: Jupyter) -> None:
    with jupyter.notebook(CELLS[:1]) as notebook:
        notebook.run(
            "import mmap, tempfile\n"
            "file = tempfile.NamedTemporaryFile(suffix='-mapped'); file.truncate(8 * 4096)\n"
            "m = mmap.mmap(file.fileno(), 8 * 4096, prot=mmap.PROT_READ)\n"
            "m[0]\n"
            "frame = %pte m"
        )
        output = notebook.run("frame.map(by='entries')")
        name = notebook.text("print(file.name)")
        output.get_by_role("slider", name="Page map").focus()
        expect(output.locator(".pte-map-status")).to_contain_text(f" in this run; {name}, r--s")


def test_the_index_in_the_array_is_told(jupyter: Jupyter) -> None:
    with jupyter.notebook(CELLS[:1]) as notebook:
        notebook.run(
            "import mmap, numpy as np\n"
            "a = np.frombuffer(mmap.mmap(-1, 64 * 4096), np.int64).reshape(16, 2048)\n"
            "frame = %pte a"
        )
        output = notebook.run("frame.map(by='entries')")
        cells = output.get_by_role("slider", name="Page map")
        for key, index in (("Home", "[0, 0]"), ("ArrowRight", "[0, 512]"), ("End", "[15, 1_536]")):
            cells.press(key)
            expect(output.locator(".pte-map-status")).to_contain_text(f"; item {index}; ")
