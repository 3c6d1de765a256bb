"""The page map where nothing moves: as text, and as HTML with an image. Both have the same squares and facts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pte_magic.views import palette, pandas_table, svg_document, svg_image, text_table
from pte_magic.views.html_table import cell, cells, column_heads, row, table
from pte_magic.views.markup import escape, framed
from pte_magic.views.page_map import facts
from pte_magic.views.page_map.squares import NONE, STEPS, cut
from pte_magic.views.svg_document import Drawing
from pte_magic.views.text_table import Rules

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
        return "\n".join(pandas_table.sentences([line]))
    squares = cut(layer, where, measure, COLUMNS * LINES)
    parts = [
        pandas_table.sentences([line, facts.scale(squares, layer) + _MOST * facts.blends(squares, measure)]),
        lines(layer, squares),
        legend(layer, mixed=bool((squares.most == NONE).any())),
    ]
    if layer.listed:
        runs, total = facts.runs(layer, where)
        parts.append([*_listed(facts.run_head(layer), [run.words for run in runs]), *facts.more(total)])
    return "\n\n".join("\n".join(part) for part in parts)


def lines(layer: Layer, squares: Squares) -> list[str]:
    """Return the squares as lines of letters."""
    letter = {**{code: look.letter for code, look in enumerate(looks(layer))}, NONE: palette.MIXED}
    letters = "".join(letter[code] for code in squares.most.tolist())
    return [letters[at : at + letters_in_line()] for at in range(0, len(letters), letters_in_line())]


def letters_in_line() -> int:
    """Return how many squares a line of letters has: fewer than a picture's where the screen is narrow."""
    return min(COLUMNS, pandas_table.width())


def legend(layer: Layer, *, mixed: bool = False) -> list[str]:
    """Return the legend in the width of the screen, with letters, and with that of squares of several."""
    head, rows = facts.legend_head(layer), [facts.legend(category) for category in layer.categories]
    letters = [f"{look.letter} " for look in looks(layer)]
    if mixed:
        letters.append(f"{palette.MIXED} ")
        rows.append(("several, none more than half of the square", *[""] * (len(head) - 1)))
    columns = {name: list(cells) for name, cells in zip(head, zip(*rows, strict=True), strict=True)}
    rules = Rules(("largest run", "runs"), keep=head[:3], wrap=head[:1])
    return text_table.fitted(columns, letters, pandas_table.width(), rules).lines


def legend_of_drawing(layer: Layer) -> list[str]:
    """Return the legend as lines of text without letters."""
    return _aligned([facts.legend_head(layer), *map(facts.legend, layer.categories)], "<>>>>")


def legend_table(layer: Layer) -> str:
    """Return the legend as HTML."""
    words = zip(looks(layer), map(facts.legend, layer.categories), strict=True)
    return table(
        (row(cell(svg_image.swatch(look)), cells(said)) for look, said in words),
        row(cell(), column_heads(facts.legend_head(layer))),
        'class="pte-map-legend"',
    )


def html(layer: Layer, where: Spans, measure: Measure) -> str:
    """Return the map as HTML: a picture, a legend, and a table of the first runs."""
    line = escape(facts.summary(layer, where))
    if not layer.categories:
        return framed(f"<p>{line}</p>", "map")
    squares = cut(layer, where, measure, COLUMNS * LINES)
    parts = [
        f"<p>{line}; {facts.scale(squares, layer)}{facts.BLENDS * facts.blends(squares, measure)}</p>",
        svg_image.image(*drawing(looks(layer), squares), dict(enumerate(looks(layer))), facts.summary(layer, where)),
        legend_table(layer),
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
        return svg_document.document([svg_document.words([line])])
    squares, known = cut(layer, where, measure, COLUMNS * LINES), looks(layer)
    scale = facts.scale(squares, layer) + facts.BLENDS * facts.blends(squares, measure)
    below = svg_document.legend(legend_of_drawing(layer), [None, *range(len(known))])
    return svg_document.document(
        [svg_document.words([line, scale]), drawing(known, squares), below], dict(enumerate(known))
    )


def looks(layer: Layer) -> list[Look]:
    """Return the looks of the categories."""
    return [category.look for category in layer.categories]


def drawing(known: list[Look], squares: Squares, first: int = 0, over: str = "") -> Drawing:
    """Return the squares, filled with looks whose codes count from `first`, and what is drawn over them."""
    count = len(squares.shares)
    order = palette.painting(known)
    shades = squares.shades(order, palette.empty(known))
    # One path for all squares of a look and shade: a thousand elements would be a slow page.
    paths = "".join(
        f'<path {svg_image.filled(first + code)}{_opacity(shade)} d="{_path(np.flatnonzero(shades[:, at] == shade))}"/>'
        for at, code in enumerate(order)
        for shade in np.unique(shades[:, at]).tolist()
        if shade
    )
    width, height = (round(squares * _STEP * _SCALE) for squares in (min(count, COLUMNS), -(-count // COLUMNS)))
    return Drawing(f'<g transform="scale({_SCALE})">{paths}{over}</g>', width, height)


def outline(chosen: NDArray[np.bool_]) -> str:
    """Return the lines around some squares: an edge for each side at which the next square is not chosen."""
    height = -(-len(chosen) // COLUMNS)
    grid = np.zeros((height + 2, COLUMNS + 2), np.bool_)
    grid[1:-1, 1:-1].flat[: len(chosen)] = chosen
    across = np.argwhere(grid[1:, 1:-1] != grid[:-1, 1:-1]).tolist()
    down = np.argwhere(grid[1:-1, 1:] != grid[1:-1, :-1]).tolist()
    edges = [f"M{x * _STEP - 0.5} {y * _STEP - 0.5}h{_STEP}" for y, x in across]
    edges += [f"M{x * _STEP - 0.5} {y * _STEP - 0.5}v{_STEP}" for y, x in down]
    drawn = f'd="{"".join(edges)}" fill="none" stroke-linecap="square"'
    # Two colours: one of them is seen whatever is below.
    return f'<path {drawn} stroke="#fff" stroke-width="2.5"/><path {drawn} stroke="#000" stroke-width="1.2"/>'


def _opacity(shade: int) -> str:
    return "" if shade == STEPS else f' opacity="{shade / STEPS:g}"'


def _path(at: NDArray[np.intp]) -> str:
    side = f"h{_SIDE}v{_SIDE}h-{_SIDE}z"
    return "".join(f"M{square % COLUMNS * _STEP} {square // COLUMNS * _STEP}{side}" for square in at.tolist())


def _listed(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Return a table of runs in the width of the screen."""
    aligned = _aligned([head, *rows], "<>>><")
    if max(map(len, aligned)) <= pandas_table.width():
        return aligned
    columns = {name: list(cells) for name, cells in zip(head, zip(*rows, strict=True), strict=True)}
    addresses, entries, of, bytes_, what = head
    rules = Rules((of, entries), keep=(addresses, bytes_, what), wrap=(what,))
    return text_table.fitted(columns, None, pandas_table.width(), rules).lines


def _aligned(rows: Sequence[tuple[str, ...]], sides: str) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(format, row, map("{}{}".format, sides, widths))).rstrip() for row in rows]
