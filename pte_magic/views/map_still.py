"""The page map where nothing moves: as text, and as HTML with an SVG. The same cells and the same facts in both."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pte_magic.views import layers, looks, map_facts
from pte_magic.views.markup import escape, framed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from pte_magic.views.layers import Layer, Spans
    from pte_magic.views.looks import Look

COLUMNS, LINES = 64, 16
"""Cells in a line, and lines at most."""

_STEP, _SIDE = 10, 9  # of cells in the picture, in pixels, and what of it is not the gap between them


class Picture(NamedTuple):
    """Cells: how many entries each stands for (a power of two), their codes ``uint8``, and how each code looks."""

    per: int
    codes: NDArray[np.uint8]
    looks: dict[int, Look]


def text(layer: Layer, where: Spans) -> str:
    """Return the map for a terminal: lines of letters, what they stand for, and the first runs."""
    line = map_facts.summary(layer, where)
    if not layer.categories:
        return line
    picture = _picture(layer)
    letters = "".join(picture.looks[code].letter for code in picture.codes.tolist())
    legend = [(look.letter, *words) for (_, look), words in _legend(layer, picture)]
    runs, total = map_facts.runs(layer, where)
    parts = [
        [line, map_facts.scale(picture.per, layer)],
        [letters[at : at + COLUMNS] for at in range(0, len(letters), COLUMNS)],
        _aligned([("", *map_facts.legend_head(layer)), *legend]),
        [*_aligned([map_facts.run_head(layer), *(run.words for run in runs)]), *map_facts.more(total)],
    ]
    return "\n\n".join("\n".join(lines) for lines in parts)


def html(layer: Layer, where: Spans) -> str:
    """Return the map as HTML: a picture, a table of what it shows, and one of the first runs."""
    line = escape(map_facts.summary(layer, where))
    if not layer.categories:
        return framed(f"<p>{line}</p>", "map")
    picture = _picture(layer)
    # Patterns of pictures in one page must not share a name, unless they are the same.
    name = f"pte-map-{zlib.crc32(repr(picture.looks).encode() + picture.codes.tobytes()):08x}"
    legend = _legend(layer, picture)
    runs, total = map_facts.runs(layer, where)
    parts = [
        f"<p>{line}; {map_facts.scale(picture.per, layer)}</p>",
        _svg(name, line, picture),
        _table(
            map_facts.legend_head(layer), [words for _, words in legend], [_swatch(name, at) for (at, _), _ in legend]
        ),
        _table(map_facts.run_head(layer), [run.words for run in runs]),
        *(f"<p>{more}</p>" for more in map_facts.more(total)),
    ]
    return framed(f'<div class="pte-map">{"".join(parts)}</div>', "map")


def _picture(layer: Layer) -> Picture:
    n, per = int(layer.ends[-1]), 1
    while n > per * COLUMNS * LINES:
        per *= 2
    codes = layers.cells(layer, per)
    known = {code: category.look for code, category in enumerate(layer.categories)}
    return Picture(per, codes, {**known, layers.MIXED: looks.MIXED} if (codes == layers.MIXED).any() else known)


def _legend(layer: Layer, picture: Picture) -> list[tuple[tuple[int, Look], tuple[str, ...]]]:
    """Return the code, the look and the words of each line of the legend."""
    words = [*map(map_facts.legend, layer.categories), ("several in one cell", "", "", "", "")]
    return [*zip(picture.looks.items(), words, strict=False)]


def _svg(name: str, label: str, picture: Picture) -> str:
    codes = picture.codes
    width, height = min(len(codes), COLUMNS) * _STEP, -(-len(codes) // COLUMNS) * _STEP
    patterns = "".join(
        f'<pattern id="{name}-{code}" width="{looks.TILE}" height="{looks.TILE}" patternUnits="userSpaceOnUse">'
        f'<rect width="{looks.TILE}" height="{looks.TILE}" style="fill:var(--pte-map-{look.ground})"/>'
        f'<path d="{look.pattern}" style="stroke:var(--pte-map-{look.ink})"/></pattern>'
        for code, look in picture.looks.items()
    )
    # One path for all cells of a look: a thousand elements would be a slow page.
    paths = "".join(
        f'<path fill="url(#{name}-{code})" d="{_squares(np.flatnonzero(codes == code).tolist())}"/>'
        for code in picture.looks
    )
    return (
        f'<svg role="img" aria-label="{label}" viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
        f"<defs>{patterns}</defs>{paths}</svg>"
    )


def _squares(at: Iterable[int]) -> str:
    side = f"h{_SIDE}v{_SIDE}h-{_SIDE}z"
    return "".join(f"M{cell % COLUMNS * _STEP} {cell // COLUMNS * _STEP}{side}" for cell in at)


def _swatch(name: str, code: int) -> str:
    size = 'width="16" height="16"'
    return f'<td><svg {size} aria-hidden="true"><rect {size} fill="url(#{name}-{code})"/></svg></td>'


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], before: Sequence[str] | None = None) -> str:
    """Return a table of words, with a cell of HTML before each row."""
    top = "".join(f'<th scope="col">{escape(word)}</th>' for word in head)
    body = "".join(
        f"<tr>{first}{''.join(f'<td>{escape(word)}</td>' for word in row)}</tr>"
        for first, row in zip(before or [""] * len(rows), rows, strict=True)
    )
    return f"<table><thead><tr>{'<td></td>' if before else ''}{top}</tr></thead><tbody>{body}</tbody></table>"


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip() for row in rows]
