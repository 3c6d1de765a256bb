"""The part of a file that is in the page cache: its pages by mincore(2), and their numbers by cachestat(2)."""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pte_magic.errors import ResourceError, TargetError, arguments
from pte_magic.linux import descriptors, libc, system_calls
from pte_magic.linux.hardware import PAGE_SIZE
from pte_magic.linux.interrupts import deferred

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_PROT_READ, _MAP_SHARED = 1, 1
_WINDOW = 1 << 30  # bytes that are mapped at once
_MAGIC = {0x01021994: "tmpfs", 0x858458F6: "ramfs", 0x958458F6: "hugetlbfs"}  # linux/magic.h
_FIELDS = ("cached", "dirty", "writeback", "evicted", "recently_evicted")


class CacheStat(NamedTuple):
    """Pages of a file, as the kernel counts them: ``struct cachestat``, linux/mman.h."""

    cached: int
    dirty: int
    writeback: int
    evicted: int
    recently_evicted: int


class Cached(NamedTuple):
    """A file and its pages in the page cache.

    Attributes:
        size: Its bytes.
        offset: Offsets of runs of pages that are all cached, or all not, ``uint64[n]``.
        cached: Whether they are, ``bool[n]``.
        stat: The kernel's numbers; None where it has no cachestat (before 6.5), or does not tell this user.
        kind: ``tmpfs`` or ``ramfs`` where the page cache is all that there is of the file; else empty.
        is_told: False if the kernel says to this user that all pages are cached, whatever is true.

    """

    size: int
    offset: NDArray[np.uint64]
    cached: NDArray[np.bool_]
    stat: CacheStat | None
    kind: str
    is_told: bool


def of(path: Any) -> Cached:
    """Return what of a file is in the page cache; nothing of it is read.

    Raises:
        TargetError: There is no such file, it may not be read, or it has no page cache.

    """
    with _opened(path) as fd:
        found = os.fstat(fd)
        kind = _MAGIC.get(_file_system(fd), "")
        if not stat.S_ISREG(found.st_mode):
            message = f"{arguments.shown(path)} is not a regular file; only these have pages in the page cache"
            raise TargetError(message)
        if kind == "hugetlbfs":
            message = f"{arguments.shown(path)} is on hugetlbfs, whose pages are not in the page cache; "
            raise TargetError(message + "map it, and type %pte with the array")
        if not found.st_size and found.st_blocks == 0 and _is_made(path):
            message = f"{arguments.shown(path)} is made by the kernel at each read; it has no pages in the page cache"
            raise TargetError(message)
        offset, cached = _runs(fd, found.st_size, path)
        is_told = os.geteuid() in {0, found.st_uid} or os.access(f"/proc/self/fd/{fd}", os.W_OK)
        return Cached(found.st_size, offset, cached, _stat(fd), kind, is_told)


@contextmanager
def _opened(path: Any) -> Iterator[int]:
    try:
        with deferred():
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except (OSError, TypeError, ValueError) as error:
        if isinstance(error, OSError) and descriptors.missing(error):
            raise descriptors.none_free() from error
        why = error.strerror if isinstance(error, OSError) else "not a path"
        message = f"{arguments.shown(path)}: {why}; type the path of a file that you may read"
        raise TargetError(message) from error
    try:
        yield fd
    finally:
        os.close(fd)


def _file_system(fd: int) -> int:
    """Return the number of the kind of a file's file system (fstatfs(2), whose result begins with it)."""
    result = (ctypes.c_ulong * 64)()
    libc.call("fstatfs", fd, ctypes.addressof(result))
    return int(result[0]) & 0xFFFF_FFFF


def _is_made(path: Any) -> bool:
    """Tell whether an empty file has content all the same, as those of /proc and /sys."""
    real = os.path.realpath(os.fspath(path))
    real = os.fsencode(real)
    return real.startswith((b"/proc/", b"/sys/"))


def _runs(fd: int, size: int, path: Any) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    parts = [np.empty(0, np.bool_)]
    for start in range(0, size, _WINDOW):
        length = min(_WINDOW, size - start)
        try:
            with deferred():
                place = libc.mmap(0, length, _PROT_READ, _MAP_SHARED, fd, start)
                try:
                    found = np.empty(-(-length // PAGE_SIZE), np.uint8)
                    libc.call("mincore", place, length, found.ctypes.data)
                finally:
                    libc.call("munmap", place, length)
        except OSError as error:
            if error.errno == errno.ENODEV:
                message = f"{arguments.shown(path)} cannot be mapped, so it has no pages in the page cache"
                raise TargetError(message) from error
            message = f"{arguments.shown(path)}: {error.strerror}"
            raise ResourceError(message) from error
        parts.append(found & 1 != 0)
    pages = np.concatenate(parts)
    first = np.flatnonzero(np.append(True, pages[1:] != pages[:-1])) if len(pages) else np.empty(0, np.intp)
    return first.astype(np.uint64) * np.uint64(PAGE_SIZE), pages[first]


def _stat(fd: int) -> CacheStat | None:
    whole, found = (ctypes.c_uint64 * 2)(0, 0), (ctypes.c_uint64 * len(_FIELDS))()  # length 0: to the end
    try:
        system_calls.call("cachestat", fd, ctypes.addressof(whole), ctypes.addressof(found), 0)
    except OSError:  # ENOSYS, EPERM, EOPNOTSUPP
        return None
    return CacheStat(*found)
