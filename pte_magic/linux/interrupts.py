"""Interrupts (a notebook's Kernel -> Interrupt, a terminal's Ctrl-C) during cleanup."""

from __future__ import annotations

import _thread
import signal
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Interrupts:
    """A block in which an interrupt calls a function, and does not raise KeyboardInterrupt at any line.

    In other threads than the main one, which are never interrupted, it does nothing.

    Attributes:
        count: The number of interrupts.

    """

    def __init__(self) -> None:
        self.count = 0
        self._call: Callable[[], object] | None = None
        self._before: Any = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.getsignal(signal.SIGINT)
            if self._before is not None:  # else it is not Python's, and could not be put back
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

    def pass_on(self) -> None:
        """Leave an interrupt that came to who hears them otherwise; to be called when this one does no longer."""
        if not self.count:
            return
        if callable(self._before):
            self._before(signal.SIGINT, None)
        else:  # ignored, or the end of the process: neither is a function
            signal.raise_signal(signal.SIGINT)

    def _interrupted(self, *_: object) -> None:
        self.count += 1
        if self._call:
            self._call()


@contextmanager
def deferred() -> Iterator[None]:
    """Delay an interrupt until the block is done.

    After its last line comes what would have come at once: KeyboardInterrupt, or no exception where `Interrupts` or a
    handler of the user hears interrupts, or the program ignores them.
    """
    interrupts = Interrupts()
    try:
        with interrupts:
            yield
    finally:
        interrupts.pass_on()


class Lock(_thread.RLock):  # type: ignore[misc]  # final in typeshed, but not in CPython
    """A lock for ``with`` that an interrupt never leaves taken.

    Since Python 3.14 ``with`` calls ``__enter__`` like any method, and an interrupt may come after the call: the lock
    is taken, but the block whose end releases it has not begun. So this lock is taken within a ``try``. Only the owner
    can release an RLock, which shows whether it was taken; so this is one. It must not be taken twice.

    Raises:
        RuntimeError: This thread has it already.

    """

    # __exit__ stays C, or else an interrupt could come before its first line. typeshed has only the documented methods,
    # and another name for the argument, so types are ignored twice.
    def __enter__(self) -> bool:  # type: ignore[override]
        if self._is_owned():  # type: ignore[attr-defined]
            message = "this thread has the lock already"
            raise RuntimeError(message)
        try:
            return self.acquire()
        except BaseException:
            with suppress(RuntimeError):
                self.release()
            raise
