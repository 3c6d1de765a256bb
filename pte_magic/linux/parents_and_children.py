"""Parents and children of processes, and whether a process still has the memory that it was forked with.

Source: /proc/PID/stat (proc_pid_stat(5)), ``PF_FORKNOEXEC``, include/linux/sched.h.
"""

from __future__ import annotations

from contextlib import suppress
from typing import NamedTuple

from pte_magic.linux import kernel_text

_FORK_NO_EXEC = 0x40  # set by copy_process(), kernel/fork.c, and cleared by begin_new_exec(), fs/exec.c


class Member(NamedTuple):
    """A process as /proc/PID/stat has it.

    Attributes:
        name: Its name, as printable text.
        state: One letter, such as ``R``.
        parent: Its parent's pid.
        execed: True if it has called exec since it was forked: its memory is another one since then.

    """

    name: str
    state: str
    parent: int
    execed: bool


def member(pid: int) -> Member | None:
    """Return what the kernel says of a process; None if there is none."""
    try:
        raw = kernel_text.read(f"/proc/{pid}/stat")
    except OSError:
        return None
    # pid (comm) state ppid pgrp session tty tpgid flags …; comm may hold spaces and parentheses.
    before, _, after = raw.rpartition(b")")
    fields = after.split()
    name = kernel_text.shown(before.partition(b"(")[2])
    return Member(name, fields[0].decode(), int(fields[1]), not int(fields[6]) & _FORK_NO_EXEC)


def children(pid: int) -> list[int]:
    """Return the children of a process, ascending."""
    return [one for one in kernel_text.pids() if (found := member(one)) and found.parent == pid]


def forked_from(pid: int) -> list[int]:
    """Return the processes of whose memory a process has a copy: its parent, the parent of that, and so on.

    The list ends at the first one that has called exec, and is empty if the process itself has. Processes outside of
    this pid namespace, and those that have ended, are not known.
    """
    found: list[int] = []
    while (one := member(pid)) and not one.execed and one.parent and one.parent not in found:
        pid = one.parent
        found.append(pid)
    return found


def process_of(thread: int) -> int:
    """Return the process that a thread belongs to; the same number if it is a process, or does not exist."""
    with suppress(OSError, ValueError, KeyError):
        return int(kernel_text.fields(kernel_text.read(f"/proc/{thread}/status"))["Tgid"])
    return thread
