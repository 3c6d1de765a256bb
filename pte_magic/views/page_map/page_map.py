"""`PageMap`: a range as a picture of squares, by bytes or by entries. The browser gets runs, not entries."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import traitlets

from pte_magic.dataframes import row_kernels
from pte_magic.dataframes.page_frame_columns import regions
from pte_magic.errors import TargetError
from pte_magic.views import palette
from pte_magic.views.bits import BitField
from pte_magic.views.markup import escape, module, script, style
from pte_magic.views.page_map import coloring, facts, layers, squares, still_picture
from pte_magic.views.place_in_target import items_of
from pte_magic.views.widget import View

if TYPE_CHECKING:
    import pandas as pd

    from pte_magic.views.page_map.layers import Layer, Spans
    from pte_magic.views.palette import Look


_PATTERN = f"const PATTERN = {json.dumps({'side': palette.TILE, 'stroke': palette.STROKE, 'cap': palette.CAP})};\n"


class CellMap(View):
    """A map of squares, with navigation by mouse and keyboard, and zoom.

    Attributes:
        color: The meaning of the colours, one of `colors`.
        colors: The possible meanings.
        by: The measure of squares, of which all have as much: ``"bytes"`` or ``"entries"``.
        position: The entry under the cursor; may be set.
        count: The number of entries.
        grain: The bytes of the smallest square.
        layer: The colouring in use, as the browser gets it.
        states: The states, which the status line shows with any colouring; empty while the colours are the states, as
            it may be large.
        spans: The places of the entries, in runs: their first addresses and sizes (uint64), then their ends (uint32),
            little-endian.
        regions: The regions in the map: first address, end (in hex), and words.
        items: The first address (in hex), bytes of an item, and shape of the array of the map; empty if there is none.
        picks: True if a click on a square shows its entry.
        picked: The HTML of the entry that was clicked.

    """

    _esm = module(_PATTERN + script("map_facts", "map_looks", "map"))
    _css = style("view") + style("map")

    color = traitlets.Unicode().tag(sync=True)
    colors = traitlets.List(traitlets.Unicode()).tag(sync=True)
    by = traitlets.Unicode("bytes").tag(sync=True)
    position = traitlets.Int(0).tag(sync=True)
    count = traitlets.Int(0).tag(sync=True)
    grain = traitlets.Int(1).tag(sync=True)
    layer = traitlets.Dict().tag(sync=True)
    states = traitlets.Dict().tag(sync=True)
    spans = traitlets.Bytes().tag(sync=True)
    regions: traitlets.List[Any] = traitlets.List().tag(sync=True)
    items: traitlets.Dict[str, Any] = traitlets.Dict().tag(sync=True)
    picks = traitlets.Bool(False).tag(sync=True)  # noqa: FBT003  (traitlets' way)
    picked = traitlets.Unicode().tag(sync=True)

    def __init__(
        self,
        layer: Layer,
        spans: Spans,
        colors: list[str],
        *,
        states: Layer | None = None,
        by: str = "bytes",
    ) -> None:
        """Make a map of a colouring, and of the states for the status line."""
        self._layer, self._spans, self._colors = layer, spans, colors
        super().__init__(
            color=layer.color,
            colors=colors,
            by=squares.chosen(by),
            grain=squares.grain(spans),
            count=int(layer.ends[-1]) if len(layer.ends) else 0,
            layer=self._sent(layer),
            states=self._sent(states) if states else {},
            spans=b"".join(part.astype(part.dtype.newbyteorder("<")).tobytes() for part in spans),
        )

    def text(self) -> str:
        """Return the map as lines of letters with a legend and the first runs."""
        return still_picture.text(self._layer, self._spans, self._squares)

    def html(self) -> str:
        """Return the map as an image with a legend and the first runs."""
        return still_picture.html(self._layer, self._spans, self._squares)

    def svg(self) -> str:
        """Return the map as an SVG document, with a legend."""
        return still_picture.svg(self._layer, self._spans, self._squares)

    @property
    def _squares(self) -> squares.Measure:
        return squares.Measure(self.by, self.grain if self.by == "bytes" else 1)

    @traitlets.validate("color")
    def _known(self, proposal: dict[str, Any]) -> str:
        return coloring.chosen(proposal["value"], self._colors)

    @traitlets.validate("by")
    def _measure(self, proposal: dict[str, Any]) -> str:
        return squares.chosen(proposal["value"])

    @traitlets.validate("position")
    def _within(self, proposal: dict[str, Any]) -> int:
        position: int = proposal["value"]
        return max(0, min(position, self.count - 1))

    def _sent(self, layer: Layer) -> dict[str, Any]:
        """Return a layer as one message for the browser: its `runs` are all ends (uint32), then all codes."""
        return {
            "color": layer.color,
            "unit": layer.unit,
            "summary": facts.summary(layer, self._spans),
            "head": facts.legend_head(layer),
            "legend": [{"words": facts.legend(category), **_sent_look(category.look)} for category in layer.categories],
            "order": palette.painting(still_picture.looks(layer)),
            "empty": palette.empty(still_picture.looks(layer)),
            "runs": layer.ends.astype("<u4").tobytes() + layer.codes.tobytes(),
        }


class PageMap(CellMap):
    """A map of page-table entries, with a choice of colourings, and of squares by bytes or by entries.

    Attributes:
        frame: The entries of the map, in order: all but those that point to page tables. Of a whole address space,
            those in its regions.
        color: The meaning of the colours, one of `colors`; may be set.
        colors: ``"state"``, ``"size"``, ``"contiguity"`` of page frames, and the boolean columns that are not
            empty.
        by: The measure of squares, of which all have as much: ``"bytes"`` or ``"entries"``; may be set.
        position: The entry under the cursor: its row is ``frame.iloc[position]``; may be set.

    """

    __module__ = "pte_magic"

    def __init__(self, frame: pd.DataFrame, color: str | None = None, by: str = "bytes") -> None:
        """Make a map of a frame that `pte_magic.walk` returned, or of a part of it; rows are shown in their order.

        Args:
            frame: The frame.
            color: One of `colors`; by default the first of them that distinguishes something, or else the states.
            by: ``"bytes"``: all squares are as large, so that a page of 2 MiB is 512 times as large as one of 4 KiB.
                ``"entries"``: a square for each entry, or for as many as the others.

        Raises:
            TargetError: The frame has no addresses, or no such colouring.

        """
        self.frame = layers.shown(frame)
        self._extents = layers.extents(self.frame)
        known = coloring.colors(self.frame)
        is_chosen = color is not None
        layer = (
            self._layer_of(coloring.chosen(color, known))
            if is_chosen
            else coloring.first(self.frame, known, self._extents.size)
        )
        super().__init__(layer, layers.spans(self._extents), known, states=self._states(layer), by=by)
        self.observe(self._recolor, "color")
        self._bits: BitField | None = None
        self.picks = True
        self.regions = self._regions()
        if items := items_of(self.frame):
            self.items = items | {"first": f"{items['first']:#x}", "shape": list(items["shape"])}
        self.on_msg(self._heard)

    def _regions(self) -> list[tuple[str, str, str]]:
        if not len(self.frame):
            return []
        vaddr, size = self._extents
        first, end = int(vaddr.min()), int((vaddr + size).max())
        return [
            (f"{region.start:#x}", f"{region.end:#x}", f"{region.name or 'no name'}, {region.permissions}")
            for region in regions(self.frame)
            if region.start < end and region.end > first
        ]

    def _heard(self, _view: object, content: dict[str, Any], _buffers: object) -> None:
        if "pick" in content:
            self._pick(content["pick"])

    def _pick(self, position: int) -> None:
        """Show the bits of an entry below the map."""
        row = self.frame.iloc[[position]]
        before, self._bits = self._bits, None
        try:
            self._bits = BitField(row["entry"].iloc[0], str(row["level"].iloc[0]), kernel=row_kernels.of_all(row))
        except (KeyError, TargetError):  # columns were left out, or the walker shows no entries
            where = f"{int(row['vaddr'].iloc[0]):#x}"
            self.picked = f"<p>{escape(f'the frame has no raw entry of {where}')}</p>"
        else:
            self.picked = self._bits.placed()
        if before:
            before.close()

    def _states(self, layer: Layer) -> Layer | None:
        return None if layer.color == "state" else self._layer_of("state")

    def _layer_of(self, color: str) -> Layer:
        return coloring.layer(self.frame, color, self._extents.size)

    def _recolor(self, change: dict[str, Any]) -> None:
        self._layer = self._layer_of(change["new"])
        if not self.states and (states := self._states(self._layer)):
            self.states = self._sent(states)
        self.layer = self._sent(self._layer)


def _sent_look(look: Look) -> dict[str, str]:
    return {"ground": look.ground, "ink": look.ink, "pattern": look.pattern}
