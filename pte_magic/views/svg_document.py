"""The sheet of paper of a saved picture: lines of text and drawings, one below the other."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, NamedTuple

from pte_magic.errors.escapes import visible
from pte_magic.views import palette, svg_image

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pte_magic.views.palette import Look

_PAPER, _INK = "#fff", "#111"  # it has a page of its own: text cannot fit light pages and dark ones
_MARGIN, _GAP = 12, 10
_LINE, _LETTER = 17, 7.3  # pixels of a line of text, and of one of its letters
_FONT = f'font-family="{svg_image.MONOSPACE}" font-size="12" fill="{_INK}"'


class Drawing(NamedTuple):
    """SVG elements, and the pixels that they take."""

    body: str
    width: int
    height: int


def words(lines: Iterable[str]) -> Drawing:
    """Return lines of text, in which spaces align columns."""
    found = [visible(line) for line in lines]
    body = "".join(
        f'<text x="0" y="{at * _LINE + 13}" xml:space="preserve">{html.escape(line)}</text>'
        for at, line in enumerate(found)
    )
    return Drawing(f"<g {_FONT}>{body}</g>", round(max(map(len, found), default=0) * _LETTER), len(found) * _LINE)


def legend(lines: Sequence[str], codes: Sequence[int | None]) -> Drawing:
    """Return lines of text, before some of which is a small square of a look."""
    text = words(lines)
    side = 2 * palette.TILE - 2
    squares = "".join(
        f'<rect y="{at * _LINE + 2}" width="{side}" height="{side}" {svg_image.filled(code)}/>'
        for at, code in enumerate(codes)
        if code is not None
    )
    left = 2 * palette.TILE + 6
    return Drawing(f'{squares}<g transform="translate({left})">{text.body}</g>', text.width + left, text.height)


def document(pieces: Iterable[Drawing], looks: Mapping[int, Look] | None = None) -> str:
    """Return an SVG document of drawings, one below the other, with the looks that these are filled with."""
    body, width, top = [], 0, _MARGIN
    for piece in pieces:
        body.append(f'<g transform="translate({_MARGIN} {top})">{piece.body}</g>')
        width, top = max(width, piece.width), top + piece.height + _GAP
    paper = f'<rect width="100%" height="100%" fill="{_PAPER}"/>'
    return svg_image.document(
        f"<defs>{svg_image.definitions(looks or {})}</defs>{paper}{''.join(body)}",
        width + 2 * _MARGIN,
        top - _GAP + _MARGIN,
    )
