"""The words of /proc/PID/pagemap, one for each page: how they are read, and what their bits are called.

Source: Documentation/admin-guide/mm/pagemap.rst and ``pte_to_pagemap_entry()``, fs/proc/task_mmu.c.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from pte_magic.linux.address_space import own
from pte_magic.linux.hardware import PAGE_SIZE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pte_magic.linux.address_space import AddressSpace

BITS = {"soft_dirty": 55, "mmap_exclusive": 56, "uffd_wp": 57, "guard": 58, "file": 61, "swap": 62, "present": 63}
"""Numbers of the bits that say something by themselves."""
PLACE_BITS = 55
"""How many bits there are below them: the number of a page frame, or where a page is swapped to."""
PLACE = np.uint64((1 << PLACE_BITS) - 1)
PRESENT, SWAP, FILE, EXCLUSIVE, GUARD, SOFT_DIRTY = (
    np.uint64(1 << BITS[name]) for name in ("present", "swap", "file", "mmap_exclusive", "guard", "soft_dirty")
)

_WORD = 8  # bytes


def words(space: AddressSpace, start: int, count: int) -> NDArray[np.uint64]:
    """Read the words of `count` pages from the address `start` on, ``uint64[count]``.

    Raises:
        NoAddressSpaceError: The process has exited or called exec.

    """
    found = np.empty(count, np.uint64)
    view = found.view(np.uint8).data
    done = 0
    while done < len(view):
        got = os.preadv(space.fileno(), [view[done:]], start // PAGE_SIZE * _WORD + done)
        if not got:
            raise space.gone()
        done += got
    return found


def own_word(address: int) -> np.uint64:
    """Read the word of the page of this process at an address."""
    found: np.uint64 = words(own(), address, 1)[0]
    return found
