"""A forked process that calls a function on request, and never outlives its parent."""

from __future__ import annotations

import faulthandler
import gc
import multiprocessing
import os
import resource
import signal
import warnings
import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

from pte_magic.errors import WorkloadError
from pte_magic.linux import libc
from pte_magic.linux.interrupts import deferred

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


class Forked:
    """A child process, killed and reaped when the block ends, `close` is called, or the object is deleted.

    The kernel kills the child when its forking thread ends, and so also when this process dies (PR_SET_PDEATHSIG).

    Attributes:
        pid: The process.
        returncode: None until its end is noticed; then as in `subprocess.Popen`: minus the signal.

    """

    def __init__(self, function: Callable[..., Any], *, inherits_files: bool = False) -> None:
        """Fork.

        Args:
            function: The function that `call` calls in the child.
            inherits_files: Keep the open files of this process. Then it also keeps ends of its pipes open.

        """
        self.returncode: int | None = None
        self._ours, theirs = multiprocessing.Pipe()
        parent = os.getpid()
        with deferred(), _blocked(), warnings.catch_warnings():
            # Python warns that other threads may hold locks, in the child for ever. It needs none of theirs.
            warnings.simplefilter("ignore", DeprecationWarning)
            self.pid = os.fork()
            if self.pid == 0:
                _serve(theirs, function, parent, inherits_files=inherits_files)
            self._end = weakref.finalize(self, _end, self.pid, self._ours)
        theirs.close()

    def __repr__(self) -> str:
        state = "not ended" if self.returncode is None else f"returncode {self.returncode}"
        return f"<{type(self).__name__}: pid {self.pid}, {state}>"

    def call(self, *arguments: Any) -> Any:
        """Call the function in the child; return its result, or raise its error.

        Raises:
            WorkloadError: The child has ended.

        """
        if self.returncode is None:
            try:
                self._ours.send(arguments)
                raised, result = self._ours.recv()
            except (EOFError, OSError):
                self.close()
            except BaseException:  # interrupted: the answer that is still to come would be taken for the next one
                self.close()
                raise
            else:
                if raised:
                    raise result
                return result
        message = f"the child, pid {self.pid}, has ended{_how(self.returncode)}; fork another"
        raise WorkloadError(message)

    def close(self) -> None:
        """Kill the child and reap it; a second call does nothing."""
        with deferred():
            if self._end.alive:
                self.returncode = self._end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def _blocked() -> Iterator[None]:
    """Block interrupts in this thread, and in a child that it forks: they are for the notebook."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end(pid: int, connection: Connection) -> int | None:
    """End a child; return its status, None if it was reaped elsewhere."""
    try:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if not ended:
            os.kill(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
        return os.waitstatus_to_exitcode(status)
    except ChildProcessError:  # it is not ours any more, and neither may be its number
        return None
    finally:
        connection.close()


def _how(returncode: int | None) -> str:
    if returncode is None or returncode >= 0:
        return ""
    return f", killed by {signal.Signals(-returncode).name}"


def _serve(connection: Connection, function: Callable[..., Any], parent: int, *, inherits_files: bool) -> None:
    """Answer requests until there are no more. This is the child, which never returns."""
    try:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before that
            return
        gc.disable()  # what is collected may be a temporary directory of the parent
        faulthandler.disable()  # it may be told to do what is not allowed: that is not worth a report,
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))  # nor a file
        if not inherits_files:
            os.closerange(0, connection.fileno())
            os.closerange(connection.fileno() + 1, os.sysconf("SC_OPEN_MAX"))
        while True:
            arguments = connection.recv()
            try:
                answer = False, function(*arguments)
            except BaseException as error:  # noqa: BLE001  (the parent raises it)
                answer = True, error
            connection.send(answer)
    finally:
        os._exit(0)
