"""Two maps beside each other: what is outlined is what was changed on purpose."""

from __future__ import annotations

import pickle
import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
from handmade import NOHUGEPAGE, PAGE, NewMap, write
from mapped_entries import GUARD, MIB2, START, images, made, page, pages

import pte_magic
from pte_magic.errors import TargetError

if TYPE_CHECKING:
    from pathlib import Path

    from pte_magic import PteFrame


def marked(before: PteFrame, after: PteFrame) -> list[list[int]]:
    return marked_in(before.map(after).text())


def marked_in(text: str) -> list[list[int]]:
    """Return the squares that are marked in the text of the two maps."""
    found = []
    for part in text.split("\n\n")[1:]:
        lines = part.splitlines()[1:]
        rows = [
            lines[at + 1] for at, line in enumerate(lines) if at + 1 < len(lines) and set(lines[at + 1]) == {" ", "^"}
        ]
        rows += [line for line in lines if set(line) == {"^"}]
        found.append([at for row in rows for at, mark in enumerate(row) if mark == "^"])
    return found


def edges(svg: str) -> set[tuple[float, float, str]]:
    """Return the edges that are drawn around squares: their beginnings, in squares, and directions."""
    path = re.findall(r'<path d="([^"]*)" fill="none" stroke-linecap="square" stroke="#000"', svg)[0]
    found = re.findall(r"M([-\d.]+) ([-\d.]+)([hv])8", path)
    return {((float(x) + 0.5) / 8, (float(y) + 0.5) / 8, way) for x, y, way in found}


def test_pages_that_were_written_are_outlined_in_both(new_map: NewMap) -> None:
    address = new_map(32 * PAGE, advice=NOHUGEPAGE)
    write(address, 4 * PAGE)
    before = pte_magic.walk(address, address + 32 * PAGE)
    write(address + 8 * PAGE, 3 * PAGE)
    after = pte_magic.walk(address, address + 32 * PAGE)
    assert marked(before, after) == [[8, 9, 10]] * 2
    html = before.map(after)._repr_html_()
    outside = {(x, y, "h") for x in (8, 9, 10) for y in (0, 1)} | {(8, 0, "v"), (11, 0, "v")}
    assert [edges(image) for image in images(html) if 'stroke-linecap="square"' in image] == [outside] * 2
    assert "3 of 32 entries changed" in html
    listed = html.partition("<summary")[2]
    assert [f"{address + at * PAGE:#014x}" in listed for at in (7, 8, 9, 10, 11)] == [False, True, True, True, False]


def test_entries_of_other_sizes_lie_at_the_same_places() -> None:
    """Of 512 small pages one huge page was made; behind it, one page was guarded."""
    small = [page(at) for at in range(512)]
    rest = (START + MIB2, PAGE, "pte", [page(7), page(8), page(9)])
    before = made([(START, PAGE, "pte", small), rest])
    after = made([(START, MIB2, "pmd", [page(512, 0xE7)]), (*rest[:3], [page(7), GUARD, page(9)])])
    assert [len(each) for each in marked(before, after)] == [512 + 1] * 2
    assert before.map(after).text().count("one square is 4 KiB") == 2


def test_nothing_changed_and_nothing_to_compare() -> None:
    same, none = pages(page(1), 0), pages(page(1)).iloc[:0]
    assert marked(same, same) == [[], []]
    assert "nothing changed" in same.map(same).text()
    assert "<details>" not in same.map(same).html()
    assert none.map(none).text() == "no address is in both frames"
    assert edges(images(same.map(pages(page(1), page(2)))._repr_html_())[0]) == {
        (1, 0, "h"), (1, 1, "h"), (1, 0, "v"), (2, 0, "v"),
    }  # fmt: skip


def test_it_is_saved(tmp_path: Path) -> None:
    view = pages(page(1), 0).map(pages(page(1), page(2)))
    view.save(tmp_path / "pair.svg")
    svg = (tmp_path / "pair.svg").read_text(encoding="utf-8")
    words = [each.text or "" for each in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]  # noqa: S314
    assert words[0] == "1 of 2 entries changed: 1 mapped"
    assert [word.split(":")[0] for word in words if word.startswith(("before", "after"))] == ["before", "after"]
    defined = re.findall(r'id="(\w+)"', svg)
    assert len(set(defined)) == len(defined)


def test_one_colouring_is_that_of_both() -> None:
    before, after = pages(page(1), page(2)), pages(page(1), page(2, 0x25))
    assert "coloured by dirty" in before.map(after, color="dirty").text()
    with pytest.raises(TargetError, match="cannot colour by 'zork'"):
        before.map(after, color="zork")


def test_a_difference_draws_and_saves_the_two_frames_that_it_is_of(tmp_path: Path) -> None:
    before, after = pages(page(1), 0), pages(page(1), page(2))
    found = before.diff(after)
    before["state"] = after["state"]  # afterwards
    assert marked_in(found.map().text()) == [[1], [1]]
    assert found.map("dirty").text() == found.map(color="dirty").text() != found.map().text()
    found.save(tmp_path / "pair.svg")
    assert (tmp_path / "pair.svg").read_text(encoding="utf-8") == found.map().svg()
    found.save(tmp_path / "pair.png")
    assert (tmp_path / "pair.png").read_bytes()[:4] == b"\x89PNG"
    assert found.map(str).loc[0, "size"] == str(PAGE)  # pandas' own


def test_what_does_not_know_its_frames_says_so(tmp_path: Path) -> None:
    found = pages(page(1), 0).diff(pages(page(1), page(2)))
    message = "this is a part or a copy of a difference, which does not keep its two frames; type before.map"
    for other in (found[:1], found.copy(), pickle.loads(pickle.dumps(found))):  # noqa: S301  (it is our own)
        with pytest.raises(TargetError, match=message):
            other.map()
        with pytest.raises(TargetError, match=message):
            other.save(tmp_path / "pair.svg")
    assert not list(tmp_path.iterdir())


def test_both_maps_show_the_target_where_empty_entries_become_smaller(new_map: NewMap) -> None:
    """An empty entry covers up to 512 GiB, and whatever is beside the target; after a write, many are in its place."""
    address = new_map(512 << 20, advice=NOHUGEPAGE)
    before = pte_magic.walk(address, address + (512 << 20))
    write(address + (300 << 20), PAGE)
    after = pte_magic.walk(address, address + (512 << 20))
    assert marked(before, after) == [[300 * 2 % 64]] * 2
    heads = [line for line in before.map(after).text().splitlines() if line.startswith(("before:", "after:"))]
    assert all(f" 512 MiB, {address:#014x}-{address + (512 << 20):#014x}, " in head for head in heads)
    assert all(head.endswith("one square is 512 KiB") for head in heads)
