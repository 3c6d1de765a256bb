"""Possible places of the kernel's direct map of physical memory, and pages that prove a guess right.

It needs no symbols: kernels without KALLSYMS_ALL do not name data.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from pte_magic.linux import hardware, kernel_text, libc

if TYPE_CHECKING:
    from collections.abc import Iterator

ZONES = Path("/proc/zoneinfo")
PAGES = 64
"""Number of pages of a `Landmark`."""

_ALIGNED = 1 << 29
_UNTAGGED = 0xFF << 56


def bases(pgd: int) -> Iterator[int]:
    """Yield possible kernel addresses of physical address 0, given a pgd at the address `pgd`.

    The difference is a multiple of 512 MiB at least: x86-64 moves the direct map by whole GiB
    (``kernel_randomize_memory()``, arch/x86/mm/kaslr.c), arm64 by GiB or, with 64 KiB pages, by the 512 MiB of a pmd
    entry (ARM64_MEMSTART_ALIGN, arch/arm64/include/asm/kernel-pgtable.h). So a pgd's physical address has the lower
    bits of its virtual one, and it is in memory that the kernel knows.

    The highest comes first: with a wrong guess, the address of a page table is then too low, where there is the direct
    map, too, or nothing, but never a device.

    Raises:
        OSError: /proc/zoneinfo cannot be read.

    """
    pgd |= _UNTAGGED  # the address may have a tag for KASAN
    below = pgd % _ALIGNED
    physical = {
        at
        for start, end in _memory()
        for at in range(-((below - start) // _ALIGNED) * _ALIGNED + below, end, _ALIGNED)  # rounded up
    }
    for at in sorted(physical, reverse=True):
        yield pgd - at


def _memory() -> Iterator[tuple[int, int]]:
    """Yield begin and end of memory, in physical addresses, holes included."""
    for zone in kernel_text.text(ZONES).split("Node ")[1:]:
        start, pages = (re.search(rf"\s{name}:?\s+(\d+)", zone) for name in ("start_pfn", "spanned"))
        if start and pages:  # an empty zone begins nowhere
            yield int(start[1]) * hardware.PAGE_SIZE, (int(start[1]) + int(pages[1])) * hardware.PAGE_SIZE


class Landmark:
    """Pages of this process, some of them touched at random, the others out of reach; a context manager.

    A walk that finds this pattern has read the right page tables.

    Attributes:
        start: Address of the first page; one page table has the entries of all.
        end: First address after the last page.
        touched: True for pages that have an entry, ``bool[PAGES]``.

    """

    def __init__(self) -> None:
        size = PAGES * hardware.PAGE_SIZE
        # To begin with there is no access, so that neither mlockall(2) nor transparent huge pages fill it.
        self._map = mmap.mmap(-1, 2 * size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=0)
        self.start = -(-np.frombuffer(self._map, np.uint8).ctypes.data // size) * size
        self.end = self.start + size
        self.touched = np.unpackbits(np.frombuffer(os.urandom(PAGES // 8), np.uint8)).astype(bool)
        self.touched[:2] = True, False

    def __enter__(self) -> Self:
        for page in np.flatnonzero(self.touched).tolist():
            at = self.start + page * hardware.PAGE_SIZE
            libc.call("mprotect", at, hardware.PAGE_SIZE, mmap.PROT_READ | mmap.PROT_WRITE)
            ctypes.memset(at, 1, 1)
        return self

    def __exit__(self, *_: object) -> None:
        self._map.close()
