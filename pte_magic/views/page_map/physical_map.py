"""`PhysicalMap`: physical memory by owner; a square is a run of page frames, in the colour of their main owner."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pte_magic.linux.hardware import PAGE_SIZE
from pte_magic.views import palette
from pte_magic.views.page_map import still_picture
from pte_magic.views.page_map.layers import Category, Layer, Spans, ends_of, starts_of
from pte_magic.views.page_map.page_map import CellMap

if TYPE_CHECKING:
    from numpy.typing import NDArray

COLOR = "largest owner"


class PhysicalMap(CellMap):
    """A map of physical memory. Its legend counts single page frames, in bytes."""

    def __init__(self, names: tuple[str, ...], codes: NDArray[np.uint8]) -> None:
        """Make a map of page frames from 0 on.

        Args:
            names: The owners: first processes, at most as many as there are looks; then the others, see `owners.KINDS`.
            codes: For each page frame an index into `names`, ``uint8[n]``.

        """
        per = 1
        while len(codes) > per * still_picture.COLUMNS * still_picture.LINES:
            per *= 2
        blocks = -(-len(codes) // per)
        where = Spans(np.zeros(1, np.uint64), np.array([per * PAGE_SIZE], np.uint64), np.array([blocks], np.uint32))
        super().__init__(_layer(names, codes, per), where, [COLOR])


def _layer(names: tuple[str, ...], codes: NDArray[np.uint8], per: int) -> Layer:
    firsts = np.arange(0, len(codes), per)
    most = np.array([np.add.reduceat(codes == code, firsts, dtype=np.int64) for code in range(len(names))]).argmax(0)
    starts = starts_of(len(codes), codes[1:] != codes[:-1])
    length = np.diff(np.append(starts, len(codes)))
    shown = (*palette.PROCESSES[: len(names) - len(palette.OWNERS)], *palette.OWNERS)
    categories: list[Category] = []
    renumbered = np.zeros(len(names), np.uint8)
    for code in np.unique(codes).tolist():
        renumbered[code] = len(categories)
        runs = length[codes[starts] == code] * PAGE_SIZE
        blocks = int(np.count_nonzero(most == code))
        categories.append(Category(names[code], shown[code], blocks, int(runs.sum()), len(runs), int(runs.max())))
    begins = starts_of(len(most), most[1:] != most[:-1])
    return Layer(
        COLOR,
        ends_of(begins, len(most)),
        renumbered[most[begins]],
        tuple(categories),
        title="physical memory",
        unit=("block", "blocks"),
    )
