"""Pages of two processes, of which one was forked from the other: shared, copied since, or never shared.

After fork(), both map the same page frames, and no entry of private memory allows writing (``copy_present_ptes()``,
mm/memory.c). The first one to write to a page gets a copy; the other one keeps the page frame, and its entry allows
writing again only when it writes, too (``do_wp_page()``). So of two different page frames:

* an entry that does not allow writing has not been written through since its process was forked, or has forked: the
  other process has made the copy;
* if both allow it, both have written since, and entries do not tell which of them was first. Memory that both touched
  for the first time after the fork, at the same address, looks the same.

Without page frames, pages that are mapped in both are shared unless one of them is mapped only there: bit 56 of
pagemap. A page of a file is shared if both have it from the file. Of a huge page, that bit is of the first page only
(see `pagemap_columns`), so it counts only beside another huge page: beside a small page, the small one's bit counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]

CODES = (
    "shared",
    "copied_here",
    "copied_either",
    "copied_there",
    "only_here",
    "apart",
    "only_there",
    "swapped",
    "nothing",
)
"""The kinds of pages. ``apart``: both have a page at this address, but of mappings that have nothing to do with each
other. ``swapped``: in swap in one of them at least, and not known to be the same."""
SHARED, HERE, EITHER, THERE, ONLY_HERE, APART, ONLY_THERE, SWAPPED, NOTHING = (np.uint8(at) for at in range(len(CODES)))
NEVER = (int(ONLY_HERE), int(APART), int(ONLY_THERE))
"""The codes of pages that are not shared, and for all that entries tell never were."""


class Pages(NamedTuple):
    """The pages of one process at some addresses; ``n`` of them.

    Attributes:
        there: True if it maps memory that counts as resident, and is not the page of zeros, ``bool[n]``.
        swapped: True if it is swapped out, ``bool[n]``.
        place: Its page frame, or with the highest bit its place in swap; 0 if hidden, ``uint64[n]``.
        exclusive: 1 if it is mapped only here, 0 if not, -1 where that is not known, ``int8[n]``.
        wrote: 1 if its entry allows writing, 0 if not, -1 where that is not known, ``int8[n]``.
        file: 1 if it is a page of a file or of shared memory, 0 if not, -1 where that is not known, ``int8[n]``.
        huge: True if its entry maps more than the smallest page, ``bool[n]``.

    """

    there: Bools
    swapped: Bools
    place: NDArray[np.uint64]
    exclusive: NDArray[np.int8]
    wrote: NDArray[np.int8]
    file: NDArray[np.int8]
    huge: Bools

    def at(self, rows: NDArray[np.intp]) -> Pages:
        """Return some of them."""
        there, swapped, place, exclusive, wrote, file, huge = self
        return Pages(there[rows], swapped[rows], place[rows], exclusive[rows], wrote[rows], file[rows], huge[rows])


class Compared(NamedTuple):
    """The result of `compare`: a code for each page, ``uint8[n]``, and for how many page frames were compared."""

    code: NDArray[np.uint8]
    by_frames: int
    by_bit: int


def compare(here: Pages, there: Pages, same: Bools) -> Compared:
    """Compare the pages of two processes at the same addresses.

    Args:
        here: The pages of the process that the other one was forked from.
        there: The pages of the other one.
        same: True where the regions of both are of the same file, or both are of none, ``bool[n]``.

    """
    both, seen = here.there & there.there, (here.place != 0) & (there.place != 0)
    equal = seen & (here.place == there.place)
    alone_here, alone_there = _alone(here, there), _alone(there, here)
    from_file = (here.file == 1) & (there.file == 1)
    differ = both & np.where(seen, ~equal, ~from_file & (alone_here | alone_there | (here.file + there.file == 1)))
    in_swap = here.swapped | there.swapped
    code = np.select(
        [in_swap & equal, in_swap, both & ~same & ~equal, differ, both, here.there, there.there],
        [SHARED, SWAPPED, APART, EITHER, SHARED, ONLY_HERE, ONLY_THERE],
        NOTHING,
    ).astype(np.uint8)
    at = np.flatnonzero(code == EITHER)
    code[at] = _writer(here.at(at), there.at(at), alone_here[at], alone_there[at])
    known = int(np.count_nonzero(seen & both))
    return Compared(code, known, int(np.count_nonzero(both)) - known)


def _alone(one: Pages, other: Pages) -> Bools:
    """Tell which pages are mapped by one process only, as far as the bit says so of this page."""
    found: Bools = (one.exclusive == 1) & (~one.huge | other.huge)
    return found


def _writer(here: Pages, there: Pages, alone_here: Bools, alone_there: Bools) -> NDArray[np.uint8]:
    """Tell of different pages which process has made the copy."""
    of_file = here.file - there.file  # the page of a file is the one that was there before
    return np.select(
        [
            of_file < 0,
            of_file > 0,
            there.wrote == 0,
            (there.wrote == 1) & (here.wrote == 0),
            there.wrote == 1,
            alone_here & ~alone_there,
            alone_there & ~alone_here,
        ],
        [HERE, THERE, HERE, THERE, EITHER, HERE, THERE],
        EITHER,
    ).astype(np.uint8)


def copies(pages: Sequence[Pages]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return how many page frames more than one there are of each private page, and could be more, ``int64[n]`` each.

    Args:
        pages: The pages of all processes at the same addresses.

    """
    private = np.array([one.there & (one.file != 1) for one in pages])
    place = np.where(private, np.array([one.place for one in pages]), np.uint64(0))
    ordered = np.sort(place, axis=0)
    by_frame = np.count_nonzero((ordered[1:] != ordered[:-1]) & (ordered[1:] != 0), axis=0) + (ordered[0] != 0)
    alone = private & np.array([(one.exclusive == 1) & ~one.huge for one in pages])
    huge = np.array([one.huge & (one.exclusive == 1) for one in pages]) & private
    alone |= huge & np.array([one.huge for one in pages]).all(axis=0)
    by_bit = np.count_nonzero(alone, axis=0) + (private & ~alone).any(axis=0)
    mapped = np.count_nonzero(private, axis=0)
    known = ((place != 0) == private).all(axis=0)
    frames = np.where(known, by_frame, by_bit)
    return np.maximum(frames - 1, 0), mapped - frames
