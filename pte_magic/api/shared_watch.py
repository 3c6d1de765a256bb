"""`SharedWatch`: compares processes again and again, and tells the pace at which they copy what they share."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from pte_magic.api import shared
from pte_magic.api.sharing.members import members
from pte_magic.api.watch import Watch
from pte_magic.api.watch_looks import MOST
from pte_magic.linux.address_space import own
from pte_magic.linux.hardware import PAGE_SIZE
from pte_magic.targets import target as targets
from pte_magic.targets.named_target import Named
from pte_magic.text.units import size
from pte_magic.views import shared_strips
from pte_magic.views.watch_history import COLUMNS, Event, History, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pte_magic.api.shared import Shared
    from pte_magic.api.sharing.request import Wanted

_KINDS = {
    "shared": "shared",
    "copied_here": "copied here",
    "copied_there": "copied there",
    "copied_either": "copied, here or there",
    "never_shared": "never shared",
    "swapped": "swapped out",
}
"""The words of each column, which are those of `palette.SHARING`."""
_COPIED = ("copied_here", "copied_there", "copied_either")
_PERIOD = 30.0  # seconds over which the pace is measured, at most
_LONG = 3600  # seconds; what takes longer may as well never end


class _Seen(NamedTuple):
    """A look: seconds since 1970, the bytes that copies take, and could take in addition, and the table."""

    time: float
    copies: int
    more: int
    table: Shared


class SharedWatch(Watch):
    """Compares processes that were forked from one every so often, until it is stopped.

    ``%pte --shared --watch`` makes it. These stop it: `stop`, its view's button, the end of a ``with`` statement, the
    end of all processes that are compared, deleting the last reference to it, and the end of Python. Processes that
    are forked meanwhile take part from the next look on.
    """

    __module__ = "pte_magic"

    def __init__(self, wanted: Wanted, *, every: float = 1.0, walker: str = "auto") -> None:
        """Take the first look, and start.

        Args:
            wanted: The processes and targets to compare.
            every: Seconds between two looks.
            walker: Name of the walker.

        Raises:
            PteMagicError: There is nothing to compare, or not that often.

        """
        self._wanted = wanted
        self._seen: deque[_Seen] = deque(maxlen=MOST)
        self._events: deque[Event] = deque(maxlen=COLUMNS)
        self._number = 0
        text = f"shared memory{f' of {wanted.text}' if wanted.text else ''}"
        super().__init__(Named(text, text, wanted, targets.whole(), own()), every=every, walker=walker)

    def table(self) -> Shared:
        """Return the result of the last look."""
        with self._changed:
            return self._seen[-1].table

    def frame(self) -> pd.DataFrame:  # type: ignore[override]  # its looks are tables, not entries
        """Return the rows of all looks at which something had changed, and of the first one.

        Returns:
            The columns of a `Shared`, and one more, the first: ``time``, when the look was taken (datetime64[ns, UTC]).

        """
        with self._changed:
            seen = list(self._seen)
        parts = [pd.DataFrame(one.table) for one in seen]
        for one, part in zip(seen, parts, strict=True):
            part.insert(0, "time", _stamp(one.time))
        return pd.concat(parts, ignore_index=True)

    def counts(self) -> pd.DataFrame:
        """Return the bytes of each kind over time, of all targets and processes.

        Returns:
            Index ``time`` (datetime64[ns, UTC]); columns (uint64) as of a `Shared`, and ``copies``, what these take.

        """
        with self._changed:
            seen = list(self._seen)
        rows = [one.table[list(_KINDS)].sum().to_dict() | {"copies": one.copies} for one in seen]
        index = pd.DatetimeIndex([_stamp(one.time) for one in seen], name="time")
        return pd.DataFrame(rows, index=index.as_unit("ns")).astype("uint64")

    def pace(self) -> float:
        """Return how many bytes a second were copied lately; 0.0 before the second look."""
        with self._changed:
            seen = list(self._seen)
        now = time.time() if self.running and not self.paused else seen[-1].time
        since = [one for one in seen if one.time >= now - _PERIOD] or seen[-1:]
        first = seen[max(len(seen) - len(since) - 1, 0)]
        seconds = now - max(first.time, now - _PERIOD)
        return max(seen[-1].copies - first.copies, 0) / seconds if seconds > 0 else 0.0

    def history(self) -> History:
        """Return what its view shows: the pace, the state, the strips, and the last looks that found a change."""
        with self._changed:
            events, last = list(self._events), self._seen[-1]
        state = "paused" if self.paused else f"looks every {self._every:g} s"
        if not self.running:
            state = f"stopped{self._why and ': '}{self._why}"
        strips = last.table._strips  # noqa: SLF001  (what draws it)
        return History(
            f"{self._target.text}: {self._words(last)}",
            state,
            events,
            shared_strips.html(strips) if strips else "",
            shared_strips.text(strips) if strips else [],
            "pages",
        )

    def __iter__(self) -> Iterator[Shared]:  # type: ignore[override]  # as for frame()
        """Yield the result now, and again after each change; stop in the end."""
        seen = 0
        try:
            while True:
                with self._changed:
                    while self.running and self._number == seen:
                        self._changed.wait()
                    if self._number == seen:
                        return
                    seen, table = self._number, self._seen[-1].table
                yield table
        finally:
            self.stop()

    def _words(self, last: _Seen) -> str:
        """Return the pace in words, and when all will be copied."""
        pace = self.pace()
        taken = f"copies take {size(last.copies)}, {pace / (1 << 20):.3g} MiB/s lately"
        if not last.more:
            return f"{taken}; nothing is left to copy"
        left = last.more / pace if pace else _LONG
        when = f", in about {left:.0f} s" if left < _LONG else ""
        return f"{taken}; {size(last.more)} more if all is copied{when}"

    def _look(self) -> None:
        with members(self._wanted.pids) as found:
            table = shared.of_members(found, self._wanted, self._walker)
        now = _Seen(time.time(), table.attrs["copies"], table.attrs["more"], table)
        before = self._seen[-1].table if self._seen else None
        if before is None or not _same(before, table):
            with self._changed:
                self._seen.append(now)
                self._events.append(_event(now, before))
                self._number += 1
        self._tell()


def _same(before: Shared, now: Shared) -> bool:
    columns = ["name", "pid", "vaddr", *_KINDS]
    return len(before) == len(now) and bool((before[columns].to_numpy() == now[columns].to_numpy()).all())


def _event(now: _Seen, before: Any) -> Event:
    sums = {name: int(now.table[name].sum()) for name in _KINDS}
    counts = {Kind(_KINDS[name], 0): (-(-total // PAGE_SIZE), total) for name, total in sums.items() if total}
    if before is None:
        return Event(now.time, f"first look: {size(sum(sums[name] for name in _COPIED))} copied", counts)
    copied = [one.groupby("pid")[list(_COPIED)].sum().sum(axis=1).to_dict() for one in (before, now.table)]
    pids = sorted({*copied[0], *copied[1]})
    changes = {pid: int(copied[1].get(pid, 0)) - int(copied[0].get(pid, 0)) for pid in pids}
    said = [f"pid {pid} {_change(change)}" for pid, change in changes.items() if change]
    return Event(now.time, "; ".join(said) or "nothing more copied", counts)


def _change(change: int) -> str:
    return f"{size(abs(change))} {'more' if change > 0 else 'fewer'} copied"


def _stamp(seconds: float) -> pd.Timestamp:
    return pd.Timestamp(seconds, unit="s", tz="UTC").as_unit("ns")
