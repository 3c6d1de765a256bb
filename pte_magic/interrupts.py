"""Interrupts (a notebook's Kernel -> Interrupt, a terminal's Ctrl-C) while something has to be cleaned up."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Interrupts:
    """Within it, an interrupt calls a function; it raises no KeyboardInterrupt at whatever line is being executed.

    In other threads than the main one, which are never interrupted, it does nothing.

    Attributes:
        count: How many interrupts there were.

    """

    def __init__(self) -> None:
        self.count = 0
        self._call: Callable[[], object] | None = None
        self._before: Any = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.getsignal(signal.SIGINT)
            signal.signal(signal.SIGINT, self._interrupted)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def call(self, function: Callable[[], object]) -> None:
        """Call a function at each interrupt from now on, and now if there was one already."""
        self._call = function
        if self.count:
            function()

    def _interrupted(self, *_: object) -> None:
        self.count += 1
        if self._call:
            self._call()


@contextmanager
def deferred() -> Iterator[None]:
    """Have an interrupt wait until the block is done: KeyboardInterrupt comes after its last line."""
    with Interrupts() as interrupts:
        yield
    if interrupts.count:
        raise KeyboardInterrupt
