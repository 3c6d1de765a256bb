"""A watch as text while it goes on: drawn again in place in a terminal, and elsewhere a line for each change."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING, Any, Protocol

from pte_magic.errors.cut import cut
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
        lines = watch_history.text(history).splitlines()[: rows - 1]
        self._draw([line if len(line) <= columns else cut(line, columns - 1) for line in lines])

    def end(self, history: History) -> None:
        """Draw what there is in the end: all of it, and no line is cut."""
        lines = watch_history.text(history).splitlines()
        self._draw([screen.fitted(line, shutil.get_terminal_size().columns) for line in lines])

    def _draw(self, lines: list[str]) -> None:
        with deferred():  # or the next drawing would begin elsewhere
            self._write(self._up() + "".join(f"{line}\n" for line in lines))
            self._lines = len(lines)

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

    def end(self, history: History) -> None:
        """Write the last changes."""
        self.now(history)


def shown_by(write: Callable[[str], object]) -> Drawing | Lines:
    """Return what shows a watch on standard output."""
    return Drawing(write) if screen.is_terminal() else Lines(write)


def show_in_ipython(seen: Watched) -> None:
    """Show a watch in IPython without a browser until Ctrl-C, or until its process ends; the last drawing stays.

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
        shown.end(seen.history())
    if isinstance(shown, Lines):  # a drawing has it in its first line
        _write(f"{seen.history().headline}\n")


def _is_in_terminal() -> bool:
    ipython: Any = sys.modules.get("IPython")
    terminal: Any = sys.modules.get("IPython.terminal.interactiveshell")
    return bool(ipython and terminal) and isinstance(ipython.get_ipython(), terminal.TerminalInteractiveShell)


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
