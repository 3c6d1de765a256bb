"""Processes that attacks fork: whatever one of them raises, or ends it, is an alarm, unless that was on purpose."""

from __future__ import annotations

import mmap
import os
import random
import signal
import time
import traceback
import warnings
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from conftest import NOBODY
from handmade import PAGE, libc

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

GROUP = NOBODY
"""Whoever is in it may connect to the helpers of attacks."""
_SAID = 30_000  # bytes of an error: less than a pipe takes at once


class Children:
    """A context manager; whoever is left when it ends is killed.

    Attributes:
        pids: Those that have not ended yet.

    """

    def __init__(self) -> None:
        self.pids: list[int] = []
        self._reading, self._writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def start(self, function: Callable[..., object], *arguments: Any) -> int:
        """Fork a child that calls a function and ends; return its pid."""
        parent = os.getpid()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # other threads may hold locks
            pid = os.fork()
        if pid:
            self.pids.append(pid)
            return pid
        status = 1
        try:
            libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
            if os.getppid() == parent:
                function(*arguments)
            status = 0
        except BaseException:  # noqa: BLE001  (the parent raises it)
            os.write(self._writing, traceback.format_exc()[-_SAID:].encode())
        finally:
            os._exit(status)

    def kill(self, pid: int) -> None:
        """Kill one of them, which has to be there."""
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        self.pids.remove(pid)
        self._judge(pid, os.waitstatus_to_exitcode(status), killed=True)

    def look(self) -> None:
        """Raise if one of them has failed."""
        for pid in tuple(self.pids):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                self.pids.remove(pid)
                self._judge(pid, os.waitstatus_to_exitcode(status), killed=False)

    def join(self, seconds: float) -> None:
        """Wait until all have ended by themselves."""
        until = time.monotonic() + seconds
        while self.pids:
            self.look()
            if time.monotonic() > until:
                message = f"{len(self.pids)} children have not ended for {seconds} s"
                raise AssertionError(message)
            time.sleep(0.01)

    def _judge(self, pid: int, code: int, *, killed: bool) -> None:
        if code == 0 or (killed and code == -signal.SIGKILL):
            return
        try:
            said = os.read(self._reading, _SAID).decode()
        except BlockingIOError:
            said = f"it was ended by {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        message = f"in the child {pid}:\n{said}"
        raise AssertionError(message)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for pid in self.pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        os.close(self._reading)
        os.close(self._writing)


def be(user: int, *groups: int) -> None:
    """Make this process, a forked one, that of a user who may connect."""
    os.setgroups([GROUP, *groups])
    os.setgid(user or GROUP)
    os.setuid(user)
    libc.prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE: as after exec, /proc/self is that user's
    libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG, which another user has lost


def shared(count: int) -> NDArray[np.int64]:
    """Return numbers that all children have in common."""
    assert count * 8 <= PAGE
    return np.frombuffer(mmap.mmap(-1, PAGE), np.int64, count)


def chance_of(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311  (it has to be the same again)
