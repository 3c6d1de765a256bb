"""The strip below the first line: a range as one bar, by bytes, coloured by page size and state, with its scale.

It is one small image and a line of words, which every reader of notebooks keeps.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pte_magic.text import screen
from pte_magic.text.units import share, size
from pte_magic.views import palette, svg_image
from pte_magic.views.markup import escape

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pte_magic.views.page_stretches import Portions
    from pte_magic.views.palette import Look

_WIDTH, _BAR, _HEIGHT = 640, 18, 36  # of the image, in pixels; the bar is at its top
_TICK = 4  # pixels below the bar
_INK = "#767676"  # the scale: readable on a light page and on a dark one
_NARROW = 'style="max-width: 100%; height: auto" '  # where the output is
_STYLE = re.compile(r"\x1b\[[0-9;]*m")
_SPARSE = 0.02  # with less than that of several ranges in use, what has no pages is left out


class _Category(NamedTuple):
    """The meaning of a colour: its words, its look, its bytes, and the portions that it colours, ``bool[m]``."""

    words: str
    look: Look
    bytes: int
    rows: NDArray[np.bool_]


def strip(found: Portions, label: str) -> str:
    """Return the bar of portions as HTML.

    Args:
        found: The portions, of one process.
        label: The words for those who cannot see it.

    """
    found, note = _shown(found)
    categories = _categories(found)
    bar = _bar(found, categories)
    looks = {code: category.look for code, category in enumerate(categories)}
    image = svg_image.image(bar + _scale(found), _WIDTH, _HEIGHT, looks, label, _NARROW)
    legend = " &ensp; ".join(
        f"{svg_image.swatch(category.look)} {escape(category.words)} {escape(size(category.bytes))}"
        for category in categories
    )
    return f"<p>{image}<br>{escape(note)}{legend}</p>"


def text(found: Portions, width: int) -> list[str]:
    """Return the bar of portions as lines of text: the bar, and what its letters mean.

    Args:
        found: The portions, of one process.
        width: Characters of a line.

    """
    found, note = _shown(found)
    categories = _categories(found)
    letters = [category.look.letter for category in categories]
    blocks = [palette.BLOCKS.get(letter, letter) for letter in letters]
    if len(set(blocks)) == len(blocks) and screen.has_letters("".join(blocks)):
        letters = blocks
    styles = [palette.STYLES[category.look.ground] for category in categories]
    code = _codes(found, categories, width)
    edges = [0, *(np.flatnonzero(np.diff(code)) + 1).tolist(), width]
    bar = "".join(screen.painted(letters[code[at]] * (end - at), styles[code[at]]) for at, end in pairwise(edges))
    parts = [
        f"{screen.painted(letter, style)} {category.words} {size(category.bytes)}"
        for letter, style, category in zip(letters, styles, categories, strict=True)
    ]
    return [bar, *([note.rstrip()] if note else []), *_in_lines(parts, width)]


def _in_lines(parts: list[str], width: int) -> list[str]:
    """Return parts in lines of a width; none is broken."""
    lines: list[str] = []
    free = 0
    for part in parts:
        needed = len(_STYLE.sub("", part))
        if lines and needed + 3 <= free:
            lines[-1] += f"   {part}"
            free -= needed + 3
        else:
            lines.append(part)
            free = width - needed
    return lines


def _shown(found: Portions) -> tuple[Portions, str]:
    """Return what the bar shows of portions, and what goes first if these are not all.

    A range is always drawn to scale. Of several ranges with gaps, such as those of a whole process, what has no pages
    is left out where it would hide all else.
    """
    empty, total = found.having("none"), found.total()
    used = total - found.total(empty)
    if 0 < used < _SPARSE * total and not _has_no_gap(found):
        return found.of(~empty), f"only what has pages, {share(used, total)} of {size(total)}: "
    return found, ""


def _has_no_gap(found: Portions) -> bool:
    return int(found.first[-1]) + int(found.bytes[-1]) - int(found.first[0]) == found.total()


def _categories(found: Portions) -> list[_Category]:
    in_memory = (found.having("present") | found.having("protnone")) & ~found.called("zero_page")
    made = [
        (f"{size(page)} pages", palette.SIZES.get(page, palette.OTHER), in_memory & (found.page == page))
        for page in sorted(set(found.page[in_memory].tolist()), reverse=True)
    ]
    made.append(("page of zeros", palette.ZEROS, found.called("zero_page")))
    made += [
        ({"none": "without pages", "swap": "swapped out"}.get(state, state), look, found.having(state))
        for state, look in palette.STATES.items()
        if state not in {"present", "protnone"}
    ]
    return [_Category(words, look, found.total(rows), rows) for words, look, rows in made if rows.any()]


def _bar(found: Portions, categories: list[_Category]) -> str:
    """Return the bar: each column of pixels has the look of most of its bytes."""
    code = _codes(found, categories, _WIDTH)
    edges = [0, *(np.flatnonzero(np.diff(code)) + 1).tolist(), _WIDTH]
    return "".join(
        f'<rect x="{at}" width="{end - at}" height="{_BAR}" {svg_image.filled(code[at])}/>'
        for at, end in pairwise(edges)
    )


def _codes(found: Portions, categories: list[_Category], width: int) -> NDArray[np.intp]:
    """Return for each column of the bar the category of most of its bytes, ``intp[width]``.

    A category that is the most nowhere has one column, that with most of it, unless others would lose theirs.
    """
    ends = np.append(0.0, np.cumsum(found.bytes.astype(np.float64)))
    columns = np.linspace(0, ends[-1], width + 1)
    shares = [
        np.diff(np.interp(columns, ends, np.append(0.0, np.cumsum(np.where(category.rows, found.bytes, 0.0)))))
        for category in categories
    ]
    most: NDArray[np.intp] = np.argmax(shares, axis=0)
    for code in range(len(categories)):
        place = int(np.argmax(shares[code]))
        if code not in most and (most == most[place]).sum() > 1:
            most[place] = code
    return most


def _scale(found: Portions) -> str:
    """Return ticks and their words: first address, the middle, end; offsets only, if there are gaps."""
    total = found.total()
    first, last = int(found.first[0]), int(found.first[-1]) + int(found.bytes[-1])
    in_one = _has_no_gap(found)
    words = [f"{first:#x}", f"+{size(total // 2)}", f"{last:#x}"] if in_one else ["0", size(total // 2), size(total)]
    places = [(0.5, 0, "start"), (_WIDTH / 2, _WIDTH // 2, "middle"), (_WIDTH - 0.5, _WIDTH, "end")]
    drawn = [
        f'<path d="M{tick:g} {_BAR}v{_TICK}" stroke="{_INK}"/>'
        f'<text x="{at}" y="{_HEIGHT - 2}" text-anchor="{anchor}">{text}</text>'
        for (tick, at, anchor), text in zip(places, words, strict=True)
    ]
    return f'<g fill="{_INK}" font-family="sans-serif" font-size="11">{"".join(drawn)}</g>'
