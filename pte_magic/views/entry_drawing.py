"""An entry as an image, for places where its HTML loses its style: notebooks that are not trusted, GitHub."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pte_magic.views.entry_pieces import pieces
from pte_magic.views.markup import escape
from pte_magic.views.svg_document import Drawing
from pte_magic.views.svg_image import MONOSPACE, encoded, pattern

if TYPE_CHECKING:
    from pte_magic.formats.describe import Description
    from pte_magic.views.entry_pieces import Piece

_BITS, _STEP = 32, 22  # in a line; pixels of a bit
_NUMBERS, _SIDE, _NAMES, _GAP = 14, 22, 82, 6  # heights of a line's numbers, bits and names, and between two lines
_LETTER = 8  # pixels of a name's letter, about
_PAPER, _INK, _LINE, _SET = (
    "#fff",
    "#111",
    "#999",
    "#1f4e8c",
)  # it has a page of its own: text cannot fit light pages and dark ones
_GROUNDS = {"cpu": "#cbdcf0", "linux": "url(#linux)"}
_STRIPES = pattern(
    "linux",
    '<rect width="8" height="8" fill="#fff"/><rect width="5" height="8" fill="#f5d9b3"/>',
    'patternTransform="rotate(45)"',
)
_FONT = f'font-family="{MONOSPACE}" text-anchor="middle" fill="{_INK}"'


def image(entry: Description, differ: int) -> str:
    """Return a `drawn` entry as an ``<img>``; the table below it says all."""
    return encoded(*drawn(entry, differ), "", 'class="pte-drawn" ')


def drawn(entry: Description, differ: int) -> Drawing:
    """Return an entry as a drawing: its bits with their numbers, and the fields below them; bits to mark `differ`."""
    grounds, edges, numbers, words = [], [], [], []
    highest = range(entry.width - 1, 0, -_BITS)
    width, line = _BITS * _STEP + 2, _NUMBERS + _SIDE + _NAMES + _GAP
    for at, high in enumerate(highest):
        low, top = high - _BITS + 1, at * line + _NUMBERS
        for piece in pieces(entry.parts, high, low):
            x, span = 1 + (high - piece.high) * _STEP, (piece.high - piece.low + 1) * _STEP
            ground = _GROUNDS.get(piece.part.by, _PAPER)
            for y, height in ((top, _SIDE), (top + _SIDE, _NAMES)):
                grounds.append(f'<rect x="{x}" y="{y}" width="{span}" height="{height}" fill="{ground}"/>')
            edges.append(_edges(piece, x, span, top))
            words.append(_name(piece.label, x, span, top + _SIDE))
        middles = {bit: 1 + (high - bit) * _STEP + _STEP // 2 for bit in range(low, high + 1)}
        for bit, x in middles.items():
            numbers.append(f'<text x="{x}" y="{top - 3}">{bit}</text>')
            is_set = entry.entry >> bit & 1
            if is_set:
                grounds.append(
                    f'<rect x="{x - 9}" y="{top + 2}" width="18" height="{_SIDE - 4}" rx="3" fill="{_SET}"/>'
                )
            if differ >> bit & 1:
                ink = _PAPER if is_set else _INK
                words.append(f'<circle cx="{x}" cy="{top + _SIDE // 2}" r="8" fill="none" stroke="{ink}"/>')
        for value, look in ((0, ""), (1, f' font-weight="700" fill="{_PAPER}"')):  # one element for many bits
            places = " ".join(str(x) for bit, x in middles.items() if entry.entry >> bit & 1 == value)
            digits = str(value) * len(places.split())
            words.append(f'<text x="{places}" y="{top + 15}"{look}>{digits}</text>' if places else "")
    height = len(highest) * line
    paper = f'<rect width="{width}" height="{height}" fill="{_PAPER}"/>'
    drawing = f'{"".join(grounds)}<path d="{"".join(edges)}" fill="none" stroke="{_LINE}"/>'
    drawing += f'<g {_FONT} font-size="12">{"".join(words)}</g>'
    body = f'<defs>{_STRIPES}</defs>{paper}{drawing}<g {_FONT} font-size="10">{"".join(numbers)}</g>'
    return Drawing(body, width, height)


def _edges(piece: Piece, x: int, span: int, top: int) -> str:
    """Return the lines around a piece; it is open where its field goes on in another line."""
    bits, bottom = f"M{x} {top}h{span}v{_SIDE}h-{span}z", top + _SIDE + _NAMES
    left = f"M{x} {top + _SIDE}V{bottom}" if piece.is_first else ""
    right = f"M{x + span} {top + _SIDE}V{bottom}" if piece.is_last else ""
    return f"{bits}{left}{right}M{x} {bottom}h{span}"


def _name(name: str, x: int, span: int, top: int) -> str:
    """Return the name of a field, upright if there is no room for it otherwise."""
    if not name:
        return ""
    middle = x + span // 2
    if len(name) * _LETTER <= span:
        return f'<text x="{middle}" y="{top + 15}">{escape(name)}</text>'
    turned = f'x="{middle}" y="{top + 5}" text-anchor="start" transform="rotate(90 {middle} {top + 5})" font-size="11"'
    return f'<text {turned} dy="4">{escape(name)}</text>'
