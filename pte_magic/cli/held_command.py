"""A command that is started and held before its first instruction, so that it can be watched from there on."""

from __future__ import annotations

import errno
import os
import signal
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from pte_magic.linux.interrupts import deferred

if TYPE_CHECKING:
    from collections.abc import Sequence

_ERRNO_BYTES = 4
_NOT_STARTED = 255


class HeldCommand:
    """A forked process that waits, and then becomes the command; a context manager, which kills it if it is held.

    Attributes:
        pid: Its number.

    """

    def __init__(self, command: Sequence[str]) -> None:
        self._go_read, self._go = os.pipe()
        self._told, told_write = os.pipe()
        self._status: int | None = None
        with deferred(), warnings.catch_warnings():
            # Python warns that other threads may hold locks, in the child for ever. It needs none of theirs.
            warnings.simplefilter("ignore", DeprecationWarning)
            self.pid = os.fork()
            if not self.pid:
                self._become(command, told_write)
        os.close(self._go_read)
        os.close(told_write)

    def _become(self, command: Sequence[str], told: int) -> None:
        error = 0
        try:
            os.close(self._go)
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # which Python ignores
            if os.read(self._go_read, 1):
                os.execvp(command[0], list(command))  # noqa: S606  (it was typed)
        except OSError as why:
            error = why.errno or 0
        except ValueError:  # an empty name
            error = errno.ENOENT
        finally:
            os.write(told, error.to_bytes(_ERRNO_BYTES, "little"))
            os._exit(_NOT_STARTED)

    def go(self) -> None:
        """Let it become the command.

        Raises:
            OSError: The command cannot be run.

        """
        os.write(self._go, b"!")
        if told := os.read(self._told, _ERRNO_BYTES):
            error = int.from_bytes(told, "little")
            raise OSError(error, os.strerror(error))

    def has_ended(self) -> bool:
        """Tell whether it has ended; /proc/PID stays until the end of the context, with the counts of its faults."""
        if self._status is None and (found := os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)):
            self._status = found.si_status if found.si_code == os.CLD_EXITED else -found.si_status
        return self._status is not None

    @property
    def status(self) -> int:
        """The exit status, or the negative number of the signal that ended it."""
        return self._status or 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with deferred():
            for fd in (self._go, self._told):
                os.close(fd)
            with suppress(ProcessLookupError, ChildProcessError):
                if self._status is None:
                    os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
