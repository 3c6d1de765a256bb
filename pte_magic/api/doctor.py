"""`doctor`: the walkers that work here, what each can see, and what to type where one does not work."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pte_magic import walkers
from pte_magic.errors import WalkerUnavailableError
from pte_magic.errors.escapes import visible
from pte_magic.linux import pagemap
from pte_magic.linux.hardware import PAGE_SIZE
from pte_magic.views import doctor_table

if TYPE_CHECKING:
    from pte_magic.walkers.walker import Walker

_SEEN = {
    (True, True): "raw entries and page frames",
    (True, False): "raw entries, but no page frames",
    (False, True): "page frames, but no raw entries",
    (False, False): "which pages are present, but no raw entries or page frames",
}
"""The words for a user's view: with raw entries or not, and with page frames or not."""


class Report(pd.DataFrame):
    """A DataFrame that shows its texts in full, as commands to type must not be cut.

    A sentence above it says what this user sees; `attrs` has it as ``sees``.
    """

    @property
    def _constructor(self) -> type[Report]:
        return Report

    def __repr__(self) -> str:
        return doctor_table.text(self)

    def _repr_html_(self) -> str:
        return doctor_table.html(self)


def doctor() -> pd.DataFrame:
    """Return which walkers work here, and what this user sees.

    Returns:
        A frame with one row per walker, the one that sees most first; ``walker="auto"`` takes the first that works. A
        sentence above it says what `walk` shows: raw entries, page frames, both or neither. Columns: ``walker``;
        ``works`` (boolean, ``<NA>`` if only compiling its module would show that); ``sees``, what it can read;
        ``note``, why it does not work or what it cannot see, and what to type.

    """
    rows: list[tuple[type[Walker], object, str]] = []
    frames_are_shown = _frames_are_shown()
    for kind in walkers.KINDS:
        todo = kind.to_prepare()
        if todo and not _was_tried(kind.name):
            rows.append((kind, pd.NA, todo))
            continue
        found = walkers.attempt(kind.name, again=not todo)
        if isinstance(found, WalkerUnavailableError):
            rows.append((kind, False, visible(found.why)))
        else:
            rows.append((kind, True, "" if _shows_frames(kind, as_pagemap=frames_are_shown) else kind.why_no_frames()))
    table = [(kind.name, works, kind.sees, note) for kind, works, note in rows]
    report = Report(table, columns=["walker", "works", "sees", "note"]).astype({"works": "boolean"})
    best, surely = next((kind, works is True) for kind, works, _ in rows if works is not False)
    report.attrs["sees"] = _sentence(best, known=surely, frames=_shows_frames(best, as_pagemap=frames_are_shown))
    return report


def _shows_frames(kind: type[Walker], *, as_pagemap: bool) -> bool:
    if kind.frames_as_pagemap:
        return as_pagemap
    found = walkers.known(kind.name)
    return found is None or isinstance(found, WalkerUnavailableError) or not found.address_bits.frames_hidden


def _sentence(kind: type[Walker], *, known: bool, frames: bool) -> str:
    """Return the sentence about a walker; `known` is false if its module would have to be compiled first."""
    seen = f"You see {_SEEN[kind.has_raw_entries, frames]}, by {kind.by} (walker {kind.name})"
    return f"{seen}." if known else f"{seen}, if its module can be compiled, which the next walk tries."


def _was_tried(name: str) -> bool:
    """Tell whether somebody has tried a walker, and it works or what it needs was tried, too."""
    known = walkers.known(name)
    return known is not None and not (isinstance(known, WalkerUnavailableError) and known.__cause__ is None)


def _frames_are_shown() -> bool:
    """Tell whether pagemap shows page frames to this process: it then shows one for a page that is present."""
    page = np.ones(PAGE_SIZE, np.uint8)
    return bool(pagemap.own_word(page.ctypes.data) & pagemap.PLACE)
