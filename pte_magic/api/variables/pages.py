"""`Pages`: the pages of a process as runs of the same state, and sums of them for ranges of addresses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pte_magic.dataframes.resident import is_zero
from pte_magic.errors import AccessDeniedError, NoSuchProcessError
from pte_magic.linux import pagemap_scan
from pte_magic.linux.hardware import PAGE_SIZE, user_limit
from pte_magic.linux.pagemap import EXCLUSIVE, PRESENT, SWAP
from pte_magic.walkers.pagemap import PagemapWalker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pte_magic.linux.address_space import AddressSpace
    from pte_magic.linux.regions import Region
    from pte_magic.walkers.entries import Entries

    _Runs = tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.uint8]]

STATES = ("resident", "huge", "swapped", "shared", "hugetlb")
"""The states of a page, several at a time; pages of hugetlb are not resident in the kernel's sense, but only these."""
_RESIDENT, _HUGE, _SWAPPED, _SHARED, _HUGETLB = (np.uint8(1 << at) for at in range(len(STATES)))


class Pages:
    """Runs of pages in the same states, ascending.

    Attributes:
        start: First addresses, ``uint64[n]``.
        end: First addresses after them, ``uint64[n]``.
        state: A bit for each of `STATES`, ``uint8[n]``.

    """

    def __init__(self, space: AddressSpace, regions: Sequence[Region]) -> None:
        """Read all pages of a process.

        Raises:
            NoAddressSpaceError: The process has exited or called exec.

        """
        zeros = pagemap_scan.zeros(space)
        found = [_runs(part, zeros) for part in PagemapWalker().chunks(space, 0, user_limit())]
        empty = (np.empty(0, np.uint64), np.empty(0, np.uint64), np.empty(0, np.uint8))
        self.start, self.end, self.state = map(np.concatenate, zip(empty, *found, strict=True))
        self._hugetlb(space, regions)
        if (self.state & _HUGE != 0).any():
            self._share_huge(space)
        self._before = {
            name: np.append(0, np.cumsum(np.where(self.state & np.uint8(1 << at), self.end - self.start, 0)))
            for at, name in enumerate(STATES)
        }

    def _hugetlb(self, space: AddressSpace, regions: Sequence[Region]) -> None:
        """Take pages of hugetlb out of what is resident; smaps is asked only where huge pages are of a file."""
        files = [one for one in regions if one.path and not one.path.startswith(b"[")]
        start, end = (np.array([getattr(one, name) for one in files], np.uint64) for name in ("start", "end"))
        huge = self.start[self.state & _HUGE != 0]
        at = np.searchsorted(end, huge, side="right")
        if not (at[at < len(end)].size and (start[at[at < len(end)]] <= huge[at < len(end)]).any()):
            return
        sizes = space.kernel_page_sizes()
        for one in files:
            if sizes.get(one.start, PAGE_SIZE) > PAGE_SIZE:
                of = (self.start >= one.start) & (self.start < one.end) & (self.state & _RESIDENT != 0)
                self.state[of] = _HUGETLB

    def _share_huge(self, space: AddressSpace) -> None:
        """Have as much of huge pages shared as smaps says: pagemap has one bit for all small pages of a huge one.

        Which of them others map, too, nobody tells: the first ones of each run count.
        """
        huge = np.flatnonzero(self.state & _HUGE != 0)
        try:
            mappings = space.mappings(int(self.start[huge[0]]), int(self.end[huge[-1]]))
        except (NoSuchProcessError, AccessDeniedError):
            return
        shared = np.where(self.state & _SHARED != 0, self.end - self.start, np.uint64(0))
        first = shared.copy()  # bytes of each run, from its start on
        for one in mappings:
            low, high = np.searchsorted(self.start, (one.region.start, one.region.end)).tolist()
            of = huge[(huge >= low) & (huge < high)]
            if not len(of):
                continue
            sizes = (self.end[of] - self.start[of]).astype(np.int64)
            small = int(shared[low:high].sum()) - int(shared[of].sum())
            total = min(max(one.shared - small, 0), int(sizes.sum()))
            upto = (np.cumsum(sizes) / int(sizes.sum()) * (total // PAGE_SIZE)).astype(np.int64) * PAGE_SIZE
            first[of] = np.diff(upto, prepend=0)
        self._cut(np.minimum(first, self.end - self.start))

    def _cut(self, shared: NDArray[np.uint64]) -> None:
        """Have the first bytes of each run shared, and the others not."""
        rest = self.end - self.start - shared
        pieces = np.stack([shared, rest], axis=1)
        edge = self.start + shared
        start, end = np.stack([self.start, edge], axis=1), np.stack([edge, self.end], axis=1)
        state = np.stack([self.state | _SHARED, self.state & ~_SHARED], axis=1)
        keep = pieces > 0
        self.start, self.end, self.state = start[keep], end[keep], state[keep]

    def total(self, name: str) -> int:
        """Return the bytes of all pages in one of `STATES`."""
        return int(self._before[name][-1])

    def sums(self, start: NDArray[np.uint64], end: NDArray[np.uint64]) -> dict[str, NDArray[np.uint64]]:
        """Return for each of `STATES` the bytes in ranges that are in this state, ``uint64[n]``."""
        if not len(self.start):
            return {name: np.zeros(len(start), np.uint64) for name in STATES}
        places = [self._place(edges) for edges in (start, end)]
        return {name: self._below(name, *places[1]) - self._below(name, *places[0]) for name in STATES}

    def _place(self, addresses: NDArray[np.uint64]) -> tuple[NDArray[np.intp], NDArray[np.uint64]]:
        """Return the last run that begins below each address or at it, and how much of it lies below."""
        at = np.searchsorted(self.start, addresses, side="right") - 1
        run = np.maximum(at, 0)
        inside = np.minimum(addresses, self.end[run]) - np.minimum(self.start[run], addresses)
        return at, inside

    def _below(self, name: str, at: NDArray[np.intp], inside: NDArray[np.uint64]) -> NDArray[np.uint64]:
        run = np.maximum(at, 0)
        counts = (self.state[run] & np.uint8(1 << STATES.index(name)) != 0) & (at >= 0)
        below: NDArray[np.uint64] = self._before[name][run].astype(np.uint64) + np.where(counts, inside, np.uint64(0))
        return below


def _runs(entries: Entries, zeros: NDArray[np.void]) -> _Runs:
    """Return the runs of the words of pagemap; pages of zeros, which the kernel does not count, are left out."""
    word, start, size = entries.entry, entries.vaddr, entries.size
    state = np.zeros(len(word), np.uint8)
    present = (word & PRESENT != 0) & ~is_zero(start, zeros)
    state[present] |= _RESIDENT
    state[present & (size > PAGE_SIZE)] |= _HUGE
    state[present & (word & EXCLUSIVE == 0)] |= _SHARED
    state[word & SWAP != 0] |= _SWAPPED
    edges = np.flatnonzero(np.append(True, (state[1:] != state[:-1]) | (start[1:] != start[:-1] + size[:-1])))
    last = np.append(edges[1:], len(state)) - 1
    keep = state[edges] != 0
    return start[edges][keep], (start + size)[last][keep], state[edges][keep]
