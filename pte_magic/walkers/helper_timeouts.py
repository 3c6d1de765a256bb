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
"""Seconds to wait: while there is an alternative or the process ends, and otherwise."""
SLICE = 0.1
"""Seconds that one system call waits, before the limit is checked."""

_T = TypeVar("_T")
_hurried: weakref.WeakSet[hurried] = weakref.WeakSet()


class hurried:  # noqa: N801  (a context manager is named as a function)
    """A block in which no thread of this process waits long: neither this one, nor those that it ends."""

    def __enter__(self) -> Self:
        _hurried.add(self)
        return self

    def __exit__(self, *_: object) -> None:
        _hurried.discard(self)


def limit() -> float:
    """Return the seconds to wait. Python waits for its threads when it ends."""
    return SHORT if _hurried or not threading.main_thread().is_alive() else LONG


def wait_on(call: Callable[[], _T]) -> _T:
    """Return the result of a call, which is repeated when it raises BlockingIOError after `SLICE`.

    Raises:
        TimeoutError: The `limit` is over; the argument is its number of seconds.

    """
    begun = time.monotonic()
    while True:
        try:
            return call()
        except BlockingIOError:
            if time.monotonic() - begun >= (seconds := limit()):
                raise TimeoutError(seconds) from None


os.register_at_fork(after_in_child=_hurried.clear)
