"""The memory of malloc(3): in use, free, mapped; and free memory given back. Source: mallinfo(3), malloc_trim(3)."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, NamedTuple

from pte_magic.linux import libc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pte_magic.linux.regions import Region

_NAMES = ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")
_ARENA = 64 << 20  # HEAP_MAX_SIZE of 64-bit programs, malloc/arena.c of glibc: so much is reserved, at a multiple of it


class MallocInfo(NamedTuple):
    """Bytes of malloc in all its arenas.

    Attributes:
        used: In use, in [heap] and in the arenas of threads.
        free: Free there, resident or not.
        mapped: In use, each in a mapping of its own.

    """

    used: int
    free: int
    mapped: int


class _Mallinfo2(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_size_t) for name in _NAMES)


def info() -> MallocInfo | None:
    """Return what malloc says of itself; None if the C library has no mallinfo2 (glibc before 2.33, musl)."""
    function = libc.function("mallinfo2")
    if function is None:
        return None
    function.restype = _Mallinfo2
    found = function()
    return MallocInfo(found.uordblks, found.fordblks, found.hblkhd)


def trim() -> bool:
    """Give free memory back to the kernel; false if there is nothing to give, or no malloc_trim in the C library."""
    function = libc.function("malloc_trim")
    return bool(function and function(ctypes.c_size_t(0)))


def is_arena(at: int, regions: Sequence[Region]) -> bool:
    """Tell whether a region is the used part of an arena of a thread: after it lies memory that is only reserved."""
    region = regions[at]
    if not region.is_anonymous or region.path or region.start % _ARENA or region.permissions != "rw-p":
        return False
    if region.end - region.start == _ARENA:
        return True
    after = regions[at + 1] if at + 1 < len(regions) else region
    return after.start == region.end and after.permissions == "---p" and after.end - region.start >= _ARENA
