"""The page map: a range as a picture, one cell an entry. What crosses to the browser are runs, not entries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import traitlets

from pte_magic.views import coloring, layers, looks, map_facts, map_still
from pte_magic.views.markup import script, style
from pte_magic.views.view import View

if TYPE_CHECKING:
    from pte_magic.frame import PteFrame
    from pte_magic.views.layers import Layer, Spans
    from pte_magic.views.looks import Look


class PageMap(View):
    """A page map, in which one can move with the mouse and the keyboard, zoom, and choose what colours mean.

    Attributes:
        frame: The entries that have cells, in order: all but those that point to tables.
        color: What the colours mean, one of `colors`; may be set.
        colors: ``"state"``, ``"size"``, ``"contiguity"`` of page frames, and the columns of booleans that tell
            something.
        position: The cell under the cursor: its row is ``frame.iloc[position]``; may be set.
        count: How many cells there are.
        layer: The colouring in use, see `_sent`.
        states: The colouring by state, which the status line tells whatever the colours are; empty as long as it is
            the one in use, as it may be large.
        spans: Where the entries are: the first addresses and the sizes (uint64) of all `layers.Spans`, then their ends
            (uint32), little-endian.
        mixed: How a cell looks whose entries are of several categories.

    """

    _esm = script("map_facts", "map")
    _css = style("view") + style("map")

    color = traitlets.Unicode("state").tag(sync=True)
    colors = traitlets.List(traitlets.Unicode()).tag(sync=True)
    position = traitlets.Int(0).tag(sync=True)
    count = traitlets.Int(0).tag(sync=True)
    layer = traitlets.Dict().tag(sync=True)
    states = traitlets.Dict().tag(sync=True)
    spans = traitlets.Bytes().tag(sync=True)
    mixed = traitlets.Dict().tag(sync=True)

    def __init__(self, frame: PteFrame, color: str = "state") -> None:
        """Make a map of what `pte_magic.walk` returned, or of a part of it; rows are shown in their order.

        Raises:
            TargetError: The frame has no addresses, or no such colouring.

        """
        self.frame = layers.shown(frame)
        self._spans: Spans = layers.spans(self.frame)
        self._colors = coloring.colors(self.frame)
        self._layer: Layer = coloring.layer(self.frame, coloring.chosen(color, self._colors))
        super().__init__(
            color=color,
            colors=self._colors,
            count=len(self.frame),
            layer=self._sent(self._layer),
            states=self._states(),
            spans=b"".join(part.astype(part.dtype.newbyteorder("<")).tobytes() for part in self._spans),
            mixed=_sent_look(looks.MIXED),
        )
        self.observe(self._recolor, "color")

    def text(self) -> str:
        """Return the map as lines of letters with a legend and the first runs."""
        return map_still.text(self._layer, self._spans)

    def html(self) -> str:
        """Return the map as an SVG with a legend and the first runs."""
        return map_still.html(self._layer, self._spans)

    @traitlets.validate("color")
    def _known(self, proposal: dict[str, Any]) -> str:
        return coloring.chosen(proposal["value"], self._colors)

    @traitlets.validate("position")
    def _within(self, proposal: dict[str, Any]) -> int:
        position: int = proposal["value"]
        return max(0, min(position, len(self.frame) - 1))

    def _states(self) -> dict[str, Any]:
        return {} if self._layer.color == "state" else self._sent(coloring.layer(self.frame, "state"))

    def _recolor(self, change: dict[str, Any]) -> None:
        self._layer = coloring.layer(self.frame, change["new"])
        self.states = self.states or self._states()
        self.layer = self._sent(self._layer)

    def _sent(self, layer: Layer) -> dict[str, Any]:
        """Return what the browser gets of a layer, in one message: its `runs` are all ends (uint32), then all codes."""
        return {
            "color": layer.color,
            "summary": map_facts.summary(layer, self._spans),
            "head": map_facts.legend_head(layer),
            "legend": [
                {"words": map_facts.legend(category), **_sent_look(category.look)} for category in layer.categories
            ],
            "runs": layer.ends.astype("<u4").tobytes() + layer.codes.tobytes(),
        }


def _sent_look(look: Look) -> dict[str, str | float]:
    return {"ground": look.ground, "ink": look.ink, "pattern": look.pattern, "tone": look.tone}
