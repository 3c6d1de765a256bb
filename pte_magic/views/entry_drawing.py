"""An entry as an image, for places where its HTML loses its style: notebooks that are not trusted, GitHub."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pte_magic.views.markup import escape
from pte_magic.views.svg_image import encoded, pattern

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pte_magic.formats.describe import Description, Part

_BITS, _STEP = 32, 22  # in a line; pixels of a bit
_NUMBERS, _SIDE, _NAMES, _GAP = 14, 22, 82, 6  # heights of a line's numbers, bits and names, and between two lines
_LETTER = 8  # pixels of a name's letter, about
_PAPER, _INK, _LINE = "#fff", "#111", "#999"  # it has a page of its own: text cannot fit light pages and dark ones
_GROUNDS = {"cpu": "#cbdcf0", "linux": "url(#linux)"}
_STRIPES = pattern(
    "linux",
    '<rect width="8" height="8" fill="#fff"/><rect width="5" height="8" fill="#f5d9b3"/>',
    'patternTransform="rotate(45)"',
)
_FONT = f'font-family="ui-monospace, monospace" text-anchor="middle" fill="{_INK}"'


def drawn(
    entry: Description, differ: int, pieces: Callable[[tuple[Part, ...], int, int], Iterator[tuple[Part, int, int]]]
) -> str:
    """Return an entry as an ``<img>``: its bits with their numbers, and the fields below them.

    Args:
        entry: The entry.
        differ: Bits to mark.
        pieces: Yields the parts that have bits in a line, with their highest and lowest one there.

    """
    boxes, numbers, words = [], [], []
    highest = range(entry.width - 1, 0, -_BITS)
    width, line = _BITS * _STEP + 2, _NUMBERS + _SIDE + _NAMES + _GAP
    for at, high in enumerate(highest):
        low, top = high - _BITS + 1, at * line + _NUMBERS
        for part, first, last in pieces(entry.parts, high, low):
            x, span = 1 + (high - first) * _STEP, (first - last + 1) * _STEP
            for y, height in ((top, _SIDE), (top + _SIDE, _NAMES)):
                box = f'x="{x}" y="{y}" width="{span}" height="{height}"'
                boxes.append(f'<rect {box} fill="{_GROUNDS.get(part.by, _PAPER)}"/>')
            words.append(_name(part.name, x, span, top + _SIDE))
        middles = {bit: 1 + (high - bit) * _STEP + _STEP // 2 for bit in range(low, high + 1)}
        for bit, x in middles.items():
            numbers.append(f'<text x="{x}" y="{top - 3}">{bit}</text>')
            if differ >> bit & 1:
                words.append(f'<circle cx="{x}" cy="{top + _SIDE // 2}" r="9" fill="none" stroke="{_INK}"/>')
        for value, weight in ((0, "400"), (1, "700")):  # one element for many bits
            places = " ".join(str(x) for bit, x in middles.items() if entry.entry >> bit & 1 == value)
            digits = str(value) * len(places.split())
            words.append(f'<text x="{places}" y="{top + 15}" font-weight="{weight}">{digits}</text>' if places else "")
    height = len(highest) * line
    paper = f'<rect width="{width}" height="{height}" fill="{_PAPER}"/>'
    drawing = f'<g stroke="{_LINE}">{"".join(boxes)}</g><g {_FONT} font-size="12">{"".join(words)}</g>'
    body = f'<defs>{_STRIPES}</defs>{paper}{drawing}<g {_FONT} font-size="10">{"".join(numbers)}</g>'
    return encoded(body, width, height, "", 'class="pte-drawn" ')  # the table below it says all


def _name(name: str, x: int, span: int, top: int) -> str:
    """Return the name of a field, upright if there is no room for it otherwise."""
    if not name:
        return ""
    middle = x + span // 2
    if len(name) * _LETTER <= span:
        return f'<text x="{middle}" y="{top + 15}">{escape(name)}</text>'
    turned = f'x="{middle}" y="{top + 5}" text-anchor="start" transform="rotate(90 {middle} {top + 5})" font-size="11"'
    return f'<text {turned} dy="4">{escape(name)}</text>'
