"""Overlapping rows, which begin before the row above them ends, and their removal.

A walk takes many steps. The kernel may remove a page table between two steps. The next step then finds another entry in
its place: an empty one, or a huge page. That entry covers all addresses of the page table, also some that have rows
already. Those rows were right, and so is the new one; but a result has one row per address.

The rows that were read from the page table are dropped, as if the walk had come a moment later. Rows that the caller
has already cannot be dropped. Then the remaining addresses become empty entries of the levels below, as large as fit:
an empty entry says that nothing is mapped at any of its addresses, so this also holds for a part of them. For a huge
page in place of the page table, it was true in between: the kernel removes the page table before it maps the huge page.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pte_magic.linux import geometry, hardware

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Rows = tuple[NDArray[np.uint64], NDArray[Any]]


class _Run(NamedTuple):
    """A span, or a part of one: rows of one kind."""

    vaddr: int
    size: int
    n: int
    level: int
    at: int  # index of the first entry; -1: they are zeros
    is_table: bool = False

    @property
    def end(self) -> int:
        return self.vaddr + self.size * self.n

    def first(self, count: int) -> _Run:
        return self._replace(n=count)

    def behind(self, count: int) -> _Run:
        return self._replace(vaddr=self.vaddr + self.size * count, n=self.n - count, at=self.at + count)


def disjoint(entry: NDArray[np.uint64], spans: NDArray[Any], end: int, told: int | None = None) -> Rows:
    """Return entries and spans without overlaps; the same arrays, if there are none.

    Args:
        entry: Entries.
        spans: Their places, as in `Entries`; entries that point to page tables may be among them.
        end: The first address after the range.
        told: The first address whose row the caller does not have yet; None if it has no rows.

    """
    if not _overlap(spans, told):
        return entry, spans
    runs: list[_Run] = []
    reached = told
    for run in _runs(spans):
        if not run.is_table:
            before, reached = reached, run.end
            if before is not None and run.vaddr < before:
                if told is not None and run.vaddr < told:
                    runs += _empty(before, min(run.vaddr + run.size, end))
                    run = run.behind(1)  # noqa: PLW2901  (its first entry is what was replaced)
                else:
                    _drop(runs, run)
        if run.n:
            runs.append(run)
    return _joined(entry, runs, spans.dtype)


def _overlap(spans: NDArray[Any], told: int | None) -> bool:
    """Tell whether some rows at which a walk ended overlap."""
    if len(spans) < 2 and told is None:  # noqa: PLR2004  (one run ascends)
        return False
    first, size, count = spans["vaddr"], spans["size"], spans["count"] - _points_down(spans)
    some = count > 0
    first, end = first[some], (first + size * count)[some]
    return bool((first[1:] < end[:-1]).any()) or (told is not None and bool((first[:1] < told).any()))


def _points_down(spans: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell for each span whether its last entry points to a page table: spans within its addresses follow."""
    end = spans["vaddr"] + spans["size"] * spans["count"]
    found = np.zeros(len(spans), np.bool_)
    found[:-1] = (spans["level"][1:] > spans["level"][:-1]) & (spans["vaddr"][1:] < end[:-1])
    return found


def _runs(spans: NDArray[Any]) -> Iterator[_Run]:
    at = 0
    for (vaddr, size, count, level), table in zip(spans.tolist(), _points_down(spans).tolist(), strict=True):
        run = _Run(vaddr, size, count, level, at)
        if count > table:
            yield run.first(count - table)
        if table:
            yield run.behind(count - 1)._replace(is_table=True)
        at += count


def _drop(runs: list[_Run], by: _Run) -> None:
    """Remove the rows of a page table, now that another entry is in the place of the one that led to it."""
    while runs and runs[-1].level >= by.level and runs[-1].end > by.vaddr:
        last = runs.pop()
        if last.vaddr < by.vaddr:
            runs.append(last.first((by.vaddr - last.vaddr) // last.size))
            break


def _empty(start: int, end: int) -> Iterator[_Run]:
    sizes = sorted((1 << shift, geometry.LEVELS.index(level)) for level, shift in hardware.shifts().items())
    while start < end:
        at, (size, level) = max(
            (i, one) for i, one in enumerate(sizes) if not start % one[0] and start + one[0] <= end
        )  # fmt: skip
        above = sizes[at + 1][0] if at + 1 < len(sizes) else end
        stop = -(-start // above) * above
        count = ((stop if stop > start and stop + above <= end else end) - start) // size
        yield _Run(start, size, count, level, -1)
        start += size * count


def _joined(entry: NDArray[np.uint64], runs: list[_Run], span: np.dtype[Any]) -> Rows:
    parts = [
        entry[run.at : run.at + run.n] if run.at >= 0 else np.zeros(run.n, np.uint64) for run in runs
    ]  # fmt: skip
    spans = np.array([(run.vaddr, run.size, run.n, run.level) for run in runs], span)
    return np.concatenate([np.empty(0, np.uint64), *parts]), spans
