"""The page map where nothing moves: as text, and as HTML with an image. Both have the same squares and facts."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pte_magic.views import palette, svg_image
from pte_magic.views.html_table import cell, cells, column_heads, row, table
from pte_magic.views.markup import escape, framed
from pte_magic.views.page_map import facts, layers

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from pte_magic.views.page_map.layers import Layer, Spans
    from pte_magic.views.palette import Look

COLUMNS, LINES = 64, 16
"""Squares in a line, and the most lines."""

_STEP, _SIDE = 10, 9  # of cells in the picture, in pixels, and what of it is not the gap between them


class Picture(NamedTuple):
    """Squares: the number of entries of each (a power of two), their codes ``uint8``, and the look of each code."""

    per: int
    codes: NDArray[np.uint8]
    looks: dict[int, Look]


def text(layer: Layer, where: Spans) -> str:
    """Return the map for a terminal: lines of letters, a legend, and the first runs."""
    line = facts.summary(layer, where)
    if not layer.categories:
        return line
    picture = _picture(layer)
    letters = "".join(picture.looks[code].letter for code in picture.codes.tolist())
    legend = [(look.letter, *words) for (_, look), words in _legend(layer, picture)]
    runs, total = facts.runs(layer, where)
    parts = [
        [line, facts.scale(picture.per, layer)],
        [letters[at : at + COLUMNS] for at in range(0, len(letters), COLUMNS)],
        _aligned([("", *facts.legend_head(layer)), *legend]),
        [*_aligned([facts.run_head(layer), *(run.words for run in runs)]), *facts.more(total)],
    ]
    return "\n\n".join("\n".join(lines) for lines in parts)


def html(layer: Layer, where: Spans) -> str:
    """Return the map as HTML: a picture, a legend, and a table of the first runs."""
    line = escape(facts.summary(layer, where))
    if not layer.categories:
        return framed(f"<p>{line}</p>", "map")
    picture = _picture(layer)
    legend = _legend(layer, picture)
    runs, total = facts.runs(layer, where)
    parts = [
        f"<p>{line}; {facts.scale(picture.per, layer)}</p>",
        _image(facts.summary(layer, where), picture),
        table(
            (row(cell(svg_image.swatch(look)), cells(words)) for (_, look), words in legend),
            row(cell(), column_heads(facts.legend_head(layer))),
        ),
        table((row(cells(run.words)) for run in runs), row(column_heads(facts.run_head(layer)))),
        *(f"<p>{more}</p>" for more in facts.more(total)),
    ]
    return framed(f'<div class="pte-map">{"".join(parts)}</div>', "map")


def _picture(layer: Layer) -> Picture:
    n, per = int(layer.ends[-1]), 1
    while n > per * COLUMNS * LINES:
        per *= 2
    codes = layers.cells(layer, per)
    known = {code: category.look for code, category in enumerate(layer.categories)}
    return Picture(per, codes, {**known, layers.MIXED: palette.MIXED} if (codes == layers.MIXED).any() else known)


def _legend(layer: Layer, picture: Picture) -> list[tuple[tuple[int, Look], tuple[str, ...]]]:
    """Return the code, the look and the words of each line of the legend."""
    words = [*map(facts.legend, layer.categories), ("several in one square", "", "", "", "")]
    return [*zip(picture.looks.items(), words, strict=False)]


def _image(label: str, picture: Picture) -> str:
    codes = picture.codes
    width, height = min(len(codes), COLUMNS) * _STEP, -(-len(codes) // COLUMNS) * _STEP
    # One path for all cells of a look: a thousand elements would be a slow page.
    paths = "".join(
        f'<path {svg_image.filled(code)} d="{_squares(np.flatnonzero(codes == code).tolist())}"/>'
        for code in picture.looks
    )
    return svg_image.image(paths, width, height, picture.looks, label)


def _squares(at: Iterable[int]) -> str:
    side = f"h{_SIDE}v{_SIDE}h-{_SIDE}z"
    return "".join(f"M{cell % COLUMNS * _STEP} {cell // COLUMNS * _STEP}{side}" for cell in at)


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip() for row in rows]
