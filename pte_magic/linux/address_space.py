"""`AddressSpace`: an open ``/proc/PID/pagemap``.

The kernel decides at open time who may look (``pagemap_open()``, fs/proc/task_mmu.c: ptrace read access), and the open
file holds that ``mm_struct``. So nothing here depends on the pid afterwards: no reuse of pids, no race with ``exec``,
and a pid of a container's namespace is the pid that the notebook sees.

A process may outlive its first thread. Then /proc/PID has no pagemap and no maps any more; the other threads live on in
the same address space, and have these files in /proc/PID/task/TID.

Pids are those of /proc. If /proc belongs to another pid namespace than this process, as after ``unshare --pid --fork``,
its numbers are not those of `os.getpid` and of children; a warning says so.
"""

from __future__ import annotations

import errno
import functools
import os
from typing import TYPE_CHECKING, Self

from pte_magic.errors import (
    AccessDeniedError,
    NoAddressSpaceError,
    NoSuchProcessError,
    arguments,
)
from pte_magic.linux import kernel_text, process_errors, regions, smaps
from pte_magic.linux.interrupts import deferred
from pte_magic.linux.own_pid import own_pid

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from pte_magic.linux.regions import Region
    from pte_magic.linux.smaps import Mapping

_PF_KTHREAD = 0x00200000  # include/linux/sched.h
_WORD = 8  # bytes of pagemap for a page
_EXITED = ("Z", "X")  # states of a thread: zombie, dead
_ROUNDS = 16  # to look for a thread


class AddressSpace:
    """An open address space, with the kernel's permission to look; a context manager.

    Attributes:
        pid: The process it was opened for, in the pid namespace of /proc.
        fd: The open descriptor of its pagemap.

    """

    __slots__ = ("_directory", "_thread", "fd", "pid")

    def __init__(self, pid: int | None = None) -> None:
        """Open the address space of `pid`, or of this process.

        A warning says so if /proc belongs to another pid namespace.

        Raises:
            NoProcError: There is no /proc, or it does not have this process.
            NoSuchProcessError: There is no such process.
            AccessDeniedError: The kernel does not let us look.
            NoAddressSpaceError: It is a kernel thread or a zombie.
            TargetError: The argument is not a pid.

        """
        pid = None if pid is None else arguments.process(pid)
        self.fd = self._directory = -1
        self._thread = ""
        own = own_pid()
        self.pid = own if pid is None else pid
        try:
            place = f"/proc/{'self' if self.pid == own else pid}"
            with deferred():  # or a descriptor would be open that nobody knows of
                self._directory = os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
                self.fd = self._opened()
        except OSError as error:
            why = self._why_none() if self._directory >= 0 else None
            self.close()
            raise why or process_errors.as_ours(error, self.pid) from error
        except BaseException:
            self.close()
            raise

    def copy(self) -> AddressSpace:
        """Return the same address space with its own descriptors, even if its process has gone meanwhile."""
        made = object.__new__(AddressSpace)
        made.pid, made.fd, made._directory, made._thread = self.pid, -1, -1, self._thread
        try:
            with deferred():
                made.fd = os.dup(self.fileno())
                made._directory = os.dup(self._directory)
        except OSError as error:
            raise process_errors.as_ours(error, self.pid) from error
        return made

    def _threads(self) -> Iterator[str]:
        """Yield the directories with files of the address space: that of the process, then of its other threads.

        Threads may come and go faster than one of them is opened: they are listed again while there are any.
        """
        yield self._thread
        for _ in range(_ROUNDS):
            others = self._others()
            if not others:
                return
            yield from (f"task/{tid}/" for tid in others)

    def _others(self) -> list[int]:
        return [tid for tid in kernel_text.threads(self._directory) if tid != self.pid]

    def _opened(self) -> int:
        """Return the open pagemap of the first thread that has an address space.

        Raises:
            OSError: No thread has one.

        """
        why = OSError(errno.ESRCH, os.strerror(errno.ESRCH))
        for thread in self._threads():
            try:
                fd = os.open(f"{thread}pagemap", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._directory)
            except (FileNotFoundError, ProcessLookupError) as error:  # it has exited
                why = error
                continue
            except PermissionError as error:
                if thread or self._state()[0] not in _EXITED:
                    raise
                why = error  # who has exited may be nobody's any more
                continue
            if os.pread(fd, _WORD, 0):  # newer kernels do not open it, in older ones there is nothing
                self._thread = thread
                return fd
            os.close(fd)
        raise why

    def _read(self, name: str, enough: kernel_text.Enough | None = None) -> bytes:
        try:
            return kernel_text.read(name, directory=self._directory, enough=enough)
        except OSError as error:
            raise process_errors.as_ours(error, self.pid) from error

    def _read_of_memory(self, name: str, enough: kernel_text.Enough | None = None) -> bytes:
        """Return a file about the address space, from any thread that still has it; empty if none has."""
        why: NoSuchProcessError | None = None
        for thread in self._threads():
            try:
                found = self._read(f"{thread}{name}", enough)
            except NoSuchProcessError as error:
                why = error
                continue
            if found:
                self._thread = thread
                return found
        if why:
            raise why
        return b""

    @property
    def thread(self) -> int:
        """The thread through which it was opened: the first one, whose number is the pid, unless it has exited."""
        return int(self._thread.split("/")[1]) if self._thread else self.pid

    def _state(self) -> tuple[str, int]:
        """Return state and flags of the first thread, from /proc/PID/stat; an empty state if it has gone."""
        try:
            # pid (comm) state ppid pgrp session tty tpgid flags …; comm may hold spaces and parentheses.
            fields = self._read("stat").rpartition(b")")[2].split()
        except (NoSuchProcessError, AccessDeniedError):
            return "", 0
        return fields[0].decode(), int(fields[6])

    def _why_none(self) -> NoAddressSpaceError | None:
        """Return why the process has no address space; None if it has one, or has gone."""
        state, flags = self._state()
        if flags & _PF_KTHREAD:
            return NoAddressSpaceError(self.pid, "a kernel thread has no user address space; name a user process")
        if state in _EXITED and not self._others():
            return NoAddressSpaceError(self.pid, "a zombie: it has exited, and its address space is gone")
        return None

    def gone(self) -> NoAddressSpaceError:
        """Return the error that says that this address space was torn down since it was opened."""
        return self._why_none() or NoAddressSpaceError(
            self.pid, "exited, or replaced its address space by exec, since it was opened; ask again"
        )

    def regions(self, start: int = 0, end: int | None = None) -> list[Region]:
        """Return the lines of ``/proc/PID/maps``, ascending.

        Args:
            start: Only regions that have addresses from here on,
            end: and below this one. The rest is not read: it takes the kernel a microsecond per region.

        Raises:
            NoSuchProcessError: The process has gone.
            AccessDeniedError: The process changed its user since it was opened.

        """
        if end is None:
            return regions.of_maps(self._read_of_memory("maps"), self._directory)
        return regions.of_maps(self._read_of_memory("maps", regions.Until(end)), self._directory, (start, end))

    def is_deleted(self, region: Region) -> bool:
        """Tell whether a mapped file has no name any more: see `regions.is_deleted`."""
        return regions.is_deleted(region, self._directory, f"{self._thread}root")

    def status(self) -> dict[str, str]:
        """Return the lines of ``/proc/PID/status`` by their names, such as ``Uid``; raises as `regions`.

        They are those of the first thread, even if it has exited. ``Name`` is printable text, see `kernel_text.shown`,
        without the kernel's escapes (``proc_task_name()``, fs/proc/array.c).
        """
        found = kernel_text.fields(self._read("status"))
        name = found.pop("Name", b"").replace(rb"\\", b"\0").replace(rb"\n", b"\n").replace(b"\0", b"\\")
        others = {key: value.decode(errors="backslashreplace") for key, value in found.items()}
        return {"Name": kernel_text.shown(name), **others}

    def command(self) -> str:
        """Return the arguments of the process in one line, as printable text; raises as `regions`."""
        return kernel_text.shown(self._read("cmdline").rstrip(b"\0").replace(b"\0", b" "))

    def rss(self) -> int:
        """Return its resident memory in bytes, as the kernel counts it now page by page; raises as `regions`.

        ``VmRSS`` of status, where there is no smaps_rollup, may be wrong by some pages for each processor.
        """
        try:
            told = kernel_text.fields(self._read_of_memory("smaps_rollup"))["Rss"]
        except (NoSuchProcessError, KeyError):
            told = self.status().get("VmRSS", "0 kB").encode()
        return int(told.split()[0]) << 10

    def kernel_page_sizes(self) -> dict[int, int]:
        """Return the page size of each region in bytes, by the region's first address (``KernelPageSize`` of smaps)."""
        return regions.page_sizes(self._read_of_memory("smaps"))

    def mappings(self, start: int, end: int) -> list[Mapping]:
        """Return what smaps says of the regions that have addresses in ``[start, end)``; raises as `regions`."""
        return smaps.of_smaps(self._read_of_memory("smaps", smaps.Until(end)), self._directory, (start, end))

    def file(self, name: str) -> bytes:
        """Return another file of ``/proc/PID``, such as ``numa_maps``; raises as `regions`."""
        return self._read_of_memory(name)

    def fileno(self) -> int:
        """Return the descriptor, so that ``os`` functions take the object itself.

        Raises:
            NoAddressSpaceError: It was closed.

        """
        if self.fd < 0:
            raise NoAddressSpaceError(self.pid, "this AddressSpace was closed; open another")
        return self.fd

    def close(self) -> None:
        """Close the descriptors; a second call does nothing."""
        names = [name for name in ("fd", "_directory") if getattr(self, name, -1) >= 0]  # interrupted, it has none
        if not names:
            return
        with deferred():
            for name in names:
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


@functools.cache
def own() -> AddressSpace:
    """Return this process' own address space, opened once and kept.

    A forked child has an address space of its own, so it does not inherit the open one.
    """
    return AddressSpace()


def _in_child(kept: functools._lru_cache_wrapper[AddressSpace]) -> None:
    if kept.cache_info().currsize:
        kept().close()  # frames of the parent's other threads may hold it for ever
    kept.cache_clear()


os.register_at_fork(after_in_child=functools.partial(_in_child, own))
