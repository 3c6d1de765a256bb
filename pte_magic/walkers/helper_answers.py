"""Checks of the helper's answers: any program may listen at that path and send anything.

The checks look at a copy, as the sender may go on writing.
"""

from __future__ import annotations

import functools
import struct
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pte_magic.linux import geometry, hardware, kernel_text
from pte_magic.walkers.bpf.constants import TABLES
from pte_magic.walkers.entries import SPAN

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pte_magic.linux.address_space import AddressSpace

FLOOR, FACTOR = 1 << 20, 4
"""Entries that a walk may get in any case, or so many times what the tables have now, as they come and go meanwhile."""


_SPAN = struct.Struct("=QQIi")  # SPAN
_FEW = 16  # spans for which arrays take longer than a loop


def wrong(  # noqa: PLR0913  (an answer, and what was asked)
    spans: bytes, n: int, start: int, end: int, reached: int, *, tables: bool
) -> str:
    """Return the error in the spans of an answer; empty if they can be those of a walk.

    A walk consists of steps. Each begins with the entry at the address where the last step ended, at any level, and
    goes on from the end of the last entry that it read. With `tables`, the entries that led to it come before it: the
    last entry of a span is one of these if the next span is of a lower level, within its addresses.

    Args:
        spans: A copy of the spans, at least one, of dtype `SPAN`.
        n: The number of entries of the answer.
        start: The beginning of this part of the walk.
        end: The end of the walk; the last entry may cover more.
        reached: The beginning of the next part, by the answer.
        tables: True if the request was for the entries on the way, too.

    """
    if len(spans) <= _FEW * _SPAN.size:
        total, came, fault = _one_by_one(list(_SPAN.iter_unpack(spans)), start, end, tables=tables)
    else:
        total, came, fault = _all_at_once(np.frombuffer(spans, SPAN), start, end, tables=tables)
    if not fault and total != n:
        fault = f"spans of {total} entries instead of {n}"
    if not fault and came != reached:
        fault = f"entries up to {came:#x} instead of {reached:#x}"
    return fault


def leading(spans: bytes) -> NDArray[np.intp]:
    """Return the indices of the entries on the way: those whose addresses have the span that follows, ``intp[m]``."""
    found = np.frombuffer(spans, SPAN)
    down = (found["level"][1:] > found["level"][:-1]) & (
        found["vaddr"][1:] < (found["vaddr"] + found["size"] * found["count"])[:-1]
    )
    indices: NDArray[np.intp] = np.cumsum(found["count"], dtype=np.intp)[:-1][down] - 1
    return indices


def are_tables(entry: NDArray[np.uint64]) -> bool:
    """Tell whether all entries, ``uint64[n]``, point to page tables."""
    marks = TABLES.get(hardware.encoding(), TABLES["x86_64"])  # 32-bit x86 has the same two bits
    return bool((entry & np.uint64(marks.bits) == np.uint64(marks.value)).all())


_SIZE = "a size or level that this host does not have"
_PLACE = "entries that do not follow each other, or lie after the end"


def _one_by_one(spans: list[tuple[int, ...]], start: int, end: int, *, tables: bool) -> tuple[int, int, str]:
    """Return the number of entries, their end, and the error in them."""
    sizes, total, came = _sizes(), 0, start
    for at, (vaddr, size, count, level) in enumerate(spans, 1):
        if size != sizes.get(level):
            return 0, 0, _SIZE
        after = vaddr + size * count
        if not count or vaddr != came & -size or after - size >= end:
            return 0, 0, _PLACE
        total += count
        if tables and at < len(spans) and spans[at][3] > level and spans[at][0] < after:
            after -= size
        if after > came:  # noqa: PLR1730  (twice as fast as max())
            came = after
    return total, came, ""


def _all_at_once(spans: NDArray[Any], start: int, end: int, *, tables: bool) -> tuple[int, int, str]:
    vaddr, size, count, level = (spans[name] for name in ("vaddr", "size", "count", "level"))
    by_level = np.array([_sizes().get(number, 0) for number in range(len(geometry.LEVELS))], np.uint64)
    if ((level < 0) | (level >= len(by_level))).any() or ((by_level[level] != size) | (size == 0)).any():
        return 0, 0, _SIZE
    behind = (vaddr >= np.uint64(end)) | (count == 0)
    if behind.any() or (count - np.uint32(1) > (np.uint64(end - 1) - vaddr) // size).any():
        return 0, 0, _PLACE
    after = vaddr + size * count
    if tables:
        after[:-1] -= size[:-1] * ((level[1:] > level[:-1]) & (vaddr[1:] < after[:-1]))
    came = np.maximum.accumulate(np.maximum(after, np.uint64(start)))
    before = np.concatenate([np.array([start], np.uint64), came[:-1]])
    if (vaddr != before & ~(size - np.uint64(1))).any():
        return 0, 0, _PLACE
    return int(count.sum(dtype=np.uint64)), int(came[-1]), ""


@functools.cache
def _sizes() -> dict[int, int]:
    return {geometry.LEVELS.index(level): 1 << shift for level, shift in hardware.shifts().items()}


class Counted:
    """The number of entries in the walks of a process that took several answers, and their limit.

    Only this limit ends a walk whose helper makes up entry after entry, while the memory for them grows.
    """

    _MOST = 64  # walks; most that are not at their end were given up

    def __init__(self) -> None:
        self._walks: dict[tuple[int, ...], int] = {}
        self._room = FLOOR

    def too_many(self, space: AddressSpace, walk: tuple[int, ...], n: int, *, first: bool, last: bool) -> bool:
        """Tell whether a walk with `n` more entries has more than the page tables of the address space.

        Raises:
            NoAddressSpaceError: It has gone meanwhile.

        """
        total = n if first else self._walks.get(walk, 0) + n
        if last:
            self._walks.pop(walk, None)
        else:
            if walk not in self._walks and len(self._walks) >= self._MOST:
                self._walks.pop(next(iter(self._walks)))
            self._walks[walk] = total
        if total > self._room:
            found = _entries(space)
            if not found:
                raise space.gone()
            self._room = max(FLOOR, FACTOR * found)
        return total > self._room


def _entries(space: AddressSpace) -> int:
    """Return the number of entries in all page tables but the topmost: by ``VmPTE`` of /proc/PID/status.

    Exited threads do not have it, and the first one may be among them. 0 if no thread has it.
    """
    for status in Path(f"/proc/{space.pid}/task").glob("*/status"):
        with suppress(OSError):
            if size := kernel_text.fields(kernel_text.read(status)).get("VmPTE"):
                return (int(size.split()[0]) << 10) // (4 if hardware.encoding() == "x86_32" else 8)
    return 0
