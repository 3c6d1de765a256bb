"""Progress bars: on a terminal or in a notebook, for what takes more than a second, and gone when it is done."""

from __future__ import annotations

import os
import threading
import weakref
from typing import Any, Self

from pte_magic.interrupts import deferred

_DELAY = 1.0  # seconds before a bar is shown
_forked = False


class Bar:
    """A bar of tqdm, a context manager. An interrupt waits until tqdm is done: it may have a lock, or be imported."""

    def __init__(self, what: str, total: int, unit: str) -> None:
        with deferred():
            from tqdm.auto import tqdm  # noqa: PLC0415  (in a notebook it imports the widgets)

            class Shown(tqdm):  # type: ignore[misc]  # of which class it is depends on where this runs
                monitor_interval = 0  # no thread that watches bars, and stays: forking warns of threads

            if _forked:  # another thread of the parent may have tqdm's own lock for ever
                Shown._lock, Shown._instances = threading.RLock(), weakref.WeakSet()  # noqa: SLF001  (as set_lock does)
            self._bar: Any = Shown(total=total, desc=what, unit=unit, delay=_DELAY, disable=None, leave=False)

    def update(self) -> None:
        """Tell that one more is done."""
        with deferred():
            self._bar.update()

    def set_postfix_str(self, text: str) -> None:
        """Show a text behind the bar."""
        with deferred():
            self._bar.set_postfix_str(text)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with deferred():
            self._bar.close()


def bar(what: str, total: int, unit: str) -> Bar:
    """Return a bar, to be used as a context manager. In a pipe or a file it prints nothing.

    Args:
        what: Stands before the bar.
        total: How many there are.
        unit: Of what.

    """
    return Bar(what, total, unit)


def _in_child() -> None:
    global _forked  # noqa: PLW0603  (there is one process)
    _forked = True


os.register_at_fork(after_in_child=_in_child)
