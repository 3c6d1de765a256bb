"""`page_cache`: which parts of a file are in the page cache."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from pte_magic.api.frame_base_class import OwnFrame
from pte_magic.errors.arguments import plain
from pte_magic.linux import page_cache as cache
from pte_magic.views import cache_map, frame_text, frame_view

if TYPE_CHECKING:
    from collections.abc import Mapping


class PageCache(OwnFrame):
    """Parts of a file, in order, each of which is in the page cache or is not; made by `page_cache`.

    Columns: ``offset`` and ``size``, uint64, in bytes; ``cached``, bool. `attrs` has its ``path`` and ``size``, and in
    pages what the kernel counts (cachestat(2), since 6.5): ``cached``, ``dirty``, ``writeback``, ``evicted`` and
    ``recently_evicted``. It shows itself with a map: a square is some bytes of the file.
    """

    __module__ = "pte_magic"

    _TYPES: ClassVar[Mapping[str, Any]] = {
        "offset": np.dtype(np.uint64),
        "size": np.dtype(np.uint64),
        "cached": np.dtype(np.bool_),
    }
    _SAYS = frozenset({"cached"})
    _WHOLE = frozenset(_TYPES)
    _MADE_BY = "pte_magic.page_cache()"

    def __repr__(self) -> str:
        return cache_map.text(self) if self._is_shown() else frame_text.text(self)

    def _repr_html_(self) -> str | None:
        wanted = pd.get_option("display.notebook_repr_html")
        return cache_map.html(self) if wanted and self._is_shown() else frame_view.html(self)

    def _is_shown(self) -> bool:
        return list(self.columns) == list(self._TYPES) and "path" in self.attrs


def page_cache(path: Any) -> PageCache:
    """Return which parts of a file are in the page cache; nothing of the file is read.

    To a user who may not write to a file, the kernel tells nothing of its single pages (mincore(2), since 5.2): then
    the frame says so, and has the numbers of cachestat(2) at most.

    Args:
        path: A path.

    Raises:
        TargetError: There is no such file, it may not be read, or it has no page cache, as those in /proc.

    """
    path = str(path) if issubclass(type(path), PurePath) else plain(path)
    found = cache.of(path)
    end = np.append(found.offset[1:], found.size).astype(np.uint64) if len(found.offset) else found.offset
    made = PageCache({"offset": found.offset, "size": end - found.offset, "cached": found.cached})
    made.attrs.update(path=str(path), size=found.size, kind=found.kind, is_told=found.is_told)
    if found.stat is not None:
        made.attrs.update(found.stat._asdict())
    return made
