"""`TwoMaps`: the maps of two frames beside each other, in which the squares that changed are outlined."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pte_magic.dataframes.diff.words import NOT_LOOKED
from pte_magic.views import diff_view, pandas_table, svg_document, svg_image
from pte_magic.views.markup import KEYS, escape, framed
from pte_magic.views.page_map import coloring, facts, layers, squares, still_picture
from pte_magic.views.page_map.squares import Measure, cut, grain, places
from pte_magic.views.picture_file import Picture
from pte_magic.views.svg_document import Drawing

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from pte_magic.views.page_map.layers import Extents, Layer, Spans
    from pte_magic.views.page_map.squares import Squares
    from pte_magic.views.palette import Look

_EDGE = 2  # pixels around a map, for outlines of squares at its edge
_OUTLINED = "squares that changed are outlined"


class _Map(NamedTuple):
    """One of the two maps; `changed` tells for each square whether something in it changed, ``bool[squares]``."""

    title: str
    layer: Layer
    where: Spans
    squares: Squares
    changed: NDArray[np.bool_]


class TwoMaps(Picture):
    """The maps of two frames, by bytes, in one colouring and with squares of one size."""

    def __init__(self, before: pd.DataFrame, after: pd.DataFrame, diff: pd.DataFrame, color: str | None = None) -> None:
        """Show what changed.

        Args:
            before: A frame that `pte_magic.walk` returned.
            after: The same or other addresses, later or of another process.
            diff: The difference of the two.
            color: The meaning of the colours; by default the first in which the two differ, but for the runs of page
                frames, or else the first that distinguishes something.

        Raises:
            TargetError: A frame has no addresses, or there is no such colouring in both.

        """
        self._diff = diff
        frames = [layers.shown(frame) for frame in (before, after)]
        known = [name for name in coloring.colors(frames[0]) if name in coloring.colors(frames[1])]
        names = known if color is None else [coloring.chosen(color, known)]
        where = [layers.extents(frame, cut_all=True) for frame in frames]
        spans = [layers.spans(each) for each in where]
        told = _telling(frames, where, spans, names, is_changed=len(self._changed()) > 0)
        measure = Measure("bytes", min(map(grain, spans)))
        most = still_picture.COLUMNS * still_picture.LINES
        per = max(
            (cut(*each, measure, most).per for each in zip(told, spans, strict=True) if len(each[0].ends)), default=1
        )
        self._maps = [
            _map(*each, Measure("bytes", per), self._changed())
            for each in zip(("before", "after"), told, spans, strict=True)
            if len(each[1].ends)
        ]

    def _changed(self) -> pd.DataFrame:
        of = ~self._diff["change"].isin(NOT_LOOKED)
        for side in ("before", "after"):
            of &= (self._diff[f"state_{side}"] != "table").fillna(value=True).astype(bool)
        return self._diff[of]

    def text(self) -> str:
        """Return the maps as letters, with a mark for each square that changed."""
        parts = ["\n".join(pandas_table.sentences([diff_view.headline(self._diff)]))]
        columns = still_picture.letters_in_line()
        for each in self._maps:
            marks = "".join("^" if changed else " " for changed in each.changed)
            lines = []
            for at, line in enumerate(still_picture.lines(each.layer, each.squares)):
                below = marks[at * columns :][:columns].rstrip()
                lines += [line, below] if below else [line]
            head = f"{each.title}: {facts.summary(each.layer, each.where)}; {facts.scale(each.squares, each.layer)}"
            parts.append("\n".join([*pandas_table.sentences([head]), *lines, *still_picture.legend(each.layer)]))
        return "\n\n".join(parts)

    def html(self) -> str:
        """Return the maps as HTML."""
        figures = "".join(
            f"<figure><figcaption>{each.title}: {escape(facts.summary(each.layer, each.where))}</figcaption>"
            f"{svg_image.image(*_drawn(each), dict(enumerate(still_picture.looks(each.layer))), each.title)}"
            f"{still_picture.legend_table(each.layer)}</figure>"
            for each in self._maps
        )
        scale = [facts.scale(each.squares, each.layer) for each in self._maps][:1]
        head = "; ".join([diff_view.headline(self._diff), *scale, _OUTLINED])
        pair = f'<div class="pte-map"><p>{escape(head)}</p><div class="pte-map-pair">{figures}</div></div>'
        table = diff_view.html(self._diff) if len(self._diff) else None
        more = f"<details><summary {KEYS}>table of changes</summary>{table}</details>" if table else ""
        return framed(pair + more, "map")

    def svg(self) -> str:
        """Return the maps as an SVG document."""
        pieces = [svg_document.words([diff_view.headline(self._diff), _OUTLINED])]
        known: dict[int, Look] = {}
        for each in self._maps:
            first, looks = len(known), still_picture.looks(each.layer)
            known |= dict(enumerate(looks, first))
            head = f"{each.title}: {facts.summary(each.layer, each.where)}; {facts.scale(each.squares, each.layer)}"
            codes = [None, *range(first, first + len(looks))]
            pieces += [
                svg_document.words([head]),
                _drawn(each, first),
                svg_document.legend(still_picture.legend_of_drawing(each.layer), codes),
            ]
        return svg_document.document(pieces, known)


def _telling(
    frames: list[pd.DataFrame], where: list[Extents], spans: list[Spans], names: list[str], *, is_changed: bool
) -> tuple[Layer, ...]:
    """Return the two layers of the first colouring in which a change can be seen, or else anything."""
    first = useful = None
    for name in names:
        both = tuple(coloring.layer(frame, name, each.size) for frame, each in zip(frames, where, strict=True))
        first = first or both
        if is_changed and name != "contiguity" and not _alike(both, spans):  # page frames often are other ones
            return both
        if useful is None and len({category.name for layer in both for category in layer.categories}) > 1:
            useful = both
        if useful and not is_changed:
            break
    return useful or first or ()


def _alike(both: tuple[Layer, ...], where: list[Spans]) -> bool:
    (ends, kinds), (other_ends, other_kinds) = (
        (squares.before(spans, layer.ends), np.array([category.name for category in layer.categories])[layer.codes])
        for layer, spans in zip(both, where, strict=True)
    )
    return np.array_equal(ends, other_ends) and np.array_equal(kinds, other_kinds)


def _map(title: str, layer: Layer, where: Spans, measure: Measure, rows: pd.DataFrame) -> _Map:
    cells = cut(layer, where, measure, still_picture.COLUMNS * still_picture.LINES)
    first = rows["vaddr"].to_numpy(np.uint64)
    begin, end = (places(where, at) for at in (first, first + rows["size"].to_numpy(np.uint64)))
    is_here = end > begin
    per = np.uint64(cells.per)
    change: NDArray[Any] = np.zeros(len(cells.shares) + 1, np.int64)
    np.add.at(change, begin[is_here] // per, 1)
    np.add.at(change, (end[is_here] - np.uint64(1)) // per + np.uint64(1), -1)
    return _Map(title, layer, where, cells, np.cumsum(change[:-1]) > 0)


def _drawn(of: _Map, first: int = 0) -> Drawing:
    drawn = still_picture.drawing(still_picture.looks(of.layer), of.squares, first, still_picture.outline(of.changed))
    moved = f'<g transform="translate({_EDGE} {_EDGE})">{drawn.body}</g>'
    return Drawing(moved, drawn.width + 2 * _EDGE, drawn.height + 2 * _EDGE)
