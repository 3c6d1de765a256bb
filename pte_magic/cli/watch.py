"""``pte-magic watch``: a process in a terminal, drawn again at each change; elsewhere a line per change."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from pte_magic.api.watch import Watch
from pte_magic.cli import process, terminal
from pte_magic.linux.interrupts import deferred

if TYPE_CHECKING:
    import argparse

_UP_AND_CLEAR = "\x1b[{lines}F\x1b[J"


def watch(given: argparse.Namespace) -> None:
    """Show changes until the process ends, or until Ctrl-C.

    Raises:
        PteMagicError: It cannot be watched; says why.

    """
    with process.named(given) as named, Watch(named, every=given.every, walker=given.walker) as seen:
        show = _Screen() if terminal.is_terminal() else _Lines()
        try:
            for _ in seen:
                show.now(seen)
        finally:
            seen.stop()
            show.now(seen)
    state = seen.history().state
    if state != "stopped":  # it says why
        terminal.note(state)


class _Screen:
    """The text of a watch, drawn over the one before."""

    def __init__(self) -> None:
        self._lines = 0

    def now(self, seen: Watch) -> None:
        columns, rows = shutil.get_terminal_size()
        lines = [line[:columns] for line in str(seen).splitlines()[: rows - 1]]
        up = _UP_AND_CLEAR.format(lines=self._lines) if self._lines else ""
        with deferred():  # or the next drawing would begin elsewhere
            terminal.write(up + "".join(f"{line}\n" for line in lines))
            terminal.flush()
            self._lines = len(lines)


class _Lines:
    """A line for each change."""

    def __init__(self) -> None:
        self._last: object = None  # the event that was written last

    def now(self, seen: Watch) -> None:
        events = seen.history().events
        known = next((at for at, event in enumerate(events, 1) if event is self._last), 0)
        for event in events[known:]:
            self._last = event  # first, as an interrupt may come after any line of these
            terminal.write(f"{event.line}\n")
            terminal.flush()
