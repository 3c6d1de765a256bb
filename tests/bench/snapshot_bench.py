"""Benchmark of snapshots: against reading /proc/PID/pagemap of the same processes, and their memory. `make bench`."""

from __future__ import annotations

import os
import sys
import tempfile
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench import GIB, fastest, report, resident
from peaks import mapped_peak

import pte_magic
from pte_magic.errors import PteMagicError
from pte_magic.linux import hardware
from pte_magic.linux.address_space import AddressSpace

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

RESIDENT = 4 * GIB
WORD = 8
_words = bytearray(1 << 20)


def read_pagemap(pid: int) -> None:
    """Read the words of all regions of a process, in bulk, to memory that is there already."""
    try:
        with AddressSpace(pid) as space:
            for region in space.regions():
                if region.start < hardware.user_limit():
                    _read(space.fileno(), region.start // hardware.PAGE_SIZE, region.end // hardware.PAGE_SIZE)
    except PteMagicError:  # kernel threads, and who has gone
        pass


def _read(fd: int, first: int, last: int) -> None:
    at, view = first * WORD, memoryview(_words)
    while at < last * WORD:
        got = os.preadv(fd, [view[: last * WORD - at]], at)
        if not got:  # it has ended
            return
        at += got


def machine_wide() -> None:
    """Read the words of all processes."""
    for process in Path("/proc").glob("[0-9]*"):
        read_pagemap(int(process.name))


def snapshots() -> None:
    """Measure the whole machine, with this process of some GiB, and that process alone."""
    with tempfile.TemporaryDirectory() as directory, resident(RESIDENT):
        places = (Path(directory) / str(number) for number in count())
        compare("the whole machine", machine_wide, lambda: pte_magic.snapshot(next(places), "all"))
        compare(
            "one process of 4 GiB",
            lambda: read_pagemap(os.getpid()),
            lambda: pte_magic.snapshot(next(places), os.getpid()),
        )


def compare(what: str, read: Callable[[], None], write: Callable[[], pd.DataFrame]) -> None:
    """Print a row: reading pagemap against a snapshot, which ends up in the page cache."""
    pagemap, ours = fastest(read), fastest(write)
    told = write()
    ratio = pagemap / ours
    report(
        f"snapshot of {what}: times as fast as reading pagemap", ratio, "at least 5",
        reached=ratio >= 5,
        measured=f"{ours * 1e3:.0f} ms, pagemap {pagemap * 1e3:.0f} ms; {len(told)} processes, "
        f"{told['rows'].sum() / 1e6:.2f} M entries, {told['bytes'].sum() / 1e6:.1f} MB",
    )  # fmt: skip


def memory() -> None:
    """Measure the peak of a process that writes a snapshot of 1 GiB of page tables' pages, and of 16 GiB."""
    small, large = (mapped_peak(size) for size in (GIB, 16 * GIB))
    ratio = large / small
    report(
        "peak memory of a snapshot: of 16 GiB over 1 GiB", ratio, "at most 1.1",
        reached=ratio <= 1.1, measured=f"{large / 1e6:.1f} MB, {small / 1e6:.1f} MB",
    )  # fmt: skip


def main() -> None:
    """Print the table."""
    print("| what | ratio | goal | reached | measured |\n|---|---|---|---|---|")
    snapshots()
    memory()


if __name__ == "__main__":
    main()
