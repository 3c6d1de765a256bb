"""What the helper says: lines on stderr, which systemd's journal reads."""

from __future__ import annotations

import functools
import os
from contextlib import suppress

from pte_magic.escapes import visible

WARNING, INFO = 4, 6  # syslog(3)


@functools.cache
def _is_journal() -> bool:
    """Tell whether stderr is the journal's (JOURNAL_STREAM, systemd.exec(5))."""
    try:
        found = os.fstat(2)
    except OSError:
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def say(text: str, priority: int = INFO) -> None:
    """Write one line, at once; the journal is told its priority (sd-daemon(3))."""
    prefix = f"<{priority}>" if _is_journal() else ""
    with suppress(OSError):  # nobody listens any more, which is no reason to end
        os.write(2, f"{prefix}{visible(text)}\n".encode())
