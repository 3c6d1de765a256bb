"""`LookingThread`, the thread of a watch: it looks every so often, and holds nothing of what it looks at."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from pte_magic.linux import descriptors
from pte_magic.linux.interrupts import deferred

if TYPE_CHECKING:
    from collections.abc import Callable

_SHARE = 4  # looks may take a quarter of the time, however long one takes


class LookingThread(threading.Thread):
    """A thread that looks until it is told to end."""

    def __init__(self, look: Callable[[], bool], end: threading.Event, every: float, name: str) -> None:
        """Make the thread; it is not started yet.

        Args:
            look: Takes one look. False ends the thread: nobody is left who wants to know.
            end: Ends it, too.
            every: Seconds between two looks.
            name: Its name.

        """
        super().__init__(name=name, daemon=True)
        self._look, self._end, self._every = look, end, every

    @property
    def started(self) -> bool:
        """True since it was started, also after its end."""
        return self.ident is not None

    def start(self) -> None:
        """Start it.

        Raises:
            ResourceError: There is no room for another thread.

        """
        try:
            with deferred():  # or it would be half started
                super().start()
        except RuntimeError as error:
            raise descriptors.no_thread(what="the watch") from error

    def run(self) -> None:
        """Look, and wait, again and again."""
        pause = self._every
        while not self._end.wait(pause):
            before = time.monotonic()
            if not self._look():
                return
            pause = max(self._every, _SHARE * (time.monotonic() - before))
