"""The PAGEMAP_SCAN ioctl on /proc/PID/pagemap: the pages of a range that are there, as runs.

Since Linux 6.7 (52526ca7fdb9 "fs/proc/task_mmu: implement IOCTL to get and optionally clear info about PTEs").
Source: Documentation/admin-guide/mm/pagemap.rst, include/uapi/linux/fs.h. It is only used to ask here, never to
clear or write-protect anything.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import functools
from typing import TYPE_CHECKING

import numpy as np

from pte_magic.linux.address_space import own
from pte_magic.linux.hardware import PAGE_SIZE, user_limit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pte_magic.linux.address_space import AddressSpace

PAGE_IS_FILE, PAGE_IS_PRESENT, PAGE_IS_SWAPPED, PAGE_IS_PFNZERO, PAGE_IS_HUGE = (1 << bit for bit in range(2, 7))
_PAGE_IS_GUARD = 1 << 8
PAGE_REGION = np.dtype([("start", "<u8"), ("end", "<u8"), ("categories", "<u8")])
_RUNS = 4096


class _ScanArgument(ctypes.Structure):
    """``struct pm_scan_arg``."""

    _fields_ = tuple(
        (name, ctypes.c_uint64)
        for name in (
            "size", "flags", "start", "end", "walk_end", "vec", "vec_len", "max_pages", "category_inverted",
            "category_mask", "category_anyof_mask", "return_mask",
        )
    )  # fmt: skip


_PAGEMAP_SCAN = 3 << 30 | ctypes.sizeof(_ScanArgument) << 16 | ord("f") << 8 | 16  # _IOWR('f', 16, struct pm_scan_arg)


def populated(space: AddressSpace, start: int, end: int) -> tuple[NDArray[np.void], int] | None:
    """Return the first runs of pages in ``[start, end)`` that are present or swapped.

    Returns:
        ``PAGE_REGION[n]``, ascending, with ``PAGE_IS_PRESENT``, ``_SWAPPED`` and ``_HUGE`` (mapped by a huge page)
        as categories, and the address up to which the kernel looked: call again from there. None if the kernel has no
        PAGEMAP_SCAN.

    Raises:
        NoAddressSpaceError: The process has exited or called exec.

    """
    wanted = PAGE_IS_PRESENT | PAGE_IS_SWAPPED
    return _scanned(space, start, end, wanted, wanted | PAGE_IS_HUGE)


def zeros(space: AddressSpace) -> NDArray[np.void]:
    """Return all runs of zero pages, as `populated` does; none before 6.7, and the huge one since 6.17."""
    end = user_limit() - PAGE_SIZE  # the last page is nobody's: with it, the range would be refused
    found = having(space, PAGE_IS_PFNZERO, 0, end)
    return np.empty(0, PAGE_REGION) if found is None else found


def having(space: AddressSpace, category: int, start: int, end: int) -> NDArray[np.void] | None:
    """Return all runs of pages of a category in ``[start, end)``; as `populated`, also None."""
    found = [np.empty(0, PAGE_REGION)]
    while start < end:
        part = _scanned(space, start, end, category, category)
        if part is None:
            return None
        runs, start = part
        found.append(runs)
    return np.concatenate(found)


@functools.cache
def works() -> bool:
    """Tell whether the kernel has PAGEMAP_SCAN."""
    return populated(own(), 0, PAGE_SIZE) is not None


@functools.cache
def knows_guards() -> bool:
    """Tell whether PAGEMAP_SCAN knows the category of guard regions; it is one of 6.16 or later then.

    Since "fs/proc: extend the PAGEMAP_SCAN ioctl to report guard regions".
    """
    try:
        return _scanned(own(), 0, PAGE_SIZE, _PAGE_IS_GUARD, _PAGE_IS_GUARD) is not None
    except OSError:  # EINVAL: an unknown category
        return False


def _scanned(space: AddressSpace, start: int, end: int, wanted: int, told: int) -> tuple[NDArray[np.void], int] | None:
    runs = np.empty(_RUNS, PAGE_REGION)
    argument = _ScanArgument(
        size=ctypes.sizeof(_ScanArgument),
        start=start,
        end=end,
        vec=runs.ctypes.data,
        vec_len=_RUNS,
        category_anyof_mask=wanted,
        return_mask=told,
    )
    try:
        count = fcntl.ioctl(space, _PAGEMAP_SCAN, argument)
    except OSError as error:
        if error.errno == errno.ENOTTY:
            return None
        if error.errno == errno.ESRCH:
            raise space.gone() from error
        raise
    # walk_end stays behind what was reported when the kernel's own buffer of 512 runs was flushed in between.
    return runs[:count], max([argument.walk_end, *runs["end"][:count][-1:].tolist()])
