"""The check for free file descriptors, and the errors where none is left, or no thread can be started."""

from __future__ import annotations

import errno
import os
import resource
from contextlib import suppress

from pte_magic.errors import ResourceError
from pte_magic.linux.interrupts import deferred

_SOME = 16  # as many as a walker needs, and some more


def are_free() -> bool:
    """Tell whether some descriptors are free. Libraries without a free one raise many kinds of errors."""
    held: list[int] = []
    with deferred():  # or some would stay open
        with suppress(OSError):
            held.extend(os.open("/", os.O_PATH | os.O_CLOEXEC) for _ in range(_SOME))
        for fd in held:
            os.close(fd)
    return len(held) == _SOME


def missing(error: OSError) -> bool:
    """Tell whether this error says that no descriptor is free."""
    return error.errno in (errno.EMFILE, errno.ENFILE)


def none_free() -> ResourceError:
    """Return the error that says that no descriptor is free."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return ResourceError(
        f"too few file descriptors are free: this process may have {most:,}; close files, or type "
        f"`ulimit -n {2 * most}` before you start Python"
    )


def no_thread(*, what: str) -> ResourceError:
    """Return the error for a thread that cannot be started, and what it is for."""
    most = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    return ResourceError(
        f"no thread for {what} can be started: this user may have {most} of them and of processes "
        "(`ulimit -u`), or memory is short; end some, and try again"
    )
