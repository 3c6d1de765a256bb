"""The record of one page fault, as all sources make it, and `Faults`: what a source saw from start to stop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

RECORD = np.dtype(
    [
        ("time", np.uint64),
        ("address", np.uint64),
        ("ip", np.uint64),
        ("before", np.uint64),
        ("after", np.uint64),
        ("tid", np.uint32),
        ("pid", np.uint32),
        ("ns", np.uint32),
        ("level_before", np.uint8),
        ("level_after", np.uint8),
        ("flags", np.uint8),
        ("unused", np.uint8),
    ]
)
"""One fault; struct fault of faults.bpf.c has the same layout.

* ``time``: ns of CLOCK_MONOTONIC, of the begin of the fault where the source knows it, else of its end.
* ``address``: the byte that was touched.
* ``ip``: the instruction that touched it.
* ``before``, ``after``: the entry that maps the address or, if none does, the one at which the walk ended.
* ``level_before``, ``level_after``: their levels, indices into `pte_magic.linux.geometry.LEVELS`.
* ``tid``, ``pid``: thread and process, in the pid namespace of this process.
* ``ns``: the time from `before` to `after`; 0 where it is not known, and 2³²-1 for 4.29 s or longer.
* ``flags``: `USER`, `MAJOR`, `REFUSED`, `UNFINISHED`.
"""

NOT_READ = 255
"""The level of an entry that the source did not read."""

USER = 1
"""The flag of a fault in user mode; without it, the kernel touched the memory in a system call."""
MAJOR = 2
"""The flag of a fault that waited, as for a disk; one without this flag is minor, if it was completed."""
REFUSED = 4
"""The flag of a fault that the kernel did not complete: it sent a signal, a system call failed with EFAULT, or a signal
came first and the fault began again."""
UNFINISHED = 8
"""The flag of a fault that was still under way at the end."""


@dataclass(frozen=True)
class Faults:
    """The faults of a process, or of several, from start to stop.

    Attributes:
        records: Faults in the order of their times, of dtype `RECORD`; none if the source only counts.
        lost: The number of faults that there was no room for.
        source: The name of the source: bpf, perf or rusage.
        minor: Minor faults that the kernel counted for the process (ru_minflt); -1 if that is not known.
        major: Major faults that it counted (ru_majflt); -1 if that is not known.
        start: When it began, in ns of CLOCK_MONOTONIC.
        stop: When it ended.
        notes: Sentences about what this source cannot see, and how it could.

    """

    records: NDArray[np.void]
    lost: int
    source: str
    minor: int
    major: int
    start: int
    stop: int
    notes: tuple[str, ...] = ()

    @property
    def completed(self) -> NDArray[np.bool_]:
        """Tell of each record whether the kernel completed the fault, so that it counted it, ``bool[n]``."""
        return np.asarray(self.records["flags"] & (REFUSED | UNFINISHED) == 0)

    @property
    def unseen(self) -> int:
        """Return how many faults the kernel counted that have no record and are not lost; 0 if that is not known.

        The kernel counts faults that it makes itself by get_user_pages(), as for O_DIRECT, mlock(2) or a debugger, and
        makes no event of them (mm_account_fault(), mm/memory.c).
        """
        if self.source == "rusage" or self.minor < 0 or self.major < 0:
            return 0
        return max(self.minor + self.major - int(self.completed.sum()) - self.lost, 0)


def none() -> NDArray[np.void]:
    """Return an array of no faults."""
    return np.empty(0, RECORD)
