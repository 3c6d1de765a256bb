"""Messages of the helper: lines on stderr, which systemd's journal reads."""

from __future__ import annotations

import functools
import os
import threading
import time
from contextlib import suppress

from pte_magic.errors.escapes import visible

WARNING, INFO = 4, 6  # syslog(3)
AT_ONCE, A_SECOND = 4096, 20
"""Lines that one account may cause: at once, and later on. The number of dropped lines is logged."""


class Budgets:
    """The lines that each account may still cause, by the account's number: a bucket that fills over time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._left: dict[int, tuple[float, float]] = {}  # lines, and when that was
        self._silent: dict[int, int] = {}

    def allow(self, account: int) -> int | None:
        """Return the number of lines dropped before this one; None if this one is dropped, too."""
        now = time.monotonic()
        with self._lock:
            left, then = self._left.get(account, (float(AT_ONCE), now))
            left = min(left + (now - then) * A_SECOND, AT_ONCE)
            self._left[account] = (max(left - 1, left % 1), now)
            if left < 1:
                self._silent[account] = self._silent.get(account, 0) + 1
                return None
            return self._silent.pop(account, 0)


_budgets = Budgets()


@functools.cache
def _is_journal() -> bool:
    """Tell whether stderr is the journal's (JOURNAL_STREAM, systemd.exec(5))."""
    try:
        found = os.fstat(2)
    except OSError:
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def say(text: str, priority: int = INFO, account: int | None = None) -> None:
    """Write one line, at once, with a priority for the journal (sd-daemon(3)).

    The lines of an `account` are limited: one user must not fill a disk.
    """
    if account is not None:
        silent = _budgets.allow(account)
        if silent is None:
            return
        if silent:
            say(f"uid {account}: {silent} lines were dropped", WARNING)
    prefix = f"<{priority}>" if _is_journal() else ""
    with suppress(OSError):  # the reader has gone, which is not a reason to end
        os.write(2, f"{prefix}{visible(text)}\n".encode())
