"""The entries that the kernel counts as resident memory (Rss), of their decoded columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pte_magic.formats.field import STATES
from pte_magic.linux import page_frames, sizes

if TYPE_CHECKING:
    from numpy.typing import NDArray

# The states that the kernel's own resident sizes count: a page that is being moved to another page frame, too.
_RESIDENT = [STATES.index(name) for name in ("present", "protnone", "migration", "device")]
_ZERO = np.uint64(1 << page_frames.FLAGS["zero_page"])


def resident(state: NDArray[np.int8], special: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    """Tell which entries map memory that counts, ``bool[n]``; zero pages are told by the other functions.

    As in the kernel's resident sizes, memory without a ``struct page`` does not count: a device's registers, [vvar],
    and the small zero page. Pages of hugetlb count, which the kernel counts elsewhere.

    Args:
        state: Indices into `STATES`.
        special: The bit special; None if the walker does not see it.

    """
    maps: NDArray[np.bool_] = np.isin(state, _RESIDENT)
    return maps if special is None else maps & ~special


def is_zero(vaddr: NDArray[np.uint64], zeros: NDArray[np.void]) -> NDArray[np.bool_]:
    """Tell which addresses are in the runs of zero pages that `pagemap_scan.zeros` returned, ``bool[n]``."""
    if not len(zeros):
        return np.zeros(len(vaddr), np.bool_)
    run = np.searchsorted(zeros["start"], vaddr, side="right") - 1
    found: NDArray[np.bool_] = (run >= 0) & (vaddr < zeros["end"][run])
    return found


def is_huge_zero(size: NDArray[np.uint64], rw: NDArray[np.bool_], pfn: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Tell which entries map the huge zero page, ``bool[n]``: before 6.18 it is not special. As root only."""
    found = np.zeros(len(size), np.bool_)
    suspects = np.flatnonzero((size == sizes.huge()) & ~rw)
    found[suspects] = page_frames.flags(pfn[suspects]).values & _ZERO != 0
    return found
