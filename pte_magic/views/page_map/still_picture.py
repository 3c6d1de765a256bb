"""The page map where nothing moves: as text, and as HTML with an image. Both have the same squares and facts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pte_magic.views import palette, sheet, svg_image
from pte_magic.views.html_table import cell, cells, column_heads, row, table
from pte_magic.views.markup import escape, framed
from pte_magic.views.page_map import facts
from pte_magic.views.page_map.squares import NONE, STEPS, cut
from pte_magic.views.sheet import Drawing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pte_magic.views.page_map.layers import Layer, Spans
    from pte_magic.views.page_map.squares import Measure, Squares
    from pte_magic.views.palette import Look

COLUMNS, LINES = 64, 16
"""Squares in a line, and the most lines."""

_MOST = ", with the letter of what most of it is"
_STEP, _SIDE = palette.TILE, palette.TILE - 1  # of squares in the drawing, and what of it is not the gap between them
_SCALE = 1.25  # of the drawing, in pixels


def text(layer: Layer, where: Spans, measure: Measure) -> str:
    """Return the map for a terminal: lines of letters, a legend, and the first runs."""
    line = facts.summary(layer, where)
    if not layer.categories:
        return line
    squares = cut(layer, where, measure, COLUMNS * LINES)
    most = squares.most.tolist()
    letter = {**{code: look.letter for code, look in enumerate(_looks(layer))}, NONE: palette.MIXED}
    letters = "".join(letter[code] for code in most)
    legend = [(category.look.letter, *facts.legend(category)) for category in layer.categories]
    if NONE in most:
        legend.append((palette.MIXED, "several, none more than half of the square", "", "", "", ""))
    parts = [
        [
            line,
            facts.scale(squares, layer) + ", with the letter of what most of it is" * facts.blends(squares, measure),
        ],
        [letters[at : at + COLUMNS] for at in range(0, len(letters), COLUMNS)],
        _aligned([("", *facts.legend_head(layer)), *legend], "<<>>>>"),
    ]
    if layer.listed:
        runs, total = facts.runs(layer, where)
        listed = _aligned([facts.run_head(layer), *(run.words for run in runs)], "<>>><")
        parts.append([*listed, *facts.more(total)])
    return "\n\n".join("\n".join(lines) for lines in parts)


def html(layer: Layer, where: Spans, measure: Measure) -> str:
    """Return the map as HTML: a picture, a legend, and a table of the first runs."""
    line = escape(facts.summary(layer, where))
    if not layer.categories:
        return framed(f"<p>{line}</p>", "map")
    squares = cut(layer, where, measure, COLUMNS * LINES)
    legend = zip(_looks(layer), map(facts.legend, layer.categories), strict=True)
    parts = [
        f"<p>{line}; {facts.scale(squares, layer)}{facts.BLENDS * facts.blends(squares, measure)}</p>",
        svg_image.image(*_drawing(_looks(layer), squares), dict(enumerate(_looks(layer))), facts.summary(layer, where)),
        table(
            (row(cell(svg_image.swatch(look)), cells(words)) for look, words in legend),
            row(cell(), column_heads(facts.legend_head(layer))),
            'class="pte-map-legend"',
        ),
    ]
    if layer.listed:
        runs, total = facts.runs(layer, where)
        parts.append(table((row(cells(run.words)) for run in runs), row(column_heads(facts.run_head(layer)))))
        parts.extend(f"<p>{more}</p>" for more in facts.more(total))
    return framed(f'<div class="pte-map">{"".join(parts)}</div>', "map")


def svg(layer: Layer, where: Spans, measure: Measure) -> str:
    """Return the map as an SVG document: a picture and a legend."""
    line = facts.summary(layer, where)
    if not layer.categories:
        return sheet.document([sheet.words([line])])
    squares, looks = cut(layer, where, measure, COLUMNS * LINES), _looks(layer)
    scale = facts.scale(squares, layer) + facts.BLENDS * facts.blends(squares, measure)
    legend = _aligned([facts.legend_head(layer), *map(facts.legend, layer.categories)], "<>>>>")
    pieces = [sheet.words([line, scale]), _drawing(looks, squares), sheet.legend(legend, [None, *range(len(looks))])]
    return sheet.document(pieces, dict(enumerate(looks)))


def _looks(layer: Layer) -> list[Look]:
    return [category.look for category in layer.categories]


def _drawing(looks: list[Look], squares: Squares) -> Drawing:
    count = len(squares.shares)
    order = palette.painting(looks)
    shades = squares.shades(order)
    # One path for all squares of a look and shade: a thousand elements would be a slow page.
    paths = "".join(
        f'<path {svg_image.filled(code)}{_opacity(shade)} d="{_path(np.flatnonzero(shades[:, at] == shade))}"/>'
        for at, code in enumerate(order)
        for shade in np.unique(shades[:, at]).tolist()
        if shade
    )
    width, height = (round(squares * _STEP * _SCALE) for squares in (min(count, COLUMNS), -(-count // COLUMNS)))
    return Drawing(f'<g transform="scale({_SCALE})">{paths}</g>', width, height)


def _opacity(shade: int) -> str:
    return "" if shade == STEPS else f' opacity="{shade / STEPS:g}"'


def _path(at: NDArray[np.intp]) -> str:
    side = f"h{_SIDE}v{_SIDE}h-{_SIDE}z"
    return "".join(f"M{square % COLUMNS * _STEP} {square // COLUMNS * _STEP}{side}" for square in at.tolist())


def _aligned(rows: Sequence[tuple[str, ...]], sides: str) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(format, row, map("{}{}".format, sides, widths))).rstrip() for row in rows]
