"""The strips of processes that share memory: for each a bar, page by page, coloured by what is shared and copied.

The bars are small images beside the names of the processes, which every reader of notebooks keeps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pte_magic.dataframes.shared_pages import CODES
from pte_magic.errors.cut import cut
from pte_magic.errors.escapes import visible
from pte_magic.linux.hardware import PAGE_SIZE
from pte_magic.text.screen import WIDTH
from pte_magic.text.units import counted, size
from pte_magic.views import palette, svg_image
from pte_magic.views.html_table import cell, row, row_head, table
from pte_magic.views.markup import escape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

MOST = 12
"""The most processes that have a strip."""

_WORDS = tuple(palette.SHARING)
# The column of each code among the words; what only the other process has is not in this one's strip.
_HERE = {"copied_either": 3, "only_here": 4, "apart": 4, "only_there": 6, "swapped": 5, "nothing": 6}
_COLUMN = {"shared": 0, "copied_here": 1, "copied_there": 2, **_HERE}
_COPIED = [_COLUMN[name] for name in ("copied_here", "copied_there", "copied_either")]
_SOME = 1e-6  # of a letter; less is rounding
_THERE = {"only_here": 6, "only_there": 4}
_WIDTH, _BAR = 640, 18  # of an image, in pixels
_STEP = 2  # pixels of a column
_SCALE, _TICK = 18, 4
_INK = "#767676"  # the scale: readable on a light page and on a dark one
_LETTER = 6.2  # pixels of a letter of it
_LINE, _LABEL = 60, 18  # characters of a strip in text, and of the name before it
_LABEL_STYLE = 'style="text-align: start; font-weight: 400; white-space: nowrap"'
_NARROW = 'style="max-width: 100%; height: auto; display: block" '


class Strip(NamedTuple):
    """One process: its name, and how many of its pages are of each of `CODES` in each bin, ``int64[bins, len(CODES)]``.

    Attributes:
        label: Its name.
        bins: The pages.
        is_here: True for the process that the others were forked from.

    """

    label: str
    bins: NDArray[np.int64]
    is_here: bool


class Strips(NamedTuple):
    """All of them, of the same pages.

    Attributes:
        strips: One for each process.
        pages: The number of pages.
        parts: The name of each part, and its first and last place among the pages.

    """

    strips: Sequence[Strip]
    pages: int
    parts: Sequence[tuple[str, int, int]]


def html(found: Strips) -> str:
    """Return the strips as HTML, with their scale and a legend; nothing if there are no pages."""
    if not found.pages:
        return ""
    shown = found.strips[:MOST]
    looks = dict(enumerate(palette.SHARING.values()))
    rows = []
    for one in shown:
        shares = _columns(one, _WIDTH // _STEP)
        image = svg_image.image(_bar(shares), _WIDTH, _BAR, looks, f"{one.label}: {_said(one)}", _NARROW)
        rows.append(row(row_head(escape(one.label), _LABEL_STYLE), _picture(image)))
    scale = svg_image.encoded(_scale(found), _WIDTH, _SCALE, "", _NARROW)
    rows.append(row(cell(), _picture(scale)))
    legend = " &ensp; ".join(f"{svg_image.swatch(palette.SHARING[words])} {escape(words)}" for words in _used(shown))
    return f"{table(rows)}<p>{legend}{escape(_more(found))}</p>"


def text(found: Strips, columns: int = WIDTH) -> list[str]:
    """Return the strips as lines of at most so many characters, and at most 80: a letter for some pages."""
    if not found.pages:
        return []
    lines = []
    width = min(_LINE, found.pages, max(columns - _LABEL - 2, 1))
    for one in found.strips[:MOST]:
        shares = _columns(one, width)
        best = shares.argmax(axis=1)
        copied = shares[:, _COPIED].sum(axis=1)
        letters = [
            palette.MIXED if some or share[code] <= 0.5 else palette.SHARING[_WORDS[code]].letter  # noqa: PLR2004  (half)
            for code, some, share in zip(best.tolist(), (copied > _SOME) & ~np.isin(best, _COPIED), shares, strict=True)
        ]
        lines.append(f"{cut(visible(one.label), _LABEL, in_middle=True):{_LABEL}}  {''.join(letters)}")
    each = -(-found.pages // width)
    unit = counted(each, "page")
    legend = ", ".join(f"{palette.SHARING[words].letter} {words}" for words in _used(found.strips[:MOST]))
    return [
        *lines,
        f"{legend}",
        f"a letter is about {unit}; {palette.MIXED}: of several kinds, or some of it copied{_more(found)}",
    ]


def _more(found: Strips) -> str:
    more = len(found.strips) - MOST
    return f"; {counted(more, 'more process', 'more processes')} without a strip" if more > 0 else ""


def _by_words(one: Strip) -> NDArray[np.int64]:
    """Return how many pages are of each of the words in each bin, ``int64[bins, len(SHARING)]``."""
    made = np.zeros((len(one.bins), len(_WORDS)), np.int64)
    of = _COLUMN if one.is_here else _COLUMN | _THERE
    for code, name in enumerate(CODES):
        made[:, of[name]] += one.bins[:, code]
    return made


def _columns(one: Strip, count: int) -> NDArray[np.float64]:
    """Return the shares of the words in each of some columns, ``float64[count, len(SHARING)]``."""
    pages = _by_words(one)
    # Few pages are in few bins: pages are spread evenly before they are put together again.
    before = np.vstack([np.zeros((1, len(_WORDS))), np.cumsum(pages, axis=0)])
    total = before.sum(axis=1)
    places = np.linspace(0, total[-1], count + 1)
    sums = np.column_stack([np.interp(places, total, before[:, at]) for at in range(len(_WORDS))])
    shares = np.diff(sums, axis=0)
    found: NDArray[np.float64] = shares / np.maximum(shares.sum(axis=1, keepdims=True), 1e-9)
    return found


def _bar(shares: NDArray[np.float64]) -> str:
    """Return the bar: each column of pixels is divided by shares, and each kind is one path."""
    edges = np.round(np.cumsum(shares, axis=1) * _BAR).astype(int)
    tops = np.column_stack([np.zeros(len(edges), int), edges[:, :-1]])
    drawn = []
    for code in range(shares.shape[1]):
        top, height = tops[:, code], edges[:, code] - tops[:, code]
        starts = np.flatnonzero(np.append(True, (np.diff(top) != 0) | (np.diff(height) != 0)))
        ends = np.append(starts[1:], len(top))
        path = "".join(
            f"M{at * _STEP} {top[at]}h{(end - at) * _STEP}v{height[at]}h{(at - end) * _STEP}z"
            for at, end in zip(starts.tolist(), ends.tolist(), strict=True)
            if height[at]
        )
        if path:
            drawn.append(f'<path d="{path}" {svg_image.filled(code)}/>')
    return "".join(drawn)


def _scale(found: Strips) -> str:
    """Return a tick where each part begins, its name where there is room, and the bytes of all at the end."""
    total = size(found.pages * PAGE_SIZE)
    end = _WIDTH - len(total) * _LETTER
    drawn = [f'<text x="{_WIDTH}" y="{_SCALE - 3}" text-anchor="end">{escape(total)}</text>']
    reached = 0.0
    for name, first, _ in sorted(found.parts, key=lambda part: part[1]):
        at = first / found.pages * _WIDTH
        drawn.append(f'<path d="M{at + 0.5:.4g} 0v{_TICK}" stroke="{_INK}"/>')
        label = cut(name, 24, in_middle=True)
        if label and reached <= at and at + len(label) * _LETTER < end:
            drawn.append(f'<text x="{at:.4g}" y="{_SCALE - 3}">{escape(label)}</text>')
            reached = at + (len(label) + 2) * _LETTER
    return f'<g fill="{_INK}" font-family="sans-serif" font-size="11">{"".join(drawn)}</g>'


def _picture(image: str) -> str:
    return cell(image, 'style="width: 100%; text-align: start"')


def _used(strips: Sequence[Strip]) -> list[str]:
    sums = sum(_by_words(one).sum(axis=0) for one in strips)
    return [words for words, pages in zip(_WORDS, np.asarray(sums).tolist(), strict=True) if pages]


def _said(one: Strip) -> str:
    """Return the words for those who cannot see a bar."""
    pages = _by_words(one).sum(axis=0).tolist()
    return ", ".join(f"{size(count * PAGE_SIZE)} {words}" for words, count in zip(_WORDS, pages, strict=True) if count)
