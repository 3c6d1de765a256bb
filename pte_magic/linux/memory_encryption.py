"""The bit of memory encryption (AMD's C-bit) in entries of this host, as walkers find it.

A walker sees it in entries of its own process' pages, or the kernel names it. There is no other source: the bit that
the CPU would use says nothing about whether it is in use, and in a virtual machine even that bit is not certain.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pte_magic.linux import hardware

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_PRESENT = np.uint64(1)
_ADDRESS = 0x000F_FFFF_FFFF_F000
"""Bits of an entry that may belong to a physical address, on x86-64, the only architecture with such a bit."""

walkers: list[Callable[[bool], int]] = []
"""Functions that return the bit that walkers have found, or 0; with True, they make walkers to find it.

`pte_magic.walkers` adds itself, so that formats, which do not import walkers, can ask.
"""


def mask(entries: NDArray[np.uint64] | None = None) -> int:
    """Return the bit, or 0 if this host has none, or this user cannot see it.

    Args:
        entries: Raw entries of this host, ``uint64[n]``. If they have bits above its physical addresses, and no walker
            was made before, one is made to find the bit.

    """
    return _found(make=False) or (_found(make=True) if entries is not None and _beyond(entries) else 0)


def candidates() -> int:
    """Return the bits of an entry above the physical addresses of this host."""
    return _ADDRESS & ~((1 << hardware.physical_bits()) - 1) if hardware.encoding() == "x86_64" else 0


def _found(*, make: bool) -> int:
    return max((ask(make) for ask in walkers), default=0)


def _beyond(entries: NDArray[np.uint64]) -> bool:
    present = entries[entries & _PRESENT != 0]
    return bool(np.bitwise_or.reduce(present) & np.uint64(candidates()))
