"""Memory made by hand, by the C library's own calls, and what the kernel itself says of it."""

from __future__ import annotations

import ctypes
import mmap
import os
import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from pte_magic.linux import sizes, system_calls
from pte_magic.text import units

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

PAGE, HUGE, GIB = mmap.PAGESIZE, sizes.huge(), 1 << 30
HUGE_LEVEL = list(sizes.by_level())[1]
PTES = HUGE // PAGE  # of a table, all of which together cover what an entry above does
PAGE_WORDS, HUGE_WORDS = units.size(PAGE), units.size(HUGE)
NONE, READ, WRITE, EXEC = 0, mmap.PROT_READ, mmap.PROT_WRITE, mmap.PROT_EXEC
SHARED, PRIVATE, FIXED, ANONYMOUS, NORESERVE, HUGETLB = 1, 2, 0x10, 0x20, 0x4000, 0x40000  # asm-generic/mman.h
DONTNEED, HUGEPAGE, NOHUGEPAGE, PAGEOUT, COLLAPSE, GUARD_INSTALL, GUARD_REMOVE = 4, 14, 15, 21, 25, 102, 103

PM_PFN, PM_GUARD, PM_FILE, PM_SWAP, PM_PRESENT = (1 << 55) - 1, 1 << 58, 1 << 61, 1 << 62, 1 << 63

libc = ctypes.CDLL(None, use_errno=True)
FAILED = ctypes.c_void_p(-1).value
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]


def prefer_nodes(mode: int) -> None:
    """Say where memory shall come from: set_mempolicy(2), for this thread and those that it starts."""
    libc.syscall(system_calls.number("set_mempolicy"), mode, None, ctypes.c_ulong(0))


class NewMap(Protocol):
    """Maps memory that is unmapped when the test ends; returns its address, a multiple of `HUGE`."""

    def __call__(
        self, size: int, protection: int = ..., flags: int = ..., fd: int = ..., *, advice: int | None = ...
    ) -> int:
        """Map `size` bytes between two regions that nobody may touch, so that no neighbour merges with them."""


def hugetlb(size: int = HUGE) -> int:
    """Return the flags of mmap(2) for pages of hugetlb of a size."""
    return HUGETLB | size.bit_length() - 1 << 26


def check(result: int) -> None:
    if result == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def madvise(address: int, size: int, advice: int) -> None:
    check(libc.madvise(ctypes.c_void_p(address), ctypes.c_size_t(size), advice))


def mprotect(address: int, size: int, protection: int) -> None:
    check(libc.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(size), protection))


def munmap(address: int, size: int) -> None:
    check(libc.munmap(ctypes.c_void_p(address), ctypes.c_size_t(size)))


def write(address: int, size: int = PAGE, value: int = 1) -> None:
    """Write a byte to each page."""
    np.ctypeslib.as_array((ctypes.c_ubyte * size).from_address(address))[::PAGE] = value


def read(address: int, size: int = PAGE) -> int:
    """Read a byte of each page; return their sum."""
    return int(np.ctypeslib.as_array((ctypes.c_ubyte * size).from_address(address))[::PAGE].sum(dtype=np.int64))


def words(address: int, size: int = PAGE, pid: int | str = "self") -> NDArray[np.uint64]:
    """Return what /proc/PID/pagemap says, ``uint64[pages]``: the independent source."""
    fd = os.open(f"/proc/{pid}/pagemap", os.O_RDONLY)
    try:
        return np.frombuffer(os.pread(fd, size // PAGE * 8, address // PAGE * 8), np.uint64)
    finally:
        os.close(fd)


def pfn(address: int, pid: int | str = "self") -> int:
    """Return the page frame that /proc/PID/pagemap gives for a present page."""
    word = int(words(address, PAGE, pid)[0])
    assert word & PM_PRESENT
    return word & PM_PFN


def smaps(address: int, field: str, pid: int | str = "self") -> int:
    """Return a number of bytes that /proc/PID/smaps gives for the region of an address."""
    inside = False
    for line in Path(f"/proc/{pid}/smaps").read_text(encoding="utf-8").splitlines():
        if found := re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line):
            inside = int(found[1], 16) <= address < int(found[2], 16)
        elif inside and line.startswith(f"{field}:"):
            return int(line.split()[1]) << 10
    message = f"no {field} at {address:#x}"
    raise LookupError(message)


def resident(address: int) -> bool:
    """Ask mincore(2)."""
    told = (ctypes.c_ubyte * 1)()
    assert libc.mincore(ctypes.c_void_p(address), ctypes.c_size_t(PAGE), told) == 0
    return bool(told[0] & 1)


@contextmanager
def new_maps() -> Iterator[NewMap]:
    """Give what maps memory; all of it is unmapped when the block ends."""
    made: list[tuple[int, int]] = []

    def make(
        size: int,
        protection: int = READ | WRITE,
        flags: int = PRIVATE | ANONYMOUS,
        fd: int = -1,
        *,
        advice: int | None = None,
    ) -> int:
        # Pages of hugetlb lie at multiples of their size, and tables of them are shared of regions that fill these.
        align = max(1 << size.bit_length() - 1, HUGE) if flags & HUGETLB else HUGE
        reserved = -(-size // align) * align + 3 * align
        outer: int = libc.mmap(None, reserved, NONE, PRIVATE | ANONYMOUS | NORESERVE, -1, 0)
        if outer == FAILED:
            check(-1)
        made.append((outer, reserved))
        address = (outer // align + 2) * align
        got = libc.mmap(address, size, protection, flags | FIXED, fd, 0)
        if got != address:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        if advice is not None:
            madvise(address, size, advice)
        return address

    try:
        yield make
    finally:
        for address, size in made:
            munmap(address, size)
