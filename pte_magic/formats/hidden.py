"""`hide`: takes page frame numbers and swap locations out of raw entries.

/proc/PID/pagemap shows page frame numbers and swap locations to CAP_SYS_ADMIN only (``pagemap_read()``,
fs/proc/task_mmu.c), as page frame numbers help Rowhammer attacks. Users who may walk, but not see these, get entries
through `hide`.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from pte_magic.formats import decode
from pte_magic.formats.field import LEAVES, TABLES, Shape
from pte_magic.formats.format import frame_mask
from pte_magic.linux.geometry import LEVELS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pte_magic.formats.kernel import Kernel

_PRESENT = np.uint64(1)
_PTE = LEVELS.index("pte")


def hide(entry: NDArray[np.uint64], level: NDArray[np.int8], kernel: Kernel) -> None:
    """Take page frame numbers and swap locations out of raw entries, in place.

    Afterwards each page frame number reads as 0, with its inversion undone, and so does the number of a swap device.
    All bits of the offset of a swap entry are ones, inverted or not. The types of special entries and the kinds of
    markers stay, as they do not name a place. No entry becomes empty, or looks like one of another state.

    Args:
        entry: Raw entries, ``uint64[n]``, contiguous.
        level: Their levels, ``int8[n]``, indices into ``LEVELS``.
        kernel: The kernel that they come from.

    """
    frame = np.uint64(kernel.physical_mask)
    if (level == _PTE).all() and np.bitwise_and.reduce(entry) & _PRESENT:
        np.bitwise_and(entry, ~frame, out=entry)
        return
    shape = decode.shapes(entry, level, decode.octets(entry, kernel), kernel)
    cleared, filled = _masks(kernel)
    swap = np.flatnonzero((shape == Shape.SWAP) | (shape == Shape.NOT_PRESENT))
    np.bitwise_and(entry, cleared[shape], out=entry)
    np.bitwise_or(entry, filled[shape], out=entry)
    if len(swap):
        entry[swap] = _hidden_swap(entry[swap], kernel)


def taken(entry: NDArray[np.uint64], level: NDArray[np.int8], kernel: Kernel) -> NDArray[np.uint64]:
    """Return the bits that `hide` has taken out of each entry, ``uint64[n]``; 0 of entries that kept all of theirs."""
    if not kernel.frames_hidden or not len(entry):
        return np.zeros(len(entry), np.uint64)
    shape = decode.shapes(entry, level, decode.octets(entry, kernel), kernel)
    cleared, filled = _masks(kernel)
    found: NDArray[np.uint64] = ~cleared[shape] | filled[shape]
    swap = np.flatnonzero((shape == Shape.SWAP) | (shape == Shape.NOT_PRESENT))
    offset, kind = _of_swap(entry[swap], kernel)
    found[swap] = offset | kind
    return found


@functools.cache
def _masks(kernel: Kernel) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Return by shape the bits of an entry that stay, and the bits that are set then, ``uint64[shapes]`` each."""
    cleared, filled = np.full(len(Shape), ~np.uint64(0)), np.zeros(len(Shape), np.uint64)
    for shape in LEAVES | TABLES:
        frame = frame_mask(kernel.format, shape) & ~kernel.encryption_mask
        if shape in kernel.format.inverted:  # all ones are page frame 0
            filled[shape] = frame
        else:
            cleared[shape] = ~np.uint64(frame)
    return cleared, filled


def _hidden_swap(entry: NDArray[np.uint64], kernel: Kernel) -> NDArray[np.uint64]:
    offset, kind = _of_swap(entry, kernel)
    # All ones: where it is inverted that is offset 0, and where it is not, nothing becomes an empty entry by it.
    return (entry | offset) & ~kind


def _of_swap(entry: NDArray[np.uint64], kernel: Kernel) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Return the bits of each swap entry that name a place, ``uint64[n]`` each: of the offset, and of the device."""
    where = decode.swap(kernel)
    kind_of = (entry >> where.type & where.type_mask).astype(np.intp)
    # A failed swap-in before 6.2, in the state of a marker, too, has a page frame there (make_swapin_error_entry()).
    is_marker = np.array([found == ("marker", None) for found in kernel.swap.types])[kind_of]
    is_device = np.array([state == "swap" for state, _ in kernel.swap.types])[kind_of]
    nothing = np.uint64(0)
    return (
        np.where(is_marker, nothing, where.offset_mask << where.offset),
        np.where(is_device, where.type_mask << where.type, nothing),
    )
