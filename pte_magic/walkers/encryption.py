"""The bit by which entries of this machine say that memory is encrypted (AMD's C-bit), as walkers find it.

A walker sees it in entries of its own process' pages, or is told by the kernel; nothing else tells: which bit the CPU
would use says nothing of whether it does, and in a virtual machine not even that much is sure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pte_magic import walkers
from pte_magic.linux import hardware
from pte_magic.walkers import helper_client
from pte_magic.walkers.bpf import constants, walker

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PRESENT = np.uint64(1)  # of all formats
_QUICK = (walker.NAME, helper_client.NAME)
"""Walkers that are made in a moment; none is compiled for this."""


def mask(entries: NDArray[np.uint64] | None = None) -> int:
    """Return the bit, or 0 if this machine has none, or nobody here may know.

    Args:
        entries: Raw entries of this machine, ``uint64[n]``. If they have bits that an address of its memory has not,
            and no walker was made before, one is made to find out.

    """
    found = _told()
    if not found and entries is not None and _beyond(entries):
        for name in _QUICK:
            walkers.attempt(name)
        found = _told()
    return found


def _told() -> int:
    """Return what the walkers found that this process has."""
    return max(getattr(walkers.known(name), "encryption_mask", 0) for name in walkers.NAMES)


def _beyond(entries: NDArray[np.uint64]) -> bool:
    if hardware.encoding() not in constants.TABLES or not constants.encryption_bits():
        return False
    present = entries[entries & _PRESENT != 0]
    return bool(np.bitwise_or.reduce(present) & np.uint64(constants.encryption_bits()))
