"""Progress bars in a terminal or a notebook, for work that takes more than a second; removed at the end."""

from __future__ import annotations

import os
import sys
import threading
import weakref
from typing import Any, Self

from pte_magic.linux.interrupts import deferred

_DELAY = 1.0  # seconds before a bar is shown
_REST = 0.25  # seconds between two that are shown
_COLUMNS = 64  # in a notebook; a terminal has its own
_forked = False


class Bar:
    """A bar of tqdm, a context manager. An interrupt waits until tqdm is done: it may have a lock, or be imported."""

    def __init__(self, what: str, total: float, unit: str, form: str | None) -> None:
        with deferred():
            from tqdm.std import tqdm  # noqa: PLC0415  (few need it)

            class Shown(tqdm):  # type: ignore[misc]  # as it has no types
                monitor_interval = 0  # no thread that watches bars, and stays: forking warns of threads

            where: dict[str, Any] = {"disable": None}
            if _in_notebook():
                from pte_magic.views.line_below_cell import CellLine  # noqa: PLC0415  (widgets take long to import)

                where = {"file": CellLine(), "ncols": _COLUMNS}
                Shown._instances = weakref.WeakSet()  # noqa: SLF001  (it is below no bar of the user's)
            if _forked:  # another thread of the parent may have tqdm's own lock for ever
                Shown._lock, Shown._instances = threading.RLock(), weakref.WeakSet()  # noqa: SLF001  (as set_lock does)
            self._bar: Any = Shown(
                total=total,
                desc=what,
                unit=unit,
                bar_format=form,
                delay=_DELAY,
                mininterval=_REST,
                leave=False,
                **where,
            )

    def update(self, count: float = 1) -> None:
        """Add to the number of those done."""
        with deferred():
            self._bar.update(count)

    def set_postfix_str(self, text: str) -> None:
        """Show a text after the bar."""
        with deferred():
            self._bar.set_postfix_str(text)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with deferred():
            self._bar.close()


def bar(what: str, total: float, unit: str, form: str | None = None) -> Bar:
    """Return a bar, to be used as a context manager. In a pipe or a file it prints nothing.

    Args:
        what: The text before the bar.
        total: The number of units when it is full.
        unit: Name of the unit.
        form: The parts of the bar, as tqdm's ``bar_format``; by default tqdm's own.

    """
    return Bar(what, total, unit, form)


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    shell = ipython and ipython.get_ipython()
    return getattr(shell, "kernel", None) is not None


def _in_child() -> None:
    global _forked  # noqa: PLW0603  (there is one process)
    _forked = True


os.register_at_fork(after_in_child=_in_child)
