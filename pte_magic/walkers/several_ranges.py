"""`each_once`: the entries of several ranges, each entry once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pte_magic.walkers.entries import SPAN, Entries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

_NEAR = 1 << 20  # bytes between two ranges that are read with them: a walk takes as long as reading 256 pages does


def each_once(ranges: Sequence[tuple[int, int]], look: Callable[[int, int], Iterable[Entries]]) -> Iterator[Entries]:
    """Yield the entries of ranges; several ranges may lie within one entry.

    Args:
        ranges: First address and first address after it, ascending and disjoint.
        look: Returns the entries of one range, in one piece or several.

    """
    if len(ranges) == 1:
        yield from look(*ranges[0])
        return
    starts, ends = np.array(ranges, np.uint64).T
    apart = np.flatnonzero(starts[1:] - ends[:-1] > _NEAR)
    firsts, lasts = [0, *(apart + 1).tolist()], [*apart.tolist(), len(ranges) - 1]
    done = 0  # the first address after all entries that were read
    path: dict[int, int] = {}  # the last entry of each level, as those above are met again by the next look
    for first, last in zip(firsts, lasts, strict=True):
        start, end = max(ranges[first][0], done), ranges[last][1]
        if start >= end:
            continue
        for found in look(start, end):
            vaddr, level = found.vaddr, found.level
            stop = vaddr + found.size
            within = np.searchsorted(starts, stop) - 1  # the last range that begins before the entry ends
            keep = (within >= 0) & (ends[within] > vaddr)
            known = [path.get(one) for one in range(int(level.max(initial=-1)) + 1)]
            for one, at in enumerate(known):
                if at is not None:
                    keep &= (level != one) | (vaddr != at)
            for one in np.unique(level[level >= 0]).tolist():
                path[one] = int(vaddr[level == one][-1])
            done = max(done, int(stop[-1])) if len(stop) else done
            if keep.any():
                yield found if keep.all() else _only(found, keep)


def _only(found: Entries, keep: NDArray[np.bool_]) -> Entries:
    vaddr, size, level = found.vaddr[keep], found.size[keep], found.level[keep]
    begins = np.ones(len(vaddr), np.bool_)
    begins[1:] = (vaddr[1:] != vaddr[:-1] + size[:-1]) | (size[1:] != size[:-1]) | (level[1:] != level[:-1])
    at = np.flatnonzero(begins)
    spans = np.empty(len(at), SPAN)
    spans["vaddr"], spans["size"], spans["level"] = vaddr[at], size[at], level[at]
    spans["count"] = np.diff(np.append(at, len(vaddr)))
    return Entries(
        found.entry[keep],
        spans,
        found.encoding,
        found.walker,
        None if found.protnone is None else found.protnone[keep],
        found.address_bits,
    )
