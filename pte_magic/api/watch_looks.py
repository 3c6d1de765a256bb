"""`Looks`, the memory of a watch: the looks that found a change, and the first one; the oldest are forgotten."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from pte_magic.views import diff_view
from pte_magic.views.counts_and_runs import headline
from pte_magic.views.watch_history import Event, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pte_magic.api.pte_frame import PteFrame
    from pte_magic.walkers.entries import Entries

MOST, HELD = 10_000, 1 << 24
"""Looks that are remembered at most, and entries of all of them: 128 MiB."""


class Look(NamedTuple):
    """The entries that a watch saw when something had changed."""

    entries: Entries
    event: Event

    @property
    def time(self) -> pd.Timestamp:
        """The time of the look, in UTC."""
        return pd.Timestamp(self.event.time, unit="s", tz="UTC").as_unit("ns")


class Looks:
    """Looks, the oldest first.

    Attributes:
        frame: The frame of the last look; None before the first.
        forgotten: The number of looks that were forgotten.

    """

    def __init__(self) -> None:
        self._kept: deque[Look] = deque()
        self._held = 0  # entries of these
        self.frame: PteFrame | None = None
        self.forgotten = 0

    def __iter__(self) -> Iterator[Look]:
        return iter(self._kept)

    @property
    def number(self) -> int:
        """The number of looks that found a change, also those that were forgotten."""
        return self.forgotten + len(self._kept)

    @property
    def last(self) -> Entries:
        """The entries of the last look, of which there must be one."""
        return self._kept[-1].entries

    def add(self, look: Look, frame: PteFrame) -> None:
        """Remember a look and its frame; forget the oldest if there are too many, or they have too many entries."""
        self.frame = frame
        self._kept.append(look)
        self._held += len(look.entries)
        while len(self._kept) > MOST or (self._held > HELD and len(self._kept) > 1):
            self._held -= len(self._kept.popleft().entries)
            self.forgotten += 1


def event(found: PteFrame, before: PteFrame | None) -> Event:
    """Return the event of a look that was just taken.

    Args:
        found: The frame of its entries.
        before: The frame of the look before it; None if it is the first.

    """
    first = ["first look", *headline(found)]
    words = ": ".join(first) if before is None else diff_view.headline(before.diff(found))
    summary = found.summary()
    kinds = {Kind(*kind): (int(n), int(covered)) for kind, n, covered in summary.itertuples(name=None)}
    return Event(time.time(), words, kinds)


def counts(looks: Sequence[Look]) -> pd.DataFrame:
    """Return the number of entries of each kind, over time: see `Watch.counts`."""
    index = pd.DatetimeIndex([look.time for look in looks], name="time")
    rows = [{kind.words: entries for kind, (entries, _) in look.event.counts.items()} for look in looks]
    return pd.DataFrame(rows, index=index.as_unit("ns")).fillna(0).astype("int64")
