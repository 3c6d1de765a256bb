"""Timeouts for a helper, which may be missing, be stopped, or hang."""

from __future__ import annotations

import os
import threading
import time
import weakref
from typing import TYPE_CHECKING, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

SHORT, LONG = 2.0, 120.0
"""Seconds: while something else may be used instead or somebody wants to end, and else."""
SLICE = 0.1
"""Seconds that one system call waits, before it is looked whether that is enough."""

_T = TypeVar("_T")
_hurried: weakref.WeakSet[hurried] = weakref.WeakSet()


class hurried:  # noqa: N801  (a context manager is named as a function)
    """Within it, nobody in this process waits long: this thread, and those that it has end."""

    def __enter__(self) -> Self:
        _hurried.add(self)
        return self

    def __exit__(self, *_: object) -> None:
        _hurried.discard(self)


def limit() -> float:
    """Return for how many seconds to wait. Python, when it ends, waits for its threads."""
    return SHORT if _hurried or not threading.main_thread().is_alive() else LONG


def wait_on(call: Callable[[], _T]) -> _T:
    """Return what a call returns which, after `SLICE`, raised BlockingIOError, and is done again.

    Raises:
        TimeoutError: It has been `limit`; the argument is how many seconds.

    """
    begun = time.monotonic()
    while True:
        try:
            return call()
        except BlockingIOError:
            if time.monotonic() - begun >= (seconds := limit()):
                raise TimeoutError(seconds) from None


os.register_at_fork(after_in_child=_hurried.clear)
