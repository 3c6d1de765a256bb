"""`PageMap`: a range as a picture, one square per entry. The browser gets runs, not entries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import traitlets

from pte_magic.views import palette
from pte_magic.views.markup import module, script, style
from pte_magic.views.page_map import coloring, facts, layers, still_picture
from pte_magic.views.widget import View

if TYPE_CHECKING:
    import pandas as pd

    from pte_magic.views.page_map.layers import Layer, Spans
    from pte_magic.views.palette import Look


class CellMap(View):
    """A map of cells, in which one can move with the mouse and the keyboard, and zoom.

    Attributes:
        color: What the colours mean, one of `colors`.
        colors: What they can mean.
        position: The cell under the cursor; may be set.
        count: How many cells there are.
        layer: The colouring in use, see `_sent`.
        states: The colouring that the status line tells whatever the colours are; empty as long as it is the one in
            use, as it may be large.
        spans: Where the cells are: the first addresses and the sizes (uint64) of all `layers.Spans`, then their ends
            (uint32), little-endian.
        mixed: How a cell looks whose entries are of several categories.

    """

    _esm = module(script("map_facts", "map"))
    _css = style("view") + style("map")

    color = traitlets.Unicode().tag(sync=True)
    colors = traitlets.List(traitlets.Unicode()).tag(sync=True)
    position = traitlets.Int(0).tag(sync=True)
    count = traitlets.Int(0).tag(sync=True)
    layer = traitlets.Dict().tag(sync=True)
    states = traitlets.Dict().tag(sync=True)
    spans = traitlets.Bytes().tag(sync=True)
    mixed = traitlets.Dict().tag(sync=True)

    def __init__(self, layer: Layer, spans: Spans, colors: list[str], states: Layer | None = None) -> None:
        """Make a map of one of its colourings, and of what the status line tells besides."""
        self._layer, self._spans, self._colors = layer, spans, colors
        super().__init__(
            color=layer.color,
            colors=colors,
            count=int(layer.ends[-1]) if len(layer.ends) else 0,
            layer=self._sent(layer),
            states=self._sent(states) if states else {},
            spans=b"".join(part.astype(part.dtype.newbyteorder("<")).tobytes() for part in spans),
            mixed=_sent_look(palette.MIXED),
        )

    def text(self) -> str:
        """Return the map as lines of letters with a legend and the first runs."""
        return still_picture.text(self._layer, self._spans)

    def html(self) -> str:
        """Return the map as an image with a legend and the first runs."""
        return still_picture.html(self._layer, self._spans)

    @traitlets.validate("color")
    def _known(self, proposal: dict[str, Any]) -> str:
        return coloring.chosen(proposal["value"], self._colors)

    @traitlets.validate("position")
    def _within(self, proposal: dict[str, Any]) -> int:
        position: int = proposal["value"]
        return max(0, min(position, self.count - 1))

    def _sent(self, layer: Layer) -> dict[str, Any]:
        """Return what the browser gets of a layer, in one message: its `runs` are all ends (uint32), then all codes."""
        return {
            "color": layer.color,
            "unit": layer.unit,
            "summary": facts.summary(layer, self._spans),
            "head": facts.legend_head(layer),
            "legend": [{"words": facts.legend(category), **_sent_look(category.look)} for category in layer.categories],
            "runs": layer.ends.astype("<u4").tobytes() + layer.codes.tobytes(),
        }


class PageMap(CellMap):
    """A map of page-table entries, a cell an entry. One can choose what its colours mean.

    Attributes:
        frame: The entries that have cells, in order: all but those that point to tables.
        color: What the colours mean, one of `colors`; may be set.
        colors: ``"state"``, ``"size"``, ``"contiguity"`` of page frames, and the columns of booleans that tell
            something.
        position: The cell under the cursor: its row is ``frame.iloc[position]``; may be set.

    """

    __module__ = "pte_magic"

    def __init__(self, frame: pd.DataFrame, color: str = "state") -> None:
        """Make a map of what `pte_magic.walk` returned, or of a part of it; rows are shown in their order.

        Raises:
            TargetError: The frame has no addresses, or no such colouring.

        """
        self.frame = layers.shown(frame)
        colors = coloring.colors(self.frame)
        layer = coloring.layer(self.frame, coloring.chosen(color, colors))
        super().__init__(layer, layers.spans(self.frame), colors, self._states(layer))
        self.observe(self._recolor, "color")

    def _states(self, layer: Layer) -> Layer | None:
        return None if layer.color == "state" else coloring.layer(self.frame, "state")

    def _recolor(self, change: dict[str, Any]) -> None:
        self._layer = coloring.layer(self.frame, change["new"])
        if not self.states and (states := self._states(self._layer)):
            self.states = self._sent(states)
        self.layer = self._sent(self._layer)


def _sent_look(look: Look) -> dict[str, str | float]:
    return {"ground": look.ground, "ink": look.ink, "pattern": look.pattern, "tone": look.tone}
