"""The words of a page map. Text, HTML and the widget all use these, so that all say the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pte_magic.text import units
from pte_magic.views import palette

if TYPE_CHECKING:
    from pte_magic.views.page_map.layers import Category, Layer, Spans
    from pte_magic.views.page_map.squares import Measure, Squares

RUNS = 20
"""The number of listed runs."""
BLENDS = "; the colours in it blend by their shares"
"""Words for squares that can be of several categories."""


class Run(NamedTuple):
    """Consecutive entries of one size and category: first address, end, entries, bytes of each, category."""

    first: int
    end: int
    entries: int
    size: int
    category: str

    @property
    def words(self) -> tuple[str, ...]:
        """The run as the list shows it."""
        where = f"{self.first:#014x}-{self.end:#014x}"
        return where, f"{self.entries:,}", units.size(self.size), units.size(self.end - self.first), self.category


def summary(layer: Layer, where: Spans) -> str:
    """Return the map in one line."""
    if not layer.categories:
        return f"{layer.title}: no {layer.unit[1]}"
    n, covered = int(layer.ends[-1]), sum(category.bytes for category in layer.categories)
    counts = np.diff(where.ends, prepend=np.uint32(0)).astype(np.uint64)
    first, end = int(where.vaddr.min()), int((where.vaddr + where.size * counts).max())
    size = units.size(covered)
    line = f"{layer.title}: {counted(n, layer)}, {size}, {first:#014x}-{end:#014x}, coloured by {layer.color}"
    if layer.color != "contiguity":
        return line
    runs = [category for category in layer.categories if category.look in {palette.RUN, palette.NEXT_RUN}]
    if not runs:
        return f"{line}: nothing is present"
    count, largest = sum(category.runs for category in runs), max(category.largest for category in runs)
    return f"{line}: {count:,} physically contiguous run{'s' * (count > 1)}, the largest {units.size(largest)}"


def scale(squares: Squares, layer: Layer) -> str:
    """Return the bytes or entries of a square, in words."""
    size = units.size(squares.per) if squares.by == "bytes" else counted(squares.per, layer)
    return f"one square is {size}"


def blends(squares: Squares, measure: Measure) -> bool:
    """Tell whether a square can be of several categories."""
    return squares.per > measure.smallest and squares.shares.shape[1] > 1


def counted(count: int, layer: Layer) -> str:
    """Return a number of entries in words."""
    one, more = layer.unit
    return f"1 {one}" if count == 1 else f"{count:,} {more}"


def legend_head(layer: Layer) -> tuple[str, ...]:
    """Return the headers of the legend."""
    return layer.color, layer.unit[1], "bytes", "runs", "largest run"


def run_head(layer: Layer) -> tuple[str, ...]:
    """Return the headers of the list of runs."""
    return "addresses", layer.unit[1], "of", "bytes", "what"


def legend(category: Category) -> tuple[str, ...]:
    """Return the line of the legend for a category."""
    covered, largest = units.size(category.bytes), units.size(category.largest)
    return category.name, f"{category.entries:,}", covered, f"{category.runs:,}", largest


def runs(layer: Layer, where: Spans) -> tuple[list[Run], int]:
    """Return the first `RUNS` runs, and the number of all."""
    at, listed = 0, []
    for end in np.union1d(layer.ends[:RUNS], where.ends[:RUNS])[:RUNS].tolist():
        span, run = (int(np.searchsorted(found, at, side="right")) for found in (where.ends, layer.ends))
        size, begin = int(where.size[span]), int(where.ends[span - 1]) if span else 0
        first = int(where.vaddr[span]) + (at - begin) * size
        category = layer.categories[int(layer.codes[run])]
        listed.append(Run(first, first + (end - at) * size, end - at, size, category.name))
        at = end
    common = np.searchsorted(layer.ends, where.ends, side="right") - np.searchsorted(layer.ends, where.ends)
    return listed, len(layer.ends) + len(where.ends) - int(common.sum())


def more(total: int) -> list[str]:
    """Return the line that says that not all runs are listed; empty if all are."""
    return [f"the first {RUNS} of {total:,} runs"] if total > RUNS else []
