"""The strip shows each part of a range in its place and colour, and its image says the same as the first line."""

from __future__ import annotations

import base64
import re

import numpy as np
import pytest
from handmade import HUGE, HUGE_WORDS, NOHUGEPAGE, PAGE, PAGE_WORDS, NewMap, write

import pte_magic
from pte_magic.formats.field import STATES
from pte_magic.text.units import size
from pte_magic.views import first_line
from pte_magic.views.page_stretches import Portions
from pte_magic.views.strip import strip, text

WIDTH = 640


def portions(*parts: tuple[int, int, str]) -> Portions:
    """Return portions: bytes, bytes of a page, state; one after the other."""
    covered = np.array([part[0] for part in parts], np.uint64)
    first = np.uint64(1 << 40) + np.cumsum(covered) - covered
    state = np.array([STATES.index(part[2]) for part in parts], np.int8)
    nothing = np.full(len(parts), -1, np.int8)
    level = np.full(len(parts), 4, np.int8)
    page = np.array([part[1] for part in parts], np.uint64)
    return Portions(first, covered, page, level, state, nothing, nothing, nothing)


def drawn(html: str) -> str:
    """Return the SVG of the bar, which is the first image."""
    found = re.search(r'<img [^>]*src="data:image/svg\+xml;base64,([^"]+)"', html)
    assert found
    return base64.b64decode(found[1]).decode()


def bars(html: str) -> list[tuple[int, int, str]]:
    """Return the parts of the bar: place and width in pixels, and look."""
    found = re.findall(r'<rect x="(\d+)" width="(\d+)" height="\d+" fill="url\(#(look\d+)\)"/>', drawn(html))
    return [(int(at), int(width), look) for at, width, look in found]


def test_parts_have_their_places_by_bytes() -> None:
    html = strip(portions((1 << 20, PAGE, "present"), (6 << 20, 2 << 20, "present"), (1 << 20, PAGE, "swap")), "words")
    assert [part[:2] for part in bars(html)] == [(0, 80), (80, 480), (560, 80)]
    looks = [look for *_, look in bars(html)]
    assert len(set(looks)) == 3
    assert f"{size(2 << 20)} pages 6 MiB" in html
    assert f"{PAGE_WORDS} pages 1 MiB" in html
    assert "swapped out 1 MiB" in html
    assert 'alt="words"' in html
    scale = re.findall("<text[^>]*>([^<]+)<", drawn(html))
    assert scale == [f"{1 << 40:#x}", "+4 MiB", f"{(1 << 40) + (8 << 20):#x}"]


def test_a_column_of_pixels_has_the_look_of_most_of_its_bytes() -> None:
    many = portions(*[(PAGE, PAGE, "present"), (3 * PAGE, PAGE, "none")] * 10_000)
    html = strip(many, "")
    widths: dict[str, int] = {}
    for _, width, look in bars(html):
        widths[look] = widths.get(look, 0) + width
    assert sorted(widths.values()) == [1, WIDTH - 1]  # what has no column where it is the most has one
    assert len(html) < 20_000


@pytest.mark.parametrize("used", [1, 16, 400])
def test_a_range_with_few_pages_is_drawn_to_scale(used: int) -> None:
    total = 20_000
    html = strip(portions((used * PAGE, PAGE, "present"), ((total - used) * PAGE, PAGE, "none")), "")
    filled = max(1, round(used / total * WIDTH))
    assert [part[:2] for part in bars(html)] == [(0, filled), (filled, WIDTH - filled)]
    assert "only what has pages" not in html
    lines = text(portions((used * PAGE, PAGE, "present"), ((total - used) * PAGE, PAGE, "none")), 80)
    assert lines[0].count(lines[0][-1]) == 80 - max(1, round(used / total * 80))


def test_of_mostly_empty_ranges_only_what_has_pages_is_shown_and_its_share_goes_first() -> None:
    parts = portions((8 << 20, PAGE, "present"), (1 << 46, 1 << 46, "none"), (8 << 20, 2 << 20, "present"))
    apart = parts._replace(first=parts.first + np.array([0, 0, 1 << 30], np.uint64))
    html = strip(apart, "")
    assert [part[:2] for part in bars(html)] == [(0, 320), (320, 320)]
    assert "<br>only what has pages, less than 0.1 % of 64 TiB: <" in html
    assert text(apart, 80)[1] == "only what has pages, less than 0.1 % of 64 TiB:"
    assert re.findall("<text[^>]*>([^<]+)<", drawn(html)) == ["0", "8 MiB", "16 MiB"]


def test_a_frame_shows_it_below_its_first_line(new_map: NewMap) -> None:
    start = new_map(2 * HUGE, advice=NOHUGEPAGE)
    write(start, HUGE)
    frame = pte_magic.walk(start, start + 2 * HUGE)
    html = str(frame._repr_html_())
    (line,) = first_line.lines(frame)
    assert html.startswith(f"<p>{line.words}</p><p><img ")
    assert f'alt="{line.words}"' in html
    assert [part[:2] for part in bars(html)] == [(0, 320), (320, 320)]
    assert f"without pages {HUGE_WORDS}" in html
    single = pte_magic.walk(start)
    assert "<img" not in str(single._repr_html_()).partition('<div class="pte-magic">')[0]


@pytest.mark.parametrize("state", [state for state in STATES if state != "table"])
def test_each_state_has_a_look(state: str) -> None:
    assert [part[:2] for part in bars(strip(portions((PAGE, PAGE, state)), ""))] == [(0, WIDTH)]
