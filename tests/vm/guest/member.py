"""The module of the stap walker where an administrator puts it, and users who are in a group that may load it."""

from __future__ import annotations

import grp
import os
import platform
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from conftest import NOBODY
from handmade import libc

from pte_magic import walkers
from pte_magic.systemtap import installation, module_cache
from pte_magic.walkers import stap

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

_SET_DUMPABLE = 4  # PR_SET_DUMPABLE: /proc/self is the new user's, as it is after exec


@contextmanager
def module_installed() -> Iterator[Path]:
    """Install the module, which was compiled before the guest was booted."""
    module = module_cache.kept(stap.script())
    assert module
    walkers.close()
    try:
        yield installation.install(module, platform.release())
    finally:
        walkers.close()
        assert installation.remove(stap.MODULE, platform.release())


def become(*groups: str) -> None:
    """Turn this process, a child of the tests, into one of a user who is in these groups."""
    os.setgroups([grp.getgrnam(name).gr_gid for name in groups])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    libc.prctl(_SET_DUMPABLE, 1, 0, 0, 0)
    os.environ["XDG_CACHE_HOME"] = "/nowhere"


def member() -> None:
    """Turn this process, a child of the tests, into one of a user who may load the module, and nothing else."""
    become("stapusr")


class Opened:
    """A pagemap that somebody else opened, for a walker."""

    def __init__(self, fd: int) -> None:
        self.pid, self.fd = 0, fd

    def fileno(self) -> int:
        """Return the descriptor."""
        return self.fd


def seen(space: Any, start: int, end: int, *, tables: bool = False) -> tuple[NDArray[np.uint64], bytes, bool]:
    """Return what the stap walker gives to this process: entries, spans, and whether frames are hidden."""
    found = walkers.get("stap").walk(space, start, end, tables=tables)
    return found.entry, found.spans.tobytes(), found.frames_hidden
