"""`PhysicalMap`: physical memory by owner; squares blend the colours of the owners of their page frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pte_magic.linux.hardware import PAGE_SIZE
from pte_magic.views import palette
from pte_magic.views.page_map.layers import Category, Layer, Spans, ends_of, starts_of
from pte_magic.views.page_map.page_map import CellMap

if TYPE_CHECKING:
    from numpy.typing import NDArray

COLOR = "owner"


_BLOCKS = 1 << 14
"""The most blocks: what is sent to the browser grows with their number, not with that of page frames."""


class PhysicalMap(CellMap):
    """A map of physical memory. Its smallest squares are blocks of page frames, in which these are sorted by owner."""

    def __init__(self, names: tuple[str, ...], codes: NDArray[np.uint8]) -> None:
        """Make a map of page frames from 0 on.

        Args:
            names: The owners: first processes, at most as many as there are looks; then the others, see `owners.KINDS`.
            codes: For each page frame an index into `names`, ``uint8[n]``.

        """
        per = 1
        while len(codes) > per * _BLOCKS:
            per *= 2
        where = Spans(np.zeros(1, np.uint64), np.array([PAGE_SIZE], np.uint64), np.array([len(codes)], np.uint32))
        super().__init__(_layer(names, codes, per), where, [COLOR])
        self.grain = per * PAGE_SIZE


def _layer(names: tuple[str, ...], codes: NDArray[np.uint8], per: int) -> Layer:
    starts = starts_of(len(codes), codes[1:] != codes[:-1])
    length = np.diff(np.append(starts, len(codes)))
    looks = (*palette.PROCESSES[: len(names) - len(palette.OWNERS)], *palette.OWNERS)
    categories: list[Category] = []
    renumbered = np.zeros(len(names), np.uint8)
    for code in np.unique(codes).tolist():
        renumbered[code] = len(categories)
        runs = length[codes[starts] == code]
        frames, largest = int(runs.sum()), int(runs.max())
        categories.append(
            Category(names[code], looks[code], frames, frames * PAGE_SIZE, len(runs), largest * PAGE_SIZE)
        )
    in_blocks = renumbered[codes]
    whole = len(codes) // per * per
    in_blocks[:whole].reshape(-1, per).sort(axis=1)
    in_blocks[whole:].sort()
    begins = starts_of(len(codes), in_blocks[1:] != in_blocks[:-1])
    return Layer(
        COLOR,
        ends_of(begins, len(codes)),
        in_blocks[begins],
        tuple(categories),
        title="physical memory",
        unit=("page frame", "page frames"),
        listed=False,
    )
