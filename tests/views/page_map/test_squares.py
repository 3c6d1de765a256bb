"""The squares of a page map: by bytes and by entries, with the letter and the colours of what is in them."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mapped_entries import MIB2, PAGE, START, build, images, made, page, pages, pieces, values
from traitlets import TraitError

if TYPE_CHECKING:
    from pte_magic import PteFrame


from pte_magic.errors import TargetError
from pte_magic.text import units
from pte_magic.views.page_map.page_map import PageMap
from pte_magic.views.page_map.squares import Squares


def squares_of(table: PteFrame, color: str, by: str) -> tuple[int, list[Counter[str]]]:
    """Return how large the squares of a still picture are, and of each, how much of it is what."""
    names = values(table, color)
    if by == "entries":
        line, per = names, 1
    else:
        per = min(table["size"])
        line = [name for name, size in zip(names, table["size"], strict=True) for _ in range(size // per)]
    together = 1
    while len(line) > 1024 * together:
        together *= 2
    return per * together, [Counter(line[at : at + together]) for at in range(0, len(line), together)]


@given(pieces.filter(bool), st.sampled_from(["state", "size", "present"]), st.sampled_from(["bytes", "entries"]))
def test_squares_have_the_letter_of_what_most_of_them_is(
    drawn: list[tuple[str, int, str, bool]], color: str, by: str
) -> None:
    table = build(drawn)
    view = PageMap(table, color, by)
    per, found = squares_of(table, color, by)
    looks = [line.split()[:2] for line in view.text().split("\n\n")[2].splitlines()[1:]]
    names = {" ".join(category["words"][0].split()): category["words"][0] for category in view.layer["legend"]}
    letters = {name: letter for name in names.values() for letter, word in looks if word == name.split()[0]}
    if len(letters) < len(set(letters.values())) or color == "size":  # "4 KiB" and "2 MiB" begin with numbers
        letters = {"4 KiB": "k", "2 MiB": "M", "none": "."}
    expected = ""
    for counts in found:
        name, most = counts.most_common(1)[0]
        expected += letters[name] if 2 * most > counts.total() else "+"
    assert view.text().split("\n\n")[1].replace("\n", "") == expected
    size = units.size(per) if by == "bytes" else f"{per} entries" if per > 1 else "1 entry"
    assert f"\none square is {size}" in view.text()
    assert f"; one square is {size}" in view.html()
    assert max(map(len, view.text().split("\n\n")[1].splitlines())) <= 64


@given(pieces.filter(bool), st.sampled_from(["bytes", "entries"]))
def test_the_picture_blends_the_colours_of_a_square_by_their_shares(
    drawn: list[tuple[str, int, str, bool]], by: str
) -> None:
    table = build(drawn)
    view = PageMap(table, "state", by)
    names = [category["words"][0] for category in view.layer["legend"]]
    found: dict[int, dict[str, float]] = {}
    path = r'<path fill="url\(#look(\d+)\)"(?: opacity="([\d.]+)")? d="([^"]*)"'
    for code, opacity, drawing in re.findall(path, images(view.html())[0]):
        for x, y in re.findall(r"M(\d+) (\d+)h", drawing):
            painted = found.setdefault(int(x) // 8 + int(y) // 8 * 64, {})
            for name in painted:
                painted[name] *= 1 - float(opacity or 1)
            painted[names[int(code)]] = float(opacity or 1)
    _, squares = squares_of(table, "state", by)
    assert sorted(found) == [*range(len(squares))]
    for at, counts in enumerate(squares):
        assert found[at].keys() == counts.keys()
        for name, count in counts.items():  # shades are sixteenths, of which two may be rounded up
            faint = sum(max(0, 5 / 16 - each / counts.total()) for each in counts.values())  # they stay visible
            assert abs(found[at][name] - count / counts.total()) < 0.15 + faint


def test_a_page_of_2_mib_is_512_times_as_large_as_one_of_4_kib() -> None:
    table = made([(START, PAGE, "pte", [page(1)] * 256), (START + MIB2, MIB2, "pmd", [0, page(512, 0xE7)])])
    by_bytes, by_entries = (PageMap(table, "size", by).text().split("\n\n") for by in ("bytes", "entries"))
    assert by_bytes[0].endswith("\none square is 8 KiB, with the letter of what most of it is")
    assert by_bytes[1].replace("\n", "") == "k" * 128 + "." * 256 + "M" * 256
    assert by_entries[1].replace("\n", "") == "k" * 256 + ".M"


def test_half_a_square_is_not_most_of_it() -> None:
    text = PageMap(pages(*[page(1), 0] * 600)).text()
    assert text.split("\n\n")[1].replace("\n", "") == "+" * 600
    assert "\n+  several, none more than half of the square\n" in text


def test_a_thousand_entries_have_a_square_each() -> None:
    full, more = (PageMap(pages(*[page(1)] * n), "state").text().split("\n\n") for n in (1024, 1025))
    assert (full[1].splitlines(), full[0].endswith("one square is 4 KiB")) == (["#" * 64] * 16, True)
    assert (len(more[1].replace("\n", "")), more[0].endswith("one square is 8 KiB")) == (513, True)


@pytest.mark.parametrize("by", ["squares", "", 5, None, ["bytes"]])
def test_an_unknown_measure_is_one_line(by: Any) -> None:
    view = PageMap(pages(page(1)))
    with pytest.raises(TargetError, match=r"^squares by .*: choose one of bytes, entries$"):
        pages(page(1)).map(by=by)
    with pytest.raises((TargetError, TraitError)):
        view.by = by
    assert view.by == "bytes"


def test_one_page_in_a_large_square_is_visible_in_nothing_but_not_among_others() -> None:
    shares = np.array([[1 << 32, 4096, 0], [0, 1 << 32, 4096], [1 << 32, 1 << 32, 4096]], np.uint64)
    shades = Squares("bytes", 1 << 32, shares).shades([0, 1, 2], 1)
    assert shades.tolist() == [[16, 5, 0], [0, 16, 1], [16, 8, 1]]
