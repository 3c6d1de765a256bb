"""`Summary`: counts of entries and bytes by state and page size, with units and percentages on the screen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from pte_magic.api.frame_base_class import OwnFrame
from pte_magic.views import frame_text, frame_view, summary_table

if TYPE_CHECKING:
    from collections.abc import Mapping

_INDEX = ["state", "size"]


class Summary(OwnFrame):
    """Counts by state and page size, made by `PteFrame.summary`; the data are plain numbers.

    On the screen there is a ``share``, too: of the bytes of all states but ``none``, at which there is nothing.

    Index ``state`` and ``size`` (bytes that an entry covers), columns ``entries`` (int64) and ``bytes`` (uint64).
    """

    __module__ = "pte_magic"

    _TYPES: ClassVar[Mapping[str, Any]] = {"entries": np.dtype(np.int64), "bytes": np.dtype(np.uint64)}
    _SAYS = frozenset(_TYPES)
    _WHOLE = frozenset(_TYPES)
    _MADE_BY = "frame.summary()"

    def __repr__(self) -> str:
        return summary_table.text(self) if self._is_whole() else frame_text.text(self)

    def _repr_html_(self) -> str | None:
        wanted = pd.get_option("display.notebook_repr_html")
        return summary_table.html(self) if wanted and self._is_whole() else frame_view.html(self)

    def _is_whole(self) -> bool:
        return len(self) > 0 and list(self.columns) == list(self._TYPES) and list(self.index.names) == _INDEX
