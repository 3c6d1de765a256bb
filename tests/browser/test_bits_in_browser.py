"""The bit field in a notebook: what a mouse, a keyboard and a screen reader get of it."""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING

import pytest
from axe import violations
from jupyter import NARROW, WIDE
from playwright.sync_api import expect

from pte_magic.formats import kernel
from pte_magic.formats.describe import READERS, describe

if TYPE_CHECKING:
    from jupyter import Jupyter, Theme
    from playwright.sync_api import Locator

ENTRY = 0x8000000153016067
SHOWN = f"import pte_magic\nfield = pte_magic.BitField({ENTRY:#x})\nfield"


def says(output: Locator) -> Locator:
    """Return the line above the picture."""
    return output.locator(".pte-says")


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
                expect(says(output)).to_have_text(
                    re.compile(f"^{level} entry {entry:#018x}: .*{re.escape(expected.says)}$")
                )
                rows = output.locator("tbody").get_by_role("row").filter(has=notebook.page.get_by_role("rowheader"))
                shown = [text.split("\t") for text in rows.all_inner_texts()]
                for cells, part in zip(shown, expected.parts, strict=True):
                    numbers, name, value, meaning, by = cells
                    assert (numbers, name) == (part.bits, part.name or "-")
                    assert (meaning, by) == (part.meaning, READERS[part.by])
                    number, _, words = value.removesuffix(" changed").partition(": ")
                    assert int(number, 0) == part.value
                    assert words == ("" if part.width == 1 or part.says == str(part.value) else part.says)
                    assert value.endswith(" changed") == bool((entry ^ ENTRY) >> part.low & (1 << part.width) - 1)
                bits = output.get_by_role("group", name="bits of the entry").get_by_role("button")
                assert "".join(bits.all_inner_texts()) == f"{entry:064b}"


def test_a_click_changes_a_bit_and_the_decoding_follows(jupyter: Jupyter) -> None:
    with jupyter.notebook() as notebook:
        output = notebook.run(SHOWN)
        rw = output.get_by_role("button", name="bit 1, rw", exact=True)
        expect(rw).to_have_attribute("aria-pressed", "true")
        rw.click()
        expect(rw).to_have_attribute("aria-pressed", "false")
        expect(output.get_by_role("status")).to_contain_text("bit 1, rw = 0. rw: writes fault (CPU")
        expect(output.get_by_role("row", name="1 rw")).to_contain_text("changed")
        expect(output.get_by_text("nothing is written to any page table")).to_be_visible()
        assert notebook.text("print(hex(field.entry))") == f"{ENTRY & ~2:#x}"
        output.get_by_role("button", name="bit 0, present", exact=True).click()
        expect(says(output)).to_contain_text("not a swap entry, which would have other bits clear")
        assert violations(output) == ""
        output.get_by_role("button", name="Reset").click()
        expect(says(output)).to_contain_text("present, maps 4 KiB at")
        expect(output.get_by_role("status")).to_have_text(says(output).inner_text())
        assert notebook.text("print(hex(field.entry))") == f"{ENTRY:#x}"


def test_the_keyboard_does_what_the_mouse_does(jupyter: Jupyter) -> None:
    with jupyter.notebook() as notebook:
        output = notebook.run(SHOWN)
        field = output.get_by_role("textbox", name="Entry")
        field.focus()
        field.press("Tab")
        expect(output.get_by_role("button", name="Reset")).to_be_focused()
        notebook.page.keyboard.press("Tab")
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


@pytest.mark.parametrize(("width", "row"), [(WIDE, 32), (NARROW, 16), (2200, 64)])
def test_up_and_down_are_what_they_are_in_the_picture(jupyter: Jupyter, width: int, row: int) -> None:
    with jupyter.notebook(width=width) as notebook:
        output = notebook.run(SHOWN)

        def place(bit: int) -> tuple[float, float]:
            box = output.locator(f"button[data-bit='{bit}']").bounding_box()
            assert box
            return box["x"], box["y"]

        assert len({place(bit)[1] for bit in range(row)}) == 1, "the picture is not as wide as the test takes it for"
        for start, key, bit in ((3, "ArrowUp", 3 + row), (63, "ArrowDown", 63 - row), (3, "ArrowDown", 3)):
            output.locator(f"button[data-bit='{start}']").focus()
            notebook.page.keyboard.press(key)
            found = output.locator(f"button[data-bit='{bit if 0 <= bit < 64 else start}']")
            expect(found).to_be_focused()
            assert abs(place(start)[0] - place(int(found.get_attribute("data-bit") or -1))[0]) < 2


def test_an_entry_is_typed(jupyter: Jupyter) -> None:
    with jupyter.notebook() as notebook:
        output = notebook.run(SHOWN)
        field, status = output.get_by_role("textbox", name="Entry"), output.get_by_role("status")
        field.fill("0x153016025")
        field.press("Enter")
        expect(output.get_by_role("row", name="63 nx")).to_contain_text("changed")
        expect(status).to_have_text(re.compile("^pte entry 0x0000000153016025: present, maps 4 KiB at"))
        expect(field).to_be_focused()
        assert notebook.text("print(hex(field.entry))") == "0x153016025"
        for typed, why in (
            ("zork", "zork is not a 64-bit entry"),
            ("", "no number"),
            (" _", "_ is not a 64-bit entry"),
        ):
            field.fill(typed)
            field.press("Enter")
            expect(status).to_have_text(f"{why}; type one such as 0x8000000153016067")
            expect(field).to_have_attribute("aria-invalid", "true")
            expect(field).to_have_accessible_description(f"{why}; type one such as 0x8000000153016067")
            expect(status).to_have_class(re.compile("pte-wrong"))
            assert notebook.text("print(hex(field.entry))") == "0x153016025"
        for typed, entry in (("800fffffa7598063", 0x800FFFFFA7598063), ("00153016025", 0x153016025)):
            field.fill(typed)  # as an oops prints it
            field.press("Enter")
            expect(field).to_have_value(f"{entry:#018x}")
            expect(field).to_have_attribute("aria-invalid", "false")
            expect(status).not_to_have_class(re.compile("pte-wrong"))
            assert notebook.text("print(hex(field.entry))") == hex(entry)
        field.fill("153016025")  # which is the entry
        field.press("Enter")
        expect(field).to_have_value("0x0000000153016025")
        note = "153016025 was read as hex, 0x153016025; "
        expect(status).to_have_text(f"{note}{says(output).inner_text()}")
        for typed, entry, how in (
            ("67", 0x67, "hex, 0x67"),
            ("8000000153016066", 0x8000000153016066, "hex, 0x8000000153016066"),
            ("18446744073709551615", (1 << 64) - 1, "decimal, 0xffffffffffffffff"),
        ):
            field.fill(typed)
            field.press("Enter")
            expect(field).to_have_value(f"{entry:#018x}")
            expect(status).to_have_text(re.compile(f"^{typed} was read as {how}; pte entry {entry:#018x}: "))
            assert notebook.text("print(hex(field.entry))") == hex(entry)
        field.fill("0x67")
        field.press("Enter")
        expect(status).to_have_text(re.compile("^pte entry 0x0000000000000067: "))


def test_reset_keeps_the_focus_and_looks_as_it_works(jupyter: Jupyter) -> None:
    with jupyter.notebook() as notebook:
        output = notebook.run(SHOWN)
        field, reset = output.get_by_role("textbox", name="Entry"), output.get_by_role("button", name="Reset")
        status = output.get_by_role("status")
        expect(reset).to_have_attribute("aria-disabled", "true")
        expect(reset).to_have_css("opacity", "0.45")
        field.fill("zork")  # there is something to go back from, though the entry is as it was
        expect(reset).to_have_attribute("aria-disabled", "false")
        expect(reset).to_have_css("opacity", "1")
        field.press("Tab")
        expect(status).to_contain_text("zork is not a 64-bit entry")
        notebook.page.keyboard.press("Enter")
        expect(field).to_have_value(f"{ENTRY:#018x}")
        expect(status).to_have_text(says(output).inner_text())
        expect(reset).to_be_focused()
        notebook.run("field.entry = 5")
        expect(status).to_have_text(re.compile("^pte entry 0x0000000000000005: "))
        expect(reset).to_have_attribute("aria-disabled", "false")
        reset.press("Enter")
        expect(reset).to_have_attribute("aria-disabled", "true")
        expect(reset).to_be_focused()
        expect(says(output)).to_contain_text("present, maps 4 KiB at physical address 0x153016000")
        expect(status).to_have_text(says(output).inner_text())
        assert notebook.text("print(hex(field.entry))") == f"{ENTRY:#x}"
        assert violations(output) == ""


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
        expect(says(output)).to_contain_text("maps 4 KiB at physical address 0x1000")
        expect(output.get_by_role("status")).to_have_text(says(output).inner_text())
        expect(slider.get_by_label("raw")).to_have_value("0x0000000000001067")
        notebook.run("field.entry = 0x2067")
        expect(says(output)).to_contain_text("maps 4 KiB at physical address 0x2000")
        expect(output.get_by_role("status")).to_have_text(says(output).inner_text())
