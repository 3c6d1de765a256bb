"""A watch as text while it goes on: drawn again in place in a terminal, and elsewhere a line for each change."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING, Any, Protocol

from pte_magic.linux.interrupts import deferred
from pte_magic.text import screen
from pte_magic.views import watch_history

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pte_magic.views.watch_history import History

_UP_AND_CLEAR = "\x1b[{lines}F\x1b[J"


class Watched(Protocol):
    """A watch that runs, and ends when it is stopped."""

    @property
    def running(self) -> bool:
        """True until it is stopped."""

    def history(self) -> History:
        """Return what it has seen."""

    def stop(self) -> None:
        """Stop it."""

    def __iter__(self) -> Iterator[object]:
        """Yield something after each change, until it is stopped."""


class Drawing:
    """The text of a watch, drawn over the one before."""

    def __init__(self, write: Callable[[str], object]) -> None:
        """Make one that is drawn by a function that writes a text to a terminal, at once."""
        self._write = write
        self._lines = 0

    def now(self, history: History) -> None:
        """Draw what there is now."""
        columns, rows = shutil.get_terminal_size()
        lines = [line[:columns] for line in watch_history.text(history).splitlines()[: rows - 1]]
        with deferred():  # or the next drawing would begin elsewhere
            self._write(self._up() + "".join(f"{line}\n" for line in lines))
            self._lines = len(lines)

    def clear(self) -> None:
        """Leave nothing of it."""
        with deferred():
            self._write(self._up())
            self._lines = 0

    def _up(self) -> str:
        return _UP_AND_CLEAR.format(lines=self._lines) if self._lines else ""


class Lines:
    """A line for each change."""

    def __init__(self, write: Callable[[str], object]) -> None:
        """Make one whose lines a function writes at once."""
        self._write = write
        self._last: object = None  # the event that was written last

    def now(self, history: History) -> None:
        """Write the changes since the last call."""
        events = history.events
        known = next((at for at, event in enumerate(events, 1) if event is self._last), 0)
        for event in events[known:]:
            self._last = event  # first, as an interrupt may come after any line of these
            self._write(f"{event.line}\n")

    def clear(self) -> None:
        """Keep all lines."""


def shown_by(write: Callable[[str], object]) -> Drawing | Lines:
    """Return what shows a watch on standard output."""
    return Drawing(write) if screen.is_terminal() else Lines(write)


def show_in_ipython(seen: Watched) -> None:
    """Show a watch in IPython without a browser until Ctrl-C, which leaves one line; or until its process ends.

    Raises:
        NotImplementedError: IPython has to show it in another way, as in a notebook, or it has ended.

    """
    if not seen.running or not _is_in_terminal():
        raise NotImplementedError
    shown = shown_by(_write)
    _write("\n")  # IPython has written "Out[1]: "
    try:
        for _ in seen:
            shown.now(seen.history())
    except KeyboardInterrupt:
        pass
    finally:
        seen.stop()
        shown.clear()
    _write(f"{seen.history().headline}\n")


def _is_in_terminal() -> bool:
    ipython: Any = sys.modules.get("IPython")
    terminal: Any = sys.modules.get("IPython.terminal.interactiveshell")
    return bool(ipython and terminal) and isinstance(ipython.get_ipython(), terminal.TerminalInteractiveShell)


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
