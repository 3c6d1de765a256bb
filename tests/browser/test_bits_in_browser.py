"""The bit field in a notebook: what a mouse, a keyboard and a screen reader get of it."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from axe import violations
from jupyter import NARROW, WIDE
from playwright.sync_api import expect

from pte_magic.formats import kernel
from pte_magic.formats.describe import describe

if TYPE_CHECKING:
    from jupyter import Jupyter, Theme

ENTRY = 0x8000000153016067
SHOWN = f"import pte_magic\nfield = pte_magic.BitField({ENTRY:#x})\nfield"


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_it_is_to_be_seen_and_read(jupyter: Jupyter, theme: Theme, width: int) -> None:
    with jupyter.notebook(theme=theme, width=width) as notebook:
        output = notebook.run(SHOWN)
        bits = output.get_by_role("group", name="bits of the entry").get_by_role("button")
        expect(bits).to_have_count(64)
        assert "".join(bits.all_inner_texts()) == f"{ENTRY:064b}"
        expect(output.get_by_text("pte entry 0x8000000153016067: present, maps 4 KiB at")).to_be_visible()
        row = output.get_by_role("row", name="51:12 pfn")
        expect(row).to_contain_text("page frame 0x153016, physical address 0x153016000")
        expect(row).to_contain_text("CPU")
        assert violations(output) == ""
        notebook.picture(f"bits-{theme}-{width}", output)


def test_every_entry_says_in_the_browser_what_it_says_in_python(jupyter: Jupyter) -> None:
    chance = random.Random(1)  # noqa: S311  (no secret)
    with jupyter.notebook() as notebook:
        output = notebook.run(SHOWN)
        for level in ("pte", "pmd", "pgd"):
            for kind in (0, 1, 0x100):
                entry = chance.getrandbits(64) & ~0x101 | kind
                notebook.run(f"field.set_trait('level', {level!r}); field.entry = {entry}")
                expected = describe(entry, level, kernel.running())
                expect(output.get_by_text(expected.says)).to_be_visible()
                rows = output.locator("tbody").get_by_role("row").filter(has=notebook.page.get_by_role("rowheader"))
                shown = [(row[0], row[1]) for row in (text.split("\t") for text in rows.all_inner_texts())]
                assert shown == [(part.bits, part.name or "-") for part in expected.parts]
                bits = output.get_by_role("group", name="bits of the entry").get_by_role("button")
                assert "".join(bits.all_inner_texts()) == f"{entry:064b}"


def test_a_click_changes_a_bit_and_the_decoding_follows(jupyter: Jupyter) -> None:
    with jupyter.notebook() as notebook:
        output = notebook.run(SHOWN)
        rw = output.get_by_role("button", name="bit 1, rw", exact=True)
        expect(rw).to_have_attribute("aria-pressed", "true")
        rw.click()
        expect(rw).to_have_attribute("aria-pressed", "false")
        expect(output.get_by_role("status")).to_contain_text("bit 1, rw = 0. rw: writes are allowed (CPU")
        expect(output.get_by_role("row", name="1 rw")).to_contain_text("changed")
        expect(output.get_by_text("nothing is written to any page table")).to_be_visible()
        assert notebook.text("print(hex(field.entry))") == f"{ENTRY & ~2:#x}"
        output.get_by_role("button", name="bit 0, present", exact=True).click()
        expect(output.get_by_text("swap, swapped out")).to_be_visible()
        assert violations(output) == ""
        output.get_by_role("button", name="Reset").click()
        expect(output.get_by_text("present, maps 4 KiB at")).to_be_visible()
        assert notebook.text("print(hex(field.entry))") == f"{ENTRY:#x}"


def test_the_keyboard_does_what_the_mouse_does(jupyter: Jupyter) -> None:
    with jupyter.notebook() as notebook:
        output = notebook.run(SHOWN)
        field = output.get_by_role("textbox", name="Entry")
        field.focus()
        field.press("Tab")  # past Reset, of which there is no need yet
        present = output.get_by_role("button", name="bit 0, present", exact=True)
        expect(present).to_be_focused()
        present.press("ArrowLeft")
        rw = output.get_by_role("button", name="bit 1, rw", exact=True)
        expect(rw).to_be_focused()
        expect(output.get_by_role("status")).to_contain_text("writes are allowed")
        rw.press("Enter")  # which in a notebook means something else
        expect(rw).to_have_attribute("aria-pressed", "false")
        expect(rw).to_be_focused()
        rw.press("Home")
        expect(output.get_by_role("button", name="bit 63, nx", exact=True)).to_be_focused()
        assert notebook.text("print(hex(field.entry))") == f"{ENTRY & ~2:#x}"


def test_an_entry_is_typed(jupyter: Jupyter) -> None:
    with jupyter.notebook() as notebook:
        output = notebook.run(SHOWN)
        field = output.get_by_role("textbox", name="Entry")
        field.fill("0x153016025")
        field.press("Enter")
        expect(output.get_by_role("row", name="63 nx")).to_contain_text("changed")
        assert notebook.text("print(hex(field.entry))") == "0x153016025"
        field.fill("zork")
        field.press("Enter")
        expect(output.get_by_role("status")).to_have_text(
            "zork is no 64-bit entry; type a number such as 0x8000000153016067"
        )
        assert notebook.text("print(hex(field.entry))") == "0x153016025"


def test_python_and_other_widgets_drive_it(jupyter: Jupyter) -> None:
    with jupyter.notebook() as notebook:
        output = notebook.run(SHOWN)
        slider = notebook.run(
            "import ipywidgets\n"
            "frame = pte_magic.decode([0x67, 0x1067, 0x2067])\n"
            "rows = ipywidgets.IntSlider(max=2, description='row')\n"
            "ipywidgets.dlink((rows, 'value'), (field, 'entry'), lambda row: int(frame['entry'][row]))\n"
            "text = ipywidgets.Text(description='raw')\n"
            "ipywidgets.jslink((field, 'entry'), (text, 'value'))\n"
            "ipywidgets.VBox([rows, text])"
        )
        handle = slider.get_by_role("slider")
        handle.focus()
        handle.press("ArrowRight")
        expect(output.get_by_text("maps 4 KiB at physical address 0x1000")).to_be_visible()
        expect(slider.get_by_label("raw")).to_have_value("0x0000000000001067")
        notebook.run("field.entry = 0x2067")
        expect(output.get_by_text("maps 4 KiB at physical address 0x2000")).to_be_visible()


def test_an_address_is_followed_and_each_entry_opens(jupyter: Jupyter) -> None:
    with jupyter.notebook(["%load_ext pte_magic\nimport numpy as np; a = np.ones(10_000)"]) as notebook:
        output = notebook.run("%pte --translation a.ctypes.data")
        address = notebook.text("print(hex(a.ctypes.data))")
        expect(output.get_by_text(f"virtual address {address}: physical address")).to_be_visible()
        steps = output.get_by_role("listitem")
        pictures = output.locator(".pte-picture")
        expect(pictures.last).to_be_hidden()
        steps.last.locator("summary").press("Enter")
        expect(pictures.last).to_be_visible()
        expect(steps.last.get_by_role("row", name="51:12 pfn")).to_be_visible()
        assert violations(output) == ""
        notebook.picture("translation", output)
