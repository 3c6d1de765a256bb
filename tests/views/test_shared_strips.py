"""The strips of shared memory, page by page, against what each process wrote to."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from conftest import forked
from handmade import NOHUGEPAGE, PAGE, NewMap, write

import pte_magic
from pte_magic.views import shared_strips

if TYPE_CHECKING:
    import pytest

    from pte_magic import Shared
    from pte_magic.views.shared_strips import Strips

PAGES = 60
FIRST, HERE, LATE = (3, 4, 5, 40), (10, 11), 59
"""The pages that the first child, this process, and only the first child for the first time write to."""


def made(new_map: NewMap) -> tuple[Shared, list[str]]:
    """Return what is shared of some pages with two children, and their pids as the strips name them."""
    start = new_map(PAGES * PAGE, advice=NOHUGEPAGE)
    write(start, (PAGES - 1) * PAGE)

    def use() -> None:
        for page in (*FIRST, LATE):
            write(start + page * PAGE)

    with forked(use) as one, forked(int) as other:
        one.step()
        for page in HERE:
            write(start + page * PAGE)
        table = pte_magic.shared(f"{start:#x}-{start + PAGES * PAGE:#x}", [one.pid, other.pid])
    return table, [f"pid {table.attrs['here']}", f"pid {one.pid}", f"pid {other.pid}"]


def strips(table: Shared) -> Strips:
    found = table._strips
    assert found
    return found


def letters(**of: tuple[int, ...]) -> str:
    line = ["="] * PAGES
    for letter, pages in of.items():
        for page in pages:
            line[page] = letter
    return "".join(line).replace("_", ".")


def test_a_letter_is_a_page(new_map: NewMap) -> None:
    table, pids = made(new_map)
    lines = shared_strips.text(strips(table))
    assert [line.split(" ")[1] for line in lines[:3]] == [pid.split(" ")[1] for pid in pids]
    drawn = [line.split(" ")[-1] for line in lines[:3]]
    # Here a page counts as shared while any other process has it.
    assert drawn[0] == letters(h=HERE, _=(LATE,))
    assert drawn[1] == letters(h=HERE, t=FIRST, n=(LATE,))
    assert drawn[2] == letters(h=HERE, _=(LATE,))
    assert lines[3] == "= shared, h copied here, t copied there, n never shared, . without a page"
    assert lines[4].startswith("a letter is about 1 page; ")


def test_a_letter_of_many_pages_tells_of_one_that_was_copied(new_map: NewMap) -> None:
    pages = 60 * 32
    start = new_map(pages * PAGE, advice=NOHUGEPAGE)
    write(start, pages * PAGE)
    with forked(lambda: write(start + 100 * PAGE)) as child:
        child.step()
        table = pte_magic.shared(f"{start:#x}-{start + pages * PAGE:#x}", [child.pid])
    lines = shared_strips.text(strips(table))
    drawn = "=" * 3 + "+" + "=" * 56  # page 100 is in the fourth letter
    assert [line.split(" ")[-1] for line in lines[:2]] == [drawn, drawn]
    assert lines[-1].endswith("+: of several kinds, or some of it copied")


def test_addresses_are_whole_where_columns_give_way(new_map: NewMap) -> None:
    starts = [new_map(16 * PAGE, advice=NOHUGEPAGE) for _ in range(3)]
    for start in starts:
        write(start, 16 * PAGE)
    with forked(int) as child, forked(int) as other:
        table = pte_magic.shared([f"{start:#x}-{start + 16 * PAGE:#x}" for start in starts], [child.pid, other.pid])
    table["name"] = ""
    table["never_shared"] = table["copied_either"] = np.uint64(1023 << 20)  # as in a large process
    with pd.option_context("display.width", 70):
        text = repr(table)
    assert max(map(len, text.splitlines())) <= 70
    found = [int(vaddr, 16) for vaddr in re.findall("^ *(0x[0-9a-f]+) ", text, re.MULTILINE)]
    assert sorted(found) == sorted([*starts] * 2)
    assert "in all rows: copied_here 0 B" in " ".join(text.split())


def test_the_picture_has_each_page_in_its_place(new_map: NewMap) -> None:
    table, pids = made(new_map)
    html = shared_strips.html(strips(table))
    images = re.findall(r'<img [^>]*alt="(pid [^"]*)"[^>]*src="data:image/svg\+xml;base64,([^"]+)"', html)
    assert [alt.split(" ")[1] for alt, _ in images] == [pid.split(" ")[1] for pid in pids]
    widths = []
    for _, data in images:
        svg = base64.b64decode(data).decode()
        paths = dict(re.findall(r'<path d="(M[^"]*)" fill="url\(#(look\d+)\)"/>', svg))
        boxes = [
            (int(left), int(width), int(height), look)
            for path, look in paths.items()
            for left, width, height in re.findall(r"M(\d+) \d+h(\d+)v(\d+)h", path)
        ]
        covered = sum(width * height for _, width, height, _ in boxes)
        assert covered == 640 * 18  # nothing is left out, and nothing is drawn twice
        widths.append(boxes)
    there = [(left, width) for left, width, height, look in widths[1] if look == "look2" and height == 18]
    scale = 640 / PAGES
    assert any(abs(left - 3 * scale) <= 2 and abs(width - 3 * scale) <= 4 for left, width in there)
    assert any(abs(left - 40 * scale) <= 2 for left, _ in there)
    assert f"{len(FIRST) * PAGE // 1024} KiB copied there" in images[1][0]
    assert "copied there" not in images[2][0]


def test_many_processes_are_counted_and_not_drawn(new_map: NewMap) -> None:
    table, _ = made(new_map)
    found = strips(table)
    many = found._replace(strips=[*found.strips] * 6)
    assert len(re.findall("alt=.pid ", shared_strips.html(many))) == shared_strips.MOST
    assert "6 more processes without a strip" in shared_strips.html(many)
    assert "6 more processes without a strip" in shared_strips.text(many)[-1]
    nothing = found._replace(pages=0)
    assert (shared_strips.html(nothing), shared_strips.text(nothing)) == ("", [])


def test_text_fits_narrow_screens(new_map: NewMap, monkeypatch: pytest.MonkeyPatch) -> None:
    table, _ = made(new_map)
    copied = table["copied_here"].iloc[0] // 1024
    for columns in (45, 60, 76, 80, 120):
        monkeypatch.setenv("COLUMNS", str(columns))
        lines = repr(table).splitlines()
        assert max(map(len, lines)) <= columns
        assert max(map(len, repr(table.iloc[:0]).splitlines())) <= columns
        head = next(at for at, line in enumerate(lines) if "copied_here" in line)
        cells = dict(zip(lines[head].split(), re.findall(r"\S+(?: [KM]?i?B)?", lines[head + 1]), strict=True))
        assert cells["copied_here"] == f"{copied} KiB"
        assert ("copied_either" in cells) == (columns > 60 and table["copied_either"].any())
