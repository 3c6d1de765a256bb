"""What the page map says of its cells in a notebook, against plain loops over the entries that it was made of."""

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


def shown(notebook: Notebook, spans: object, color: str = "state") -> Locator:
    notebook.run(f"view = made({spans}).map(color={color!r})")
    return notebook.run("view")


@pytest.mark.parametrize("color", ["state", "size", "dirty", "contiguity"])
def test_it_says_of_every_entry_what_it_is(jupyter: Jupyter, color: str) -> None:
    entries = read(SPANS)
    with jupyter.notebook([BUILD]) as notebook:
        output = shown(notebook, SPANS, color)
        cells, status = output.get_by_role("slider", name="Page map"), output.get_by_role("status")
        for at in range(len(entries)):
            expect(status).to_have_text(said(entries, at, color))
            expect(cells).to_have_attribute("aria-valuetext", said(entries, at, color))
            cells.press("ArrowRight")


def test_the_mouse_is_told_and_chooses_a_cell(jupyter: Jupyter) -> None:
    entries = read(SPANS)
    with jupyter.notebook([BUILD]) as notebook:
        output = shown(notebook, SPANS)
        canvas, status = output.locator(".pte-map-whole canvas"), output.get_by_role("status")
        expect(status).to_have_text(said(entries, 0, "state"))
        for at in (7, 3, 11):  # cells of 16 pixels, in one line
            canvas.hover(position={"x": 16 * at + 8, "y": 8})
            expect(status).to_have_text(said(entries, at, "state"))
        assert notebook.text("print(view.position)") == "0"  # it was only looked at
        canvas.click(position={"x": 16 * 6 + 8, "y": 8})
        assert _becomes(notebook, "view.position", "6")
        output.get_by_role("combobox").hover()
        expect(status).to_have_text(said(entries, 6, "state"))
        canvas.hover(position={"x": 16 * 12 + 8, "y": 8})  # behind the last one
        expect(status).to_have_text(said(entries, 6, "state"))


def test_the_line_follows_the_keys_after_a_click(jupyter: Jupyter) -> None:
    entries = read(SPANS)
    with jupyter.notebook([BUILD]) as notebook:
        output = shown(notebook, SPANS)
        canvas, status = output.locator(".pte-map-whole canvas"), output.get_by_role("status")
        canvas.click(position={"x": 16 * 4 + 8, "y": 8})
        expect(status).to_have_text(said(entries, 4, "state"))
        expect(output.get_by_role("slider", name="Page map")).to_be_focused()
        for key, at in (("ArrowRight", 5), ("ArrowRight", 6), ("Home", 0), ("End", 11)):
            notebook.page.keyboard.press(key)
            expect(status).to_have_text(said(entries, at, "state"))
        canvas.hover(position={"x": 16 * 4 + 9, "y": 8})  # the mouse moves again
        expect(status).to_have_text(said(entries, 4, "state"))


@pytest.mark.parametrize("how", ["keys", "buttons"])
def test_zooming_makes_cells_larger_and_smaller(jupyter: Jupyter, how: str) -> None:
    with jupyter.notebook([BUILD]) as notebook:
        output = shown(notebook, SPANS)
        cells, canvas = output.get_by_role("slider", name="Page map"), output.locator(".pte-map-whole canvas")
        into, out = (output.get_by_role("button", name=name) for name in ("Zoom in", "Zoom out"))
        patterns = output.get_by_text("one square is 1 entry; zoom in to see patterns")

        def zoom(key: str) -> None:
            if how == "keys":
                cells.press(key)
            else:
                (into if key == "+" else out).press("Enter")
                expect(into if key == "+" else out).to_be_focused()

        def falls(side: int, at: int) -> None:
            """Assert that a click falls on a cell, where cells are so large."""
            canvas.click(position={"x": side * at + side // 2, "y": side // 2})
            expect(cells).to_have_attribute("aria-valuenow", str(at))

        falls(16, 5)
        zoom("+")
        falls(24, 4)
        expect(into).to_have_attribute("aria-disabled", "true")
        zoom("+")  # as large as they are made
        falls(24, 3)
        for side in (16, 12, 8, 6, 4, 3, 2):
            zoom("-")
            falls(side, side % 3 + 1)
            expect(patterns).to_have_count(int(side < 6))
            expect(into).to_have_attribute("aria-disabled", "false")
        expect(out).to_have_attribute("aria-disabled", "true")
        assert axe.violations(output) == ""
        zoom("-")
        falls(2, 7)
        for _ in range(7):
            zoom("+")
        falls(24, 2)


def test_a_cell_of_several_entries_tells_states_and_colours(jupyter: Jupyter) -> None:
    small, large = 200_005, 100_000
    spans = (
        f"[({START}, {PAGE}, 'pte', np.resize(np.array([0x1067, 0, 0x3025], np.uint64), {small})),"
        f" ({START + (1 << 33)}, {MIB2}, 'pmd', np.resize(np.array([0xE7], np.uint64), {large}))]"
    )
    with jupyter.notebook([BUILD]) as notebook:
        output = shown(notebook, spans, "dirty")
        status, scale = output.get_by_role("status"), output.locator(".pte-map-bar span")
        expect(scale).to_contain_text("one square is")
        per = int(scale.inner_text().split()[3])
        assert per > 1
        cell = small // per  # at the end of the small pages, before the gap
        entries: list[tuple[int, int, str, str]] = []
        for at in range(cell * per, (cell + 1) * per):
            if at < small:
                kind = (("present", "dirty"), ("none", "missing"), ("present", "not dirty"))[at % 3]
                entries.append((START + at * PAGE, PAGE, *kind))
            else:
                entries.append((START + (1 << 33) + (at - small) * MIB2, MIB2, "present", "dirty"))
        assert {size for _, size, *_ in entries} == {PAGE, MIB2}
        notebook.run(f"view.position = {cell * per}")
        expect(status).to_have_text(
            f"{entries[0][0]:#014x}-{entries[-1][0] + MIB2:#014x}, {per} entries, "
            f"{units.size(sum(size for _, size, *_ in entries))}: {counted(output, [e[2] for e in entries], 'state')}; "
            f"dirty: {counted(output, [e[3] for e in entries], 'dirty')}"
        )


def counted(output: Locator, kinds: list[str], color: str) -> str:
    """Return how many there are of what, in the legend's order."""
    names = ["none", "present"]
    if color != "state":
        rows = output.get_by_role("table", name="Legend").locator("tbody").get_by_role("row").all()
        names = [row.get_by_role("cell").nth(1).inner_text() for row in rows]
    return ", ".join(f"{name} {TIMES} {kinds.count(name)}" for name in names if name in kinds)


def test_the_smallest_cells_differ_in_lightness(jupyter: Jupyter) -> None:
    with jupyter.notebook([BUILD]) as notebook:
        output = shown(notebook, f"[({START}, {PAGE}, 'pte', [0x1067, 0x1025] * 8)]", "dirty")
        for _ in range(6):
            output.get_by_role("button", name="Zoom out").click()
        expect(output.get_by_role("button", name="Zoom out")).to_have_attribute("aria-disabled", "true")
        notebook.run("view.position = 15")  # the cursor hides what is below it
        expect(output.get_by_role("slider")).to_have_attribute("aria-valuenow", "15")
        notebook.picture("map-small", output)
        output.locator(".pte-map-whole").evaluate("() => new Promise(requestAnimationFrame)")
        grey: Any = output.locator(".pte-map-whole canvas").evaluate("""canvas => [0, 1, 2, 3].map((cell) => {
          const [r, g, b] = canvas.getContext("2d").getImageData(2 * cell, 0, 1, 1).data;
          return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        })""")
        assert min(grey[1], grey[3]) > max(grey[0], grey[2]) + 30


def _becomes(notebook: Notebook, what: str, value: str) -> bool:
    """Wait until something in Python is so: it is told at the browser's leisure."""
    return any(notebook.text(f"print({what})") == value for _ in range(20))
