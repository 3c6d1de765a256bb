"""An address space is an open ``/proc/PID/pagemap``.

The kernel decides at open time who may look (``pagemap_open()``, fs/proc/task_mmu.c: ptrace read access), and the open
file holds that ``mm_struct``. So nothing here depends on a pid after it was opened: no reuse of pids, no race with
``exec``, and a pid of a container's namespace is the pid that the notebook sees.
"""

from __future__ import annotations

import functools
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from pte_magic.errors import AccessDeniedError, NoAddressSpaceError, NoSuchProcessError

if TYPE_CHECKING:
    from types import TracebackType

_PF_KTHREAD = 0x00200000  # include/linux/sched.h
_MAPS_LINE = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S{4}) \S+ \S+ \d+ *(.*)")


@dataclass(frozen=True, slots=True)
class Region:
    """One line of ``/proc/PID/maps``: a virtual memory area.

    Attributes:
        start: First address.
        end: First address after it.
        permissions: Four characters, such as ``rw-p``.
        name: Path, ``[heap]``, ``[stack]``, … or the empty string.

    """

    start: int
    end: int
    permissions: str
    name: str


class AddressSpace:
    """An address space that the kernel allowed us to look at; a context manager.

    Attributes:
        pid: The process it was opened for, in the pid namespace of /proc.
        fd: The open descriptor of its pagemap.

    """

    __slots__ = ("_directory", "fd", "pid")

    def __init__(self, pid: int | None = None) -> None:
        """Open the address space of `pid`, or of this process.

        Raises:
            NoSuchProcessError: There is no such process.
            AccessDeniedError: The kernel does not let us look.
            NoAddressSpaceError: A kernel thread or a zombie.

        """
        own = pid is None or pid == os.getpid()
        self.pid = os.getpid() if pid is None else pid
        self.fd = self._directory = -1
        try:
            self._directory = os.open(f"/proc/{'self' if own else pid}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            self.fd = self._open("pagemap")
        except OSError as error:
            why = self._why_none() if self._directory >= 0 else None
            self.close()
            raise why or _as_ours(error, self.pid) from error
        if not own and (why := self._why_none()):
            self.close()
            raise why

    def copy(self) -> AddressSpace:
        """Return the same address space, even if its process has gone meanwhile, with descriptors of its own."""
        made = object.__new__(AddressSpace)
        made.pid, made.fd, made._directory = self.pid, -1, -1
        made.fd = os.dup(self.fileno())
        made._directory = os.dup(self._directory)
        return made

    def _open(self, name: str) -> int:
        return os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._directory)

    def _read(self, name: str) -> str:
        try:
            with os.fdopen(self._open(name), "rb") as file:
                return file.read().decode(errors="surrogateescape")
        except OSError as error:
            raise _as_ours(error, self.pid) from error

    def _why_none(self) -> NoAddressSpaceError | None:
        """Explain why the process has no address space; None if it has one, or has gone altogether."""
        try:
            # pid (comm) state ppid pgrp session tty tpgid flags …; comm may hold spaces and parentheses.
            fields = self._read("stat").rpartition(")")[2].split()
        except (NoSuchProcessError, AccessDeniedError):
            return None
        state, flags = fields[0], int(fields[6])
        if flags & _PF_KTHREAD:
            return NoAddressSpaceError(self.pid, "a kernel thread has no user address space; name a user process")
        if state in "ZX":
            return NoAddressSpaceError(self.pid, "a zombie: it has exited, and its address space is gone")
        return None

    def gone(self) -> NoAddressSpaceError:
        """Return the error that says that this address space was torn down since it was opened."""
        return self._why_none() or NoAddressSpaceError(
            self.pid, "exited, or replaced its address space by exec, since it was opened; ask again"
        )

    def regions(self) -> list[Region]:
        """Return the lines of ``/proc/PID/maps``, ascending.

        Raises:
            NoSuchProcessError: The process has gone.
            AccessDeniedError: The process changed its user since it was opened.

        """
        lines = self._read("maps").splitlines()
        found = (_MAPS_LINE.fullmatch(line) for line in lines)
        return [Region(int(m[1], 16), int(m[2], 16), m[3], m[4]) for m in found if m]

    def status(self) -> dict[str, str]:
        """Return the lines of ``/proc/PID/status`` by their names, such as ``Uid``; raises as `regions`."""
        lines = (line.partition(":") for line in self._read("status").splitlines())
        return {name: value.strip() for name, _, value in lines}

    def kernel_page_sizes(self) -> dict[int, int]:
        """Return the page size of each region in bytes, by the region's first address (``KernelPageSize`` of smaps)."""
        sizes: dict[int, int] = {}
        start = 0
        for line in self._read("smaps").splitlines():
            if m := _MAPS_LINE.fullmatch(line):
                start = int(m[1], 16)
            elif line.startswith("KernelPageSize:"):
                sizes[start] = int(line.split()[1]) << 10
        return sizes

    def fileno(self) -> int:
        """Return the descriptor, so that ``os`` functions take the object itself.

        Raises:
            NoAddressSpaceError: It was closed.

        """
        if self.fd < 0:
            raise NoAddressSpaceError(self.pid, "this AddressSpace was closed; open another")
        return self.fd

    def close(self) -> None:
        """Close the descriptors; harmless when done twice."""
        for name in ("fd", "_directory"):
            if (fd := getattr(self, name)) >= 0:
                setattr(self, name, -1)
                os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<AddressSpace of pid {self.pid}{'' if self.fd >= 0 else ', closed'}>"


def _as_ours(error: OSError, pid: int) -> NoSuchProcessError | AccessDeniedError | NoAddressSpaceError:
    if isinstance(error, PermissionError):
        return AccessDeniedError(pid)
    if isinstance(error, (FileNotFoundError, ProcessLookupError)):
        return NoSuchProcessError(pid)
    return NoAddressSpaceError(pid, f"/proc/{pid}: {error.strerror}")


@functools.cache
def own() -> AddressSpace:
    """Return this process' own address space, opened once and kept.

    A forked child has an address space of its own, so it does not inherit the open one.
    """
    return AddressSpace()


os.register_at_fork(after_in_child=own.cache_clear)
