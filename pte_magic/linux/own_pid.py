"""The pid of this process in /proc, which may be of another pid namespace."""

from __future__ import annotations

import functools
import os
import warnings

from pte_magic.errors import NoProcError


def own_pid() -> int:
    """Return the pid of this process in /proc; warn if it is not the one that `os.getpid` returns.

    Raises:
        NoProcError: There is no /proc, or it does not have this process.

    """
    mine = os.getpid()
    try:
        told = int(os.readlink("/proc/self"))  # noqa: PTH115  (a number, and often)
    except OSError as error:
        raise NoProcError(mine) from error
    if told != mine:
        _warn(mine, told)
    return told


@functools.cache
def _warn(mine: int, told: int) -> None:
    message = (
        f"/proc is of another pid namespace, in which this process, pid {mine}, is {told}: all pids here are those of "
        "/proc; type `mount -t proc proc /proc`, or start with `unshare --pid --fork --mount-proc`"
    )
    warnings.warn(message, stacklevel=2)
