"""`Turns`: a lock that waiting threads get in the order in which they came."""

from __future__ import annotations

import threading
from collections import deque


class Turns:
    """A lock for ``with``, first come, first served.

    A thread that just released a `threading.Lock` may take it again before a waiting thread has woken up: a client that
    asks without a pause would hold it nearly always.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken = False
        self._waiting: deque[threading.Lock] = deque()

    def __enter__(self) -> None:
        with self._lock:
            if not self._taken:
                self._taken = True
                return
            mine = threading.Lock()
            mine.acquire()
            self._waiting.append(mine)
        mine.acquire()  # released by who hands its turn over

    def __exit__(self, *_: object) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._taken = False
