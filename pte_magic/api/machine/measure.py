"""The memory of one process, measured in its page-table entries: a row of `machine`."""

from __future__ import annotations

import pwd
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pte_magic.api.machine import visiting
from pte_magic.api.machine.mapped import frames
from pte_magic.linux import hardware, kernel_text, sizes

if TYPE_CHECKING:
    from pte_magic.api.machine.mapped import MapCounts, Mapped
    from pte_magic.linux.address_space import AddressSpace
    from pte_magic.walkers.walker import Walker

RESIDENT = "resident_"
"""The beginning of the names of columns for pages of one size."""
CONTIGUOUS = "contiguous"
"""The name of the column for entries with the contiguous bit."""
_SHARE_BITS = 12  # fraction of a byte to which the kernel computes each share: PSS_SHIFT, fs/proc/task_mmu.c


def count(space: AddressSpace, reader: Walker, counts: MapCounts) -> None:
    """Count the entries of a process that map each page frame, unless it still uses its parent's address space."""
    if not visiting.borrowed(space):
        for piece in visiting.pieces(space, reader):
            counts.add(piece)


def row(space: AddressSpace, reader: Walker, counts: MapCounts | None) -> dict[str, Any]:
    """Return the row of a process: its own columns of `Processes`. Without `counts`, page frames are not visible."""
    status = space.status()
    tally = _Tally(counts)
    for piece in visiting.pieces(space, reader):
        tally.add(piece)
    who = {"pid": space.pid, "name": status["Name"], "user": _user(int(status["Uid"].split()[1]))}
    return who | tally.columns(sees_tables=reader.encoding != "pagemap") | {"command": space.command()}


class _Tally:
    """The sums of one process up to now, in bytes."""

    def __init__(self, counts: MapCounts | None) -> None:
        self._counts = counts
        self._by_size = dict.fromkeys(sizes.by_level().values(), 0)
        self._contiguous = self._swapped = self._tables = self._shares = self._unique = 0
        self._leveled = True

    def add(self, what: Mapped) -> None:
        for size in self._by_size:
            self._by_size[size] += size * int(np.count_nonzero(what.size == size))
        self._contiguous += what.contiguous
        self._swapped += what.swapped
        self._tables += what.tables * hardware.PAGE_SIZE
        self._leveled &= what.leveled
        if self._counts:
            for pfn in frames(what):
                times = np.bincount(self._counts.of(pfn)).astype(np.int64)
                n = np.flatnonzero(times)
                self._shares += int((times[n] * ((hardware.PAGE_SIZE << _SHARE_BITS) // n)).sum())
                self._unique += hardware.PAGE_SIZE * int(times[1])

    def columns(self, *, sees_tables: bool) -> dict[str, Any]:
        resident = sum(self._by_size.values())
        huge = resident - self._by_size[hardware.PAGE_SIZE]
        return {
            "resident": resident,
            **{name: self._by_size[size] if self._leveled else pd.NA for size, name in size_columns().items()},
            CONTIGUOUS: self._contiguous if sees_tables else pd.NA,
            "huge_share": huge / resident if self._leveled and resident else pd.NA,
            "swapped": self._swapped,
            "page_tables": self._tables if sees_tables else pd.NA,
            "pss": self._shares >> _SHARE_BITS if self._counts else pd.NA,
            "uss": self._unique if self._counts else pd.NA,
        }


def size_columns() -> dict[int, str]:
    """Return the name of the column for pages of each size in bytes."""
    return {size: f"{RESIDENT}{sizes.short(size)}" for size in sizes.by_level().values()}


def _user(uid: int) -> str:
    try:
        return kernel_text.shown(kernel_text.exact(pwd.getpwuid(uid).pw_name))
    except KeyError:
        return str(uid)
