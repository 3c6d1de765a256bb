"""What the page map says of its squares in a notebook, against plain loops over the entries that it was made of."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

import axe
import pytest
from playwright.sync_api import expect

from pte_magic.text import units

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jupyter import Jupyter, Notebook
    from playwright.sync_api import Locator

PAGE, MIB2, START = 4096, 2 << 20, 1 << 40
HINT = (
    "Point at a square, or move from one to the next with the arrow keys; a click or Enter shows the bits of its entry."
)
TIMES = "\N{MULTIPLICATION SIGN}"
CLEAN, DIRTY, NONE = 1 << 63 | 0x25, 1 << 63 | 0x67, 0
SWAP = 0x07FFFFFFFFFFFC00

# Pages whose frames follow each other, nothing, a page in swap; a gap; huge pages, of which the second goes on where
# the first one ends; another gap; pages that are dirty, and not.
SPANS = (
    (START, PAGE, "pte", [5 << 12 | DIRTY, 6 << 12 | DIRTY, 8 << 12 | CLEAN, NONE, NONE, SWAP]),
    (START + 2 * MIB2, MIB2, "pmd", [512 << 12 | DIRTY | 0x80, 1024 << 12 | DIRTY | 0x80, NONE]),
    (START + 9 * MIB2, PAGE, "pte", [9 << 12 | CLEAN, 10 << 12 | CLEAN, 12 << 12 | DIRTY]),
)
BUILD = """
import numpy as np
from pte_magic.api import pte_frame as frame
from pte_magic.formats import kernel
from pte_magic.walkers.entries import SPAN, Entries
from pte_magic.linux.geometry import LEVELS

def made(spans):
    rows = [(vaddr, size, len(raw), LEVELS.index(level)) for vaddr, size, level, raw in spans]
    raw = np.concatenate([np.array(raw, np.uint64) for *_, raw in spans])
    return frame.build(Entries(raw, np.array(rows, SPAN), 'x86_64', 'bpf'), kernel.running(), pid=1)
"""


class Entry(NamedTuple):
    """An entry as a person reads it: its first address, its bytes, and what it is in each of the colourings."""

    vaddr: int
    size: int
    state: str
    colors: dict[str, str]


def read(spans: Sequence[tuple[int, int, str, Sequence[int]]]) -> list[Entry]:
    found = []
    run, after = 0, (0, 0)
    for first, size, _, raws in spans:
        for at, raw in enumerate(raws):
            vaddr, state = first + at * size, "present" if raw & 1 else "swap" if raw else "none"
            frame = (raw & 0x000F_FFFF_FFFF_F000) >> 12
            if state == "present":
                run += (vaddr, frame) != after
                after = (vaddr + size, frame + size // PAGE)
            else:
                after = (0, 0)
            colors = {
                "state": state,
                "size": "none" if state == "none" else units.size(size),
                "dirty": "missing" if state != "present" else "dirty" if raw & 0x40 else "not dirty",
                "contiguity": "not present" if state != "present" else ("next contiguous", "contiguous")[run % 2],
            }
            found.append(Entry(vaddr, size, state, colors))
    return found


def said(entries: list[Entry], at: int, color: str) -> str:
    """Return what the status line says of one entry."""
    of, kinds = entries[at], [entry.colors[color] for entry in entries]
    runs = [[at for at, _ in group] for _, group in groupby(enumerate(kinds), lambda of: of[1])]
    run = next(run for run in runs if at in run)
    name = kinds[at]
    value = "" if color == "state" else f", {name}" if name.endswith(color) else f", {color}: {name}"
    where = f"{at - run[0] + 1} of {'1 entry' if len(run) == 1 else f'{len(run)} entries'} in this run"
    return f"{of.vaddr:#014x}, {units.size(of.size)}, {of.state}{value}; {where}"


def shown(notebook: Notebook, spans: object, color: str = "state", by: str = "entries") -> Locator:
    notebook.run(f"view = made({spans}).map(color={color!r}, by={by!r})")
    return notebook.run("view")


@pytest.mark.parametrize("color", ["state", "size", "dirty", "contiguity"])
def test_it_says_of_every_entry_what_it_is(jupyter: Jupyter, color: str) -> None:
    entries = read(SPANS)
    with jupyter.notebook([BUILD]) as notebook:
        output = shown(notebook, SPANS, color)
        cells, status = output.get_by_role("slider", name="Page map"), output.locator(".pte-map-status")
        expect(status).to_have_text(HINT)
        cells.focus()
        for at in range(len(entries)):
            expect(status).to_have_text(said(entries, at, color))
            expect(cells).to_have_attribute("aria-valuetext", said(entries, at, color))
            cells.press("ArrowRight")


def test_the_mouse_is_told_and_chooses_a_cell(jupyter: Jupyter) -> None:
    entries = read(SPANS)
    with jupyter.notebook([BUILD]) as notebook:
        output = shown(notebook, SPANS)
        canvas, status = output.locator(".pte-map-whole canvas"), output.locator(".pte-map-status")
        expect(status).to_have_text(HINT)
        for at in (7, 3, 11):  # cells of 16 pixels, in one line
            canvas.hover(position={"x": 16 * at + 8, "y": 8})
            expect(status).to_have_text(said(entries, at, "state"))
        assert notebook.text("print(view.position)") == "0"  # it was only looked at
        canvas.click(position={"x": 16 * 6 + 8, "y": 8})
        assert _becomes(notebook, "view.position", "6")
        output.get_by_role("combobox", name="Colour by").hover()
        expect(status).to_have_text(said(entries, 6, "state"))
        canvas.hover(position={"x": 16 * 12 + 8, "y": 8})  # behind the last one
        expect(status).to_have_text(said(entries, 6, "state"))


def test_the_line_follows_the_keys_after_a_click(jupyter: Jupyter) -> None:
    entries = read(SPANS)
    with jupyter.notebook([BUILD]) as notebook:
        output = shown(notebook, SPANS)
        canvas, status = output.locator(".pte-map-whole canvas"), output.locator(".pte-map-status")
        canvas.click(position={"x": 16 * 4 + 8, "y": 8})
        expect(status).to_have_text(said(entries, 4, "state"))
        expect(output.get_by_role("slider", name="Page map")).to_be_focused()
        for key, at in (("ArrowRight", 5), ("ArrowRight", 6), ("Home", 0), ("End", 11)):
            notebook.page.keyboard.press(key)
            expect(status).to_have_text(said(entries, at, "state"))
        canvas.hover(position={"x": 16 * 4 + 9, "y": 8})  # the mouse moves again
        expect(status).to_have_text(said(entries, 4, "state"))


def test_squares_of_a_page_of_2_mib_are_all_of_that_page(jupyter: Jupyter) -> None:
    """By bytes: six small pages, then pages of 512 squares each. Keys go from square to square."""
    entries = read(SPANS)
    with jupyter.notebook([BUILD]) as notebook:
        output = shown(notebook, SPANS, by="bytes")
        cells, status = output.get_by_role("slider", name="Page map"), output.locator(".pte-map-status")
        expect(output.locator(".pte-map-bar span")).to_have_text("one square is 4 KiB")
        cells.focus()
        for square, at in ((0, 0), (5, 5), (6, 6), (517, 6), (518, 7), (1029, 7), (1030, 8), (1541, 8), (1542, 9)):
            output.get_by_role("combobox", name="Colour by").hover()
            notebook.run(f"view.position = {at}")
            expect(status).to_have_text(said(entries, at, "state"))
            canvas = output.locator(".pte-map-whole canvas")
            across = int(canvas.evaluate("canvas => canvas.clientWidth / 16")) // 8 * 8
            x, y = square % across * 16 + 8, square // across * 16 + 8
            top = output.locator(".pte-map-scroller").evaluate(
                """(each, y) => {
              each.scrollTop = y - 50;
              return each.scrollTop;
            }""",
                y,
            )
            canvas.click(position={"x": x, "y": y - top})
            expect(status).to_have_text(said(entries, at, "state"))
        for key, at in (("Home", 0), *(("ArrowRight", min(at, 6)) for at in range(1, 9)), ("End", 11)):
            cells.press(key)
            expect(status).to_have_text(said(entries, at, "state"))
            expect(cells).to_have_attribute("aria-valuenow", str(at))


def test_squares_by_bytes_or_by_entries_are_a_choice(jupyter: Jupyter) -> None:
    with jupyter.notebook([BUILD]) as notebook:
        output = shown(notebook, SPANS, by="bytes")
        scale = output.locator(".pte-map-bar span")
        expect(scale).to_have_text("one square is 4 KiB")
        output.get_by_role("combobox", name="squares by").select_option("entries")
        expect(scale).to_have_text("one square is 1 entry")
        assert _becomes(notebook, "view.by", "entries")
        notebook.run("view.by = 'bytes'")
        expect(scale).to_have_text("one square is 4 KiB")
        same = shown(notebook, SPANS[:1], by="bytes")  # pages of one size: there is nothing to choose
        expect(same.get_by_role("combobox")).to_have_count(1)


def test_a_click_or_enter_shows_the_bits_of_the_entry(jupyter: Jupyter) -> None:
    raws = [raw for *_, raws in SPANS for raw in raws]
    with jupyter.notebook([BUILD]) as notebook:
        output = shown(notebook, SPANS)
        cells = output.get_by_role("slider", name="Page map")
        expect(output.locator(".pte-says")).to_have_count(0)
        output.locator(".pte-map-whole canvas").click(position={"x": 16 * 7 + 8, "y": 8})
        expect(output.locator(".pte-says")).to_contain_text(f"pmd entry {raws[7]:#018x}: present, maps 2 MiB")
        output.get_by_role("button", name="bit 1, rw", exact=True).click()  # it is the live picture
        expect(output.locator(".pte-says")).to_contain_text(f"pmd entry {raws[7] & ~2:#018x}")
        for key in ("Home", "ArrowRight", "ArrowRight", "Enter"):
            cells.press(key)
        expect(output.locator(".pte-says")).to_contain_text(f"pte entry {raws[2]:#018x}: present, maps 4 KiB")
        assert axe.violations(output) == ""
        notebook.picture("map-picked", output)
        notebook.run(f"view = made({SPANS}).drop(columns='entry').map()")
        output = notebook.run("view")
        output.get_by_role("slider", name="Page map").press("Enter")
        expect(output).to_contain_text(f"the frame has no raw entry of {START:#x}")


@pytest.mark.parametrize("how", ["keys", "buttons", "wheel"])
def test_zooming_makes_squares_larger_and_smaller(jupyter: Jupyter, how: str) -> None:
    with jupyter.notebook([BUILD]) as notebook:
        output = shown(notebook, SPANS)
        cells, canvas = output.get_by_role("slider", name="Page map"), output.locator(".pte-map-whole canvas")
        into, out = (output.get_by_role("button", name=name) for name in ("Zoom in", "Zoom out"))

        def zoom(key: str) -> None:
            if how == "keys":
                cells.press(key)
            elif how == "buttons":
                (into if key == "+" else out).press("Enter")
                expect(into if key == "+" else out).to_be_focused()
            else:
                canvas.hover(position={"x": 4, "y": 4})
                notebook.page.keyboard.down("Control")
                notebook.page.mouse.wheel(0, -100 if key == "+" else 100)
                notebook.page.keyboard.up("Control")

        def falls(side: int, at: int) -> None:
            """Assert that a click falls on a square, where squares are so large."""
            expect(output.locator(".pte-map-whole")).to_have_css("height", f"{side}px")
            canvas.click(position={"x": side * at + side // 2, "y": side // 2})
            expect(cells).to_have_attribute("aria-valuenow", str(at))

        falls(16, 5)
        zoom("+")
        falls(24, 4)
        expect(into).to_have_attribute("aria-disabled", "true")
        zoom("+")  # as large as they are made
        falls(24, 3)
        for side in (16, 12, 8):
            zoom("-")
            falls(side, side % 3 + 1)
            expect(into).to_have_attribute("aria-disabled", "false")
        expect(out).to_have_attribute("aria-disabled", "true")
        assert axe.violations(output) == ""
        zoom("-")
        falls(8, 7)
        for _ in range(4):
            zoom("+")
        falls(24, 2)


@pytest.mark.parametrize("by", ["entries", "bytes"])
def test_a_square_of_several_entries_tells_states_and_colours(jupyter: Jupyter, by: str) -> None:
    small, large = 200_005, 100_000
    spans = (
        f"[({START}, {PAGE}, 'pte', np.resize(np.array([0x1067, 0, 0x3025], np.uint64), {small})),"
        f" ({START + (1 << 33)}, {MIB2}, 'pmd', np.resize(np.array([0xE7], np.uint64), {large}))]"
    )
    with jupyter.notebook([BUILD]) as notebook:
        output = shown(notebook, spans, "dirty", by)
        status, scale = output.locator(".pte-map-status"), output.locator(".pte-map-bar span")
        expect(scale).to_contain_text("the colours in it blend by their shares")
        if by == "bytes":  # until the last small pages are in a square with others
            for _ in range(12):
                output.get_by_role("button", name="Zoom in").click()
        said = scale.inner_text().split(";")[0]
        number, unit = said.split()[3:]
        per = int(number) if by == "entries" else int(number) * {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}[unit]
        assert per > PAGE if by == "bytes" else per > 1
        line = ((at, 1 if by == "entries" else PAGE if at < small else MIB2) for at in range(small + large))
        # The square at the end of the small pages, before the gap: how much of each entry is in it.
        begin = (small if by == "entries" else small * PAGE) // per * per
        parts, place = [], 0
        for at, length in line:
            part = min(place + length, begin + per) - max(place, begin)
            if part > 0:
                kind = (
                    ("present", "dirty")
                    if at >= small
                    else (("present", "dirty"), ("none", "missing"), ("present", "not dirty"))[at % 3]
                )
                parts.append((at, part, *kind))
            place += length
        ends = parts[-1][0] - small, parts[-1][1]
        assert ends[0] >= 0  # it reaches behind the gap
        end = START + (1 << 33) + ends[0] * MIB2 + (MIB2 if by == "entries" else ends[1])
        covered = per if by == "bytes" else sum(PAGE if at < small else MIB2 for at, *_ in parts)
        notebook.run(f"view.position = {parts[0][0]}")
        expect(status).to_have_text(
            f"{START + parts[0][0] * PAGE:#014x}-{end:#014x}, {len(parts)} entries, "
            f"{units.size(covered)}: {counted(output, [(e[2], e[1]) for e in parts], 'state', by)}; "
            f"dirty: {counted(output, [(e[3], e[1]) for e in parts], 'dirty', by)}"
        )


def counted(output: Locator, kinds: list[tuple[str, int]], color: str, by: str) -> str:
    """Return how much there is of what, in the legend's order."""
    names = ["none", "present"]
    if color != "state":
        rows = output.get_by_role("table", name="Legend").locator("tbody").get_by_role("row").all()
        names = [row.get_by_role("cell").nth(1).inner_text() for row in rows]
    found = {name: sum(count for kind, count in kinds if kind == name) for name in names}
    shown = {name: units.size(count) if by == "bytes" else f"{TIMES} {count}" for name, count in found.items()}
    return ", ".join(f"{name} {shown[name]}" for name in names if found[name])


def test_a_square_has_the_colours_of_its_entries_by_their_shares(jupyter: Jupyter) -> None:
    with jupyter.notebook([BUILD]) as notebook:
        # Of each 64 KiB, none, a quarter, a half and all is there; as many as it takes to put them into one square.
        raw = "np.concatenate([np.resize(np.repeat([0x1067, 0], [n, 16 - n]), 4096) for n in (0, 4, 8, 16)] * 8)"
        output = shown(notebook, f"[({START}, {PAGE}, 'pte', {raw}.astype(np.uint64))]", by="bytes")
        expect(output.locator(".pte-map-bar span")).to_contain_text("the colours in it blend by their shares")
        output.locator(".pte-map-whole").evaluate("() => new Promise(requestAnimationFrame)")
        scale = output.locator(".pte-map-bar span").inner_text()
        per = int(scale.split()[3])
        assert " KiB" in scale
        assert per % 64 == 0
        alpha: Any = output.locator(".pte-map-whole canvas").evaluate(
            """(canvas, per) => [0, 1, 2, 3].map((quarter) => {
              const across = Math.floor(canvas.clientWidth / 8 / 8) * 8;
              const square = quarter * (16 * 1024 / per) + 3;
              const [x, y] = [square % across * 8, Math.floor(square / across) * 8].map((at) => at + 1);
              return [...canvas.getContext("2d").getImageData(x, y, 1, 1).data];
            })""",
            per,
        )
        blue = [0x3D, 0x7F, 0xC0]
        opaque = [pixel[3] / 255 for pixel in alpha]
        for found, share in zip(opaque, (0, 0.25, 0.5, 1), strict=True):
            strength = max(share, 5 / 16) if share else 0  # so that one page in a large square is visible
            assert abs(found - (strength + 0.12 * (1 - strength))) < 0.03  # nothing is 12 % of a grey
        assert alpha[3][:3] == blue


def _becomes(notebook: Notebook, what: str, value: str) -> bool:
    """Wait until something in Python is so: it is told at the browser's leisure."""
    return any(notebook.text(f"print({what})") == value for _ in range(20))
