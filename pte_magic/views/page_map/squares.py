"""The squares of a page map, each of as many bytes or entries as the others, and the shares of categories in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pte_magic.errors import TargetError
from pte_magic.errors.arguments import shown

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pte_magic.views.page_map.layers import Layer, Spans

MEASURES = ("bytes", "entries")
"""The possible measures of squares."""

NONE = 255
"""Instead of a code: no category has more than half of a square."""

STEPS = 16
"""Shades of a look that is blended with others."""

FAINTEST = 5
"""The least of these for what lies in nothing: one page in a square of many GiB is still visible."""


class Measure(NamedTuple):
    """The measure of squares, one of `MEASURES`, and how much of it the smallest square has."""

    by: str
    smallest: int


class Squares(NamedTuple):
    """Squares of equal size; the last one has the rest.

    Attributes:
        by: Their measure, one of `MEASURES`.
        per: Bytes or entries of each.
        shares: The bytes or entries of each category, ``uint64[squares, categories]``.

    """

    by: str
    per: int
    shares: NDArray[np.uint64]

    @property
    def most(self) -> NDArray[np.uint8]:
        """The category that has more than half of each square, ``uint8[squares]``, or `NONE`."""
        largest = self.shares.argmax(axis=1)
        half = self.shares.sum(axis=1, dtype=np.uint64) // 2
        has_most = np.take_along_axis(self.shares, largest[:, None], 1)[:, 0] > half
        return np.where(has_most, largest, NONE).astype(np.uint8)

    def shades(self, order: list[int], empty: int) -> NDArray[np.uint8]:
        """Return how strongly each look is painted, in `STEPS`: one over the other, they blend by their shares.

        Args:
            order: The categories, in the order of painting.
            empty: How many of these, the first ones, are of what is not there.

        Returns:
            ``uint8[squares, categories]``, the categories in this order. Zero: not painted.

        """
        shares = self.shares[:, order].astype(np.float64)
        so_far = np.cumsum(shares, axis=1)
        is_first = so_far - shares == shares[:, :empty].sum(axis=1, keepdims=True)  # of what is there
        least = np.where(is_first & (np.arange(len(order)) >= empty), FAINTEST, 1)
        blended = np.clip(np.rint(shares / np.maximum(so_far, 1) * STEPS), least, STEPS - 1)
        is_lowest = shares == so_far  # nothing was painted before it
        return np.where(shares == 0, 0, np.where(is_lowest, STEPS, blended)).astype(np.uint8)


def chosen(by: Any) -> str:
    """Return a measure, if it is one of `MEASURES`.

    Raises:
        TargetError: It is not.

    """
    if isinstance(by, str) and by in MEASURES:
        return by
    message = f"squares by {shown(by)}: choose one of {', '.join(MEASURES)}"
    raise TargetError(message)


def grain(where: Spans) -> int:
    """Return the bytes of the smallest square: all entries are multiples of it."""
    return int(np.gcd.reduce(where.size)) if len(where.size) else 1


def before(where: Spans, entries: NDArray[np.uint32]) -> NDArray[np.uint64]:
    """Return the bytes of the map before each of some entries."""
    counts = np.diff(where.ends, prepend=np.uint32(0)).astype(np.uint64)
    ends = np.cumsum(counts * where.size)
    span = np.minimum(np.searchsorted(where.ends, entries, side="right"), len(counts) - 1)
    first = where.ends[span] - counts[span]  # entry of the span
    found: NDArray[np.uint64] = ends[span] - (counts[span] - (entries - first)) * where.size[span]
    return found


def places(where: Spans, addresses: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the bytes of the map before each of some addresses; its own are ascending."""
    counts = np.diff(where.ends, prepend=np.uint32(0)).astype(np.uint64)
    lengths = counts * where.size
    begins = np.cumsum(lengths) - lengths
    span = np.searchsorted(where.vaddr, addresses, side="right") - 1
    at = np.maximum(span, 0)
    into = np.minimum(addresses - np.minimum(addresses, where.vaddr[at]), lengths[at])
    return np.where(span < 0, np.uint64(0), begins[at] + into)


def cut(layer: Layer, where: Spans, measure: Measure, most: int) -> Squares:
    """Cut a map into at most so many squares; each is the smallest one, times a power of two."""
    by, per = measure
    ends = before(where, layer.ends) if by == "bytes" else layer.ends.astype(np.uint64)
    total = int(ends[-1])
    while total > per * most:
        per *= 2
    bounds = np.minimum(np.arange(0, total + per, per, dtype=np.uint64), np.uint64(total))
    run = np.minimum(np.searchsorted(ends, bounds, side="right"), len(ends) - 1)
    lengths = np.diff(ends, prepend=np.uint64(0))
    into = bounds - (ends[run] - lengths[run])
    shares = []
    for code in range(len(layer.categories)):
        is_it = layer.codes == code
        whole = np.cumsum(np.where(is_it, lengths, np.uint64(0)))
        upto = whole[run] - np.where(is_it[run], lengths[run] - into, np.uint64(0))
        shares.append(np.diff(upto))
    return Squares(by, per, np.stack(shares, axis=1))
