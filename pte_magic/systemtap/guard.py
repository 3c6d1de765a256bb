"""`Guarded`: programs that do not outlive Python, not even when it is killed and cannot clean up."""

from __future__ import annotations

import os
import subprocess
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pte_magic.linux.interrupts import deferred

if TYPE_CHECKING:
    from collections.abc import Sequence

# The program takes the place of this shell. A child of the shell stays behind and waits for Python: a line through the
# pipe says that all is well; the pipe's end without one says that Python died (kill -9, out of memory). It must not
# hold the program's output open, and survives what is sent to the program and all that it started.
_SHELL = """exec 3<&0 </dev/null
(trap '' INT TERM HUP; read -r _ <&3 && exit; {last}) >/dev/null 2>&1 &
exec 3<&- "$@"
"""


class Guarded:
    """A program in a session of its own, and a guard that ends it when this process dies.

    A terminal's Ctrl-C goes to Python only, which then ends the program properly.

    Attributes:
        process: The program.

    """

    def __init__(self, command: Sequence[str], *, last: str, **options: Any) -> None:
        """Start a program.

        Args:
            command: Its words.
            last: Shell commands to run when Python has died; ``$$`` is the program's pid, and leads its process group.
            options: For Popen.

        """
        self._alive = ours = -1
        _all.add(self)
        try:
            with deferred():
                ours, self._alive = os.pipe()
            self.process: subprocess.Popen[bytes] = subprocess.Popen(
                ["sh", "-c", _SHELL.format(last=last), "sh", *command], stdin=ours, start_new_session=True, **options
            )
        except BaseException:
            self.forget()
            raise
        finally:
            if ours >= 0:
                os.close(ours)

    @property
    def watched(self) -> bool:
        """True while the guard waits for this process' death."""
        return self._alive >= 0

    def dismiss(self) -> None:
        """Stop the guard: the program has ended, and its remains are cleaned up."""
        if self.watched:
            with suppress(BrokenPipeError):  # ended before there was somebody
                os.write(self._alive, b"\n")
        self.forget()

    def forget(self) -> None:
        """Close the pipe in a forked child: the program belongs to the parent."""
        if self.watched:
            os.close(self._alive)
            self._alive = -1


_all: weakref.WeakSet[Guarded] = weakref.WeakSet()


def _in_child() -> None:
    """Close the pipes: a child that has them would hide this process' death from the guard."""
    for one in list(_all):
        one.forget()


os.register_at_fork(after_in_child=_in_child)
