"""What the kernel counts of processes and of all memory, to compare with; on a machine where others go on."""

from __future__ import annotations

import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from conftest import Child, forked
from handmade import (
    ANONYMOUS,
    DONTNEED,
    HUGE,
    HUGEPAGE,
    NOHUGEPAGE,
    NONE,
    PAGE,
    READ,
    SHARED,
    WRITE,
    NewMap,
    madvise,
    mprotect,
    read,
    smaps,
    write,
)
from waiting import wait_until

import pte_magic
from pte_magic.linux import sizes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pte_magic import Processes

MIB16 = 16 << 20
SHARING = {"pss", "uss"}
SMALL = f"resident_{sizes.short(PAGE)}"

_REFRESH = Path("/proc/sys/vm/stat_refresh")  # root's: what processors have counted for themselves is added


@contextmanager
def holding_still(new_map: NewMap) -> Iterator[Child]:
    """Give a child that has memory of all kinds that this machine has, alone or with another child; it holds still."""
    small, zeros, gone, hidden = (new_map(64 * PAGE, advice=NOHUGEPAGE) for _ in range(4))
    huge, huge_zero = (new_map(2 * HUGE, advice=HUGEPAGE) for _ in range(2))
    shared = new_map(MIB16, READ | WRITE, SHARED | ANONYMOUS)

    def use() -> None:
        write(small, 40 * PAGE)
        read(zeros, 16 * PAGE)
        write(gone, 64 * PAGE)
        madvise(gone, 64 * PAGE, DONTNEED)  # its table stays
        write(hidden, 8 * PAGE)
        mprotect(hidden, 64 * PAGE, NONE)
        write(huge, 2 * HUGE)
        madvise(huge, PAGE, DONTNEED)  # the first huge page is split
        read(huge_zero)
        write(shared, MIB16)

    with forked(use) as child, forked(lambda: read(shared, MIB16 // 4 * 3)) as other:
        child.step()
        other.step()
        assert smaps(huge, "AnonHugePages", child.pid) == HUGE
        yield child


def meminfo() -> dict[str, int]:
    """Return /proc/meminfo in bytes."""
    _REFRESH.read_bytes()
    lines = Path("/proc/meminfo").read_text(encoding="utf-8")
    return {name: int(number) << 10 for name, number in re.findall(r"^(\S+):\s+(\d+) kB$", lines, re.MULTILINE)}


def turnover() -> int:
    """Return how many bytes were allocated, freed and mapped since the machine started."""
    _REFRESH.read_bytes()
    lines = Path("/proc/vmstat").read_text(encoding="utf-8")
    return sum(map(int, re.findall(r"^(?:pgalloc_\w+|pgfree|pgfault) (\d+)$", lines, re.MULTILINE))) * PAGE


def accounted(pid: int) -> dict[str, int]:
    """Return what the kernel says of a process, in bytes: smaps_rollup and status."""
    lines = "".join(Path(f"/proc/{pid}/{name}").read_text(encoding="utf-8") for name in ("smaps_rollup", "status"))
    return {name: int(number) << 10 for name, number in re.findall(r"^(\w+):\s+(\d+) kB$", lines, re.MULTILINE)}


def expected(pid: int, huge_zeros: int = 0) -> dict[str, int]:
    """Return the same, as the columns have it: with hugetlb, without tables that are only kept ready.

    The kernel keeps one for each anonymous huge page, also for the huge zero page, which is in none of its sizes.
    """
    found = accounted(pid)
    hugetlb = found["Private_Hugetlb"] + found["Shared_Hugetlb"]
    huge = found["AnonHugePages"] + found["ShmemPmdMapped"] + found["FilePmdMapped"] + hugetlb
    return {
        "resident": found["Rss"] + hugetlb,
        SMALL: found["Rss"] + hugetlb - huge,
        "huge": huge,
        "swapped": found["VmSwap"],
        "page_tables": found["VmPTE"] - (found["AnonHugePages"] // HUGE + huge_zeros) * PAGE,
        "pss": found["Pss"] + found["Private_Hugetlb"],
        "uss": found["Private_Clean"] + found["Private_Dirty"] + found["Private_Hugetlb"],
    }


def told(table: Processes, pid: int) -> dict[str, int | None]:
    """Return the row of a process in whole KiB, as the kernel tells them."""
    (row,) = table[table["pid"] == pid].to_dict("records")
    row["huge"] = sum(value for name, value in row.items() if str(name).startswith("resident_") and name != SMALL)
    return {name: None if pd.isna(row[name]) else int(row[name]) >> 10 << 10 for name in expected(pid)}


def compare(pid: int, walker: str, *, lacks: set[str], huge_zeros: int = 0) -> None:
    """Wait for a look at a process that agrees with the kernel in everything.

    The process holds still, so its own sizes are exactly the kernel's. What it shares becomes less shared when others
    write, or end: so the kernel is asked before and after, until that is about the same; ours lies in between.
    """
    seen: list[Any] = []

    def do() -> bool:
        before = expected(pid, huge_zeros)
        ours = told(pte_magic.machine(walker=walker), pid)
        after = expected(pid, huge_zeros)
        seen[:] = [before, ours, after]
        assert {name for name, value in ours.items() if value is None} == lacks
        return all(
            value is None or (low <= value <= high and high - low <= (high // 50 if name in SHARING else 0))
            for name, value in ours.items()
            for low, high in [sorted((before[name], after[name]))]
        )

    wait_until(do, instead=lambda: "\n".join(map(str, seen)))
