"""Processes that are stopped in the middle of a storm: what every walker tells of each page is what pagemap tells."""

from __future__ import annotations

import os
import re
import signal
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from agreement import NOT_IN_ENTRIES, _expected
from children import Children, chance_of
from handmade import (
    ANONYMOUS,
    COLLAPSE,
    DONTNEED,
    FIXED,
    GUARD_INSTALL,
    HUGE,
    HUGEPAGE,
    NONE,
    PAGE,
    PAGEOUT,
    PRIVATE,
    READ,
    SHARED,
    WRITE,
    libc,
    madvise,
    mprotect,
    munmap,
    read,
    write,
)  # fmt: skip
from storms import SHORT, mixed, working
from test_disjoint_rows import BASE, FAR, at, keeps_the_contract
from turn import WAIT
from waiting import wait_until

from pte_magic.linux import hardware
from pte_magic.linux.address_space import AddressSpace

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from numpy.typing import NDArray
    from turn import Turn

    from pte_magic.walkers.entries import Entries
    from pte_magic.walkers.walker import Walker

WHAT = "stopped processes, by all walkers and pagemap"
NEEDS_ROOT = "page frames"

STOPS, SOME, MOST = 4, 80, 1 << 16  # of a round; regions, and pages of a region that are compared
_FEW = 1 << 11  # pages for which it is worth to ask for 37 rows at a time
AREA, SIZE = BASE + 4 * FAR[-1], 24 * HUGE
"""Where memory of all kinds is made, and how much."""


def of_all_kinds(chance: random.Random) -> None:
    """Do something to a part of the area."""
    start = AREA + chance.randrange(0, SIZE // 2, PAGE)
    size = chance.randrange(PAGE, chance.choice((9 * PAGE, HUGE, SIZE // 2)), PAGE)
    flags = chance.choice((PRIVATE | ANONYMOUS, PRIVATE | ANONYMOUS, SHARED | ANONYMOUS)) | FIXED
    steps: list[Callable[[], object]] = [
        lambda: libc.mmap(start, size, READ | WRITE, flags, -1, 0),
        lambda: _file(start, size, chance.choice((PRIVATE, SHARED))),
        lambda: mprotect(start, size, chance.choice((NONE, READ))),
        lambda: mprotect(start, size, READ | WRITE),
        lambda: munmap(start, size),
        *(lambda advice=advice: madvise(start, size, advice) for advice in (DONTNEED, HUGEPAGE, COLLAPSE, PAGEOUT)),
        lambda: madvise(start, size, GUARD_INSTALL),
        lambda: _touched(write, start, size),
        lambda: _touched(write, start, size),
        lambda: _touched(read, start, size),
        _forked,
    ]
    with suppress(OSError):
        chance.choice(steps)()


def _file(start: int, size: int, flags: int) -> None:
    fd = os.memfd_create("attack")
    os.ftruncate(fd, size)
    libc.mmap(start, size, READ | WRITE, flags | FIXED, fd, 0)
    os.close(fd)


def _touched(touch: Callable[[int, int], object], start: int, size: int) -> None:
    """Write or read some pages, which this process may have no right to: a system call is told so, not killed."""
    fd = os.open("/proc/self/mem", os.O_RDWR)
    try:
        for place in range(start, start + size, PAGE):
            with suppress(OSError):
                if touch is write:
                    os.pwrite(fd, b"x", place)
                else:
                    os.pread(fd, 1, place)
    finally:
        os.close(fd)


def _forked() -> None:
    """Fork a child that lives for a moment."""
    pid = os.fork()
    if pid == 0:
        time.sleep(0.05)
        os._exit(0)
    os.waitpid(pid, 0)


def storm(seed: int) -> None:
    chance, step = chance_of(seed), mixed(seed)
    at(AREA, SIZE)
    while True:
        step()
        for _ in range(chance.randrange(20)):
            of_all_kinds(chance)


def regions(pid: int) -> list[tuple[int, int, set[str]]]:
    """Return the regions of a stopped process, but for those of the kernel, each with its two-letter flags."""
    found: list[tuple[int, int, set[str]]] = []
    for line in Path(f"/proc/{pid}/smaps").read_bytes().split(b"\n"):
        if begins := re.match(rb"([0-9a-f]+)-([0-9a-f]+) ", line):
            start, end = (int(part, 16) for part in begins.groups())
        elif line.startswith(b"VmFlags:") and end <= hardware.user_limit():
            found.append((start, end, set(line.decode().split()[1:])))
    return found


def told(found: Entries, start: int, end: int, flags: set[str]) -> NDArray[np.uint64]:
    """Return what pagemap has to say of each page, by the entries of a walker."""
    if found.encoding != "pagemap":
        return _expected(found, start, end, flags)
    address = np.arange(start, end, PAGE, dtype=np.uint64)
    row = np.searchsorted(found.vaddr, address, side="right") - 1
    entry, within = found.entry[row], (address - found.vaddr[row]) // np.uint64(PAGE)
    is_huge = (found.size[row] > PAGE) & (entry >> np.uint64(62) != 0)
    step = np.where(entry >> np.uint64(63) != 0, within, within << np.uint64(5))
    return np.where(is_huge, entry + step, entry) & ~NOT_IN_ENTRIES


def compare(
    names: dict[str, Walker], space: AddressSpace, start: int, end: int, flags: set[str]
) -> tuple[int, int, int]:
    """Fail if a walker tells something else than pagemap; return entries, pages, and pages that the kernel moved."""
    pages, entries, compared, moved = (end - start) // PAGE, 0, 0, 0
    if "pf" in flags:  # pagemap tells nothing of what is not the kernel's memory (walk_page_test(), mm/pagewalk.c)
        return 0, 0, 0
    for name, walker in names.items():
        if name == SHORT and pages > _FEW:
            continue
        for _ in range(20):
            before = os.pread(space.fd, pages * 8, start // PAGE * 8)
            found = walker.walk(space, start, end)
            keeps_the_contract(found, start, end)
            if os.pread(space.fd, pages * 8, start // PAGE * 8) == before:
                break
            moved += pages
        else:
            return entries, compared, moved
        expected = np.frombuffer(before, np.uint64) & ~NOT_IN_ENTRIES
        seen = told(found, start, end, flags) & ~NOT_IN_ENTRIES
        different = np.flatnonzero(seen != expected)
        assert not different.size, (
            name, flags, [(hex(start + int(i) * PAGE), hex(seen[i]), hex(expected[i])) for i in different[:9]]
        )  # fmt: skip
        entries += len(found)
        compared += pages
    return entries, compared, moved


def state(pid: int) -> bytes:
    return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]


def attack(turn: Turn) -> None:
    with ExitStack() as stack:
        names = working(stack)
        for chance in turn.rounds():
            with Children() as children:
                pid = children.start(storm, chance.getrandbits(32))
                with AddressSpace(pid) as space:
                    for _ in range(STOPS):
                        time.sleep(chance.random() * 0.3)
                        children.look()
                        os.kill(pid, signal.SIGSTOP)
                        wait_until(lambda pid=pid: state(pid) == b"T", seconds=WAIT)  # type: ignore[misc]
                        there = regions(pid)
                        for start, end, flags in chance.sample(there, min(SOME, len(there))):
                            last = min(end, start + MOST * PAGE)
                            entries, pages, moved = compare(names, space, start, last, flags)
                            turn.count(entries=entries, pages_compared=pages, pages_moved_meanwhile=moved)
                        turn.count(stops=1)
                        os.kill(pid, signal.SIGCONT)
