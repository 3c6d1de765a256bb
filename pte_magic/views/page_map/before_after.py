"""`BeforeAfter`: the maps of two frames beside each other, with buttons that save them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import traitlets

from pte_magic.views.markup import module, script
from pte_magic.views.widget import View

if TYPE_CHECKING:
    from pte_magic.views.page_map.two_maps import TwoMaps


class BeforeAfter(View):
    """The maps of two frames, in which the squares that changed are outlined. It never changes."""

    _esm = module(script("still"))
    _content = traitlets.Unicode().tag(sync=True)

    def __init__(self, maps: TwoMaps) -> None:
        """Show two maps."""
        self._maps = maps
        super().__init__(_content=maps.html())

    def text(self) -> str:
        """Return the maps as letters, with a mark for each square that changed."""
        return self._maps.text()

    def html(self) -> str:
        """Return the maps as HTML."""
        return str(self._content)

    def svg(self) -> str:
        """Return the maps as an SVG document."""
        return self._maps.svg()
