"""Storms: memory that changes all the time while it is walked, and processes that die meanwhile."""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import socket
import threading
import time
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np
import pytest
from conftest import forked
from entry_bits import address_mask, bits
from handmade import (
    ANONYMOUS,
    COLLAPSE,
    DONTNEED,
    HUGE,
    HUGE_LEVEL,
    HUGEPAGE,
    NOHUGEPAGE,
    PAGE,
    PM_PFN,
    PM_SWAP,
    PRIVATE,
    READ,
    WRITE,
    NewMap,
    libc,
    madvise,
    mprotect,
    munmap,
    words,
    write,
)
from serving import SCALE

from pte_magic import walkers
from pte_magic.api import pte_frame
from pte_magic.errors import NoAddressSpaceError, PteMagicError
from pte_magic.formats import kernel
from pte_magic.linux import hardware
from pte_magic.linux.address_space import AddressSpace, own
from pte_magic.linux.geometry import LEVELS

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pte_magic.walkers.entries import Entries

SECONDS = 8.0 if SCALE == 1 else 5.0  # of a storm; there is another one if that was not enough
ENOUGH = 10
RUNS = 20 if SCALE == 1 else 7  # kills, at different moments
STABLE = 4 * HUGE
PMD, PTE = LEVELS.index(HUGE_LEVEL), LEVELS.index("pte")
# The kernel empties an entry before it writes another one. Who takes no lock of the table may find it empty.
LOCKLESS = ("bpf", "helper")


def map_and_unmap(until: float) -> None:
    while time.monotonic() < until:
        address = libc.mmap(None, 5 * HUGE, 3, PRIVATE | ANONYMOUS, -1, 0)
        write(address, 5 * HUGE)
        munmap(address + HUGE, HUGE)
        munmap(address, HUGE)
        munmap(address + 2 * HUGE, 3 * HUGE)


def collapse_and_split(until: float) -> None:
    address = libc.mmap(None, 4 * HUGE, 3, PRIVATE | ANONYMOUS, -1, 0)
    first = -(-address // HUGE) * HUGE
    madvise(first, 3 * HUGE, HUGEPAGE)
    while time.monotonic() < until:
        write(first, 3 * HUGE)
        madvise(first + 3 * PAGE, PAGE, DONTNEED)
        write(first + 3 * PAGE)
        with suppress(OSError):  # EAGAIN: the pages were in use
            madvise(first, 3 * HUGE, COLLAPSE)
        mprotect(first + HUGE, PAGE, 1)
        mprotect(first + HUGE, PAGE, 3)
        madvise(first, 3 * HUGE, DONTNEED)
    munmap(address, 4 * HUGE)


def collapse_shared(until: float) -> None:
    while time.monotonic() < until:
        with mmap.mmap(-1, 2 * HUGE) as memory:
            view = ctypes.c_ubyte.from_buffer(memory)
            start = ctypes.addressof(view)
            write(start, 2 * HUGE)
            with suppress(OSError):
                madvise(-(-start // HUGE) * HUGE, HUGE, COLLAPSE)
            del view


def fork_and_exit(until: float) -> None:
    warnings.simplefilter("ignore", DeprecationWarning)
    while time.monotonic() < until:
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)


STORM = (map_and_unmap, collapse_and_split, collapse_shared, fork_and_exit)


def storm(until: float) -> list[BaseException]:
    """Disturb this process' memory in many ways at once; return what went wrong."""
    with ThreadPoolExecutor(len(STORM)) as pool:
        errors = [pool.submit(disturb, until).exception() for disturb in STORM]
    return [error for error in errors if error]


def is_sane(found: Entries, limit: int) -> None:
    """Fail if an entry cannot be one of a user's page: then what was read was no table, or no longer one."""
    ends = found.spans["vaddr"] + found.spans["size"] * found.spans["count"]
    assert (found.spans["vaddr"][1:] == ends[:-1]).all()
    entry, level, has = found.entry, found.level, bits()
    present = entry & np.uint64(has.valid) != 0
    here = entry[present]
    assert not (here & np.uint64(has.never)).any()
    assert ((here & address_mask()) // np.uint64(PAGE) < limit).all()
    assert (here & np.uint64(has.user) != 0).all()  # what the kernel keeps is not in this half
    huge = entry[present & (level != PTE)]
    mask, value = has.table
    assert (huge & np.uint64(mask) != value).all()
    assert not (huge & np.uint64(HUGE - PAGE) & ~np.uint64(has.low_in_huge)).any()  # aligned


def are_where(told: NDArray[np.uint64], found: Entries, space: AddressSpace) -> None:
    """Fail unless each entry is of the page frame that pagemap told before and after it was read.

    It need not be present: a page that the kernel tries to move, and cannot as somebody uses it, has a migration entry
    meanwhile, and then is where it was.
    """
    raw, moving = told & np.uint64(PM_PFN), told & np.uint64(PM_SWAP) != 0
    frames = np.where(moving, raw >> np.uint64(5), raw)
    table = pte_frame.build(found, kernel.running(found.address_bits), pid=space.pid)
    other = table[(table["pfn"] != frames).fillna(True) | ~table["state"].isin(["present", "migration"])]  # noqa: FBT003
    assert other.empty, f"pagemap told {told[other.index]}:\n{other.to_string()}"


def look_until(walker: str, until: float, space: AddressSpace, stable: int, limit: int) -> int:
    """Walk everything again and again; what is not unmapped must be what pagemap says. Return how often it was."""
    raw, compared = walkers.get(walker), 0
    while time.monotonic() < until:
        is_sane(raw.walk(space, 0, hardware.user_limit()), limit)
        before = os.pread(space.fd, STABLE // PAGE * 8, stable // PAGE * 8)
        found = raw.walk(space, stable, stable + STABLE)
        if os.pread(space.fd, len(before), stable // PAGE * 8) == before:  # nothing was moved meanwhile
            assert (found.vaddr == np.arange(stable, stable + STABLE, PAGE, dtype=np.uint64)).all()
            if walker in LOCKLESS and not found.entry.all():
                continue
            are_where(np.frombuffer(before, np.uint64), found, space)
            compared += 1
    return compared


def look_by_pagemap_until(until: float, space: AddressSpace, stable: int) -> int:
    """Do the same with the pagemap walker."""
    pagemap, compared = walkers.get("pagemap"), 0
    while time.monotonic() < until:
        found = pagemap.walk(space, 0, hardware.user_limit())
        assert (found.vaddr[1:] == found.vaddr[:-1] + found.size[:-1]).all()
        before = os.pread(space.fd, STABLE // PAGE * 8, stable // PAGE * 8)
        found = pagemap.walk(space, stable, stable + STABLE)
        if os.pread(space.fd, len(before), stable // PAGE * 8) == before:
            are_where(np.frombuffer(before, np.uint64), found, space)
            compared += 1
    return compared


def test_nothing_wrong_is_ever_read_in_a_storm(raw_walker: str, new_map: NewMap, physical_limit: int) -> None:
    stable = new_map(STABLE, advice=NOHUGEPAGE)
    write(stable, STABLE)

    def childs() -> list[BaseException]:
        write(stable, STABLE, value=2)  # pages of its own
        return storm(time.monotonic() + SECONDS)

    counts, storms = [0, 0, 0], 5  # at most: an emulated machine may need more than one
    with forked(*[childs] * storms) as child, AddressSpace(child.pid) as theirs, ThreadPoolExecutor(6) as pool:
        for _ in range(storms):
            stepped = pool.submit(child.step)
            until = time.monotonic() + SECONDS - 1
            time.sleep(0.3)
            ours = pool.submit(storm, until)
            looking = [
                pool.submit(look_until, raw_walker, until, own(), stable, physical_limit),
                pool.submit(look_until, raw_walker, until, theirs, stable, physical_limit),
                pool.submit(look_by_pagemap_until, until, theirs, stable),
            ]
            counts = [n + found.result(timeout=20 * SECONDS) for n, found in zip(counts, looking, strict=True)]
            assert ours.result(timeout=20 * SECONDS) == []
            assert stepped.result(timeout=20 * SECONDS) == []
            *raw, by_pagemap = counts
            if min(raw) > ENOUGH and by_pagemap:
                break
        assert min(raw) > ENOUGH
        assert by_pagemap
        assert not np.intersect1d(words(stable, STABLE) & PM_PFN, words(stable, STABLE, child.pid) & PM_PFN).size


def test_a_page_that_is_always_there_is_never_read_from_a_table_taken_away(raw_walker: str, new_map: NewMap) -> None:
    address = new_map(HUGE, advice=HUGEPAGE)
    write(address, HUGE)
    enough, seen = threading.Event(), Counter({PMD: 0, PTE: 0, COLLAPSE: 0})

    def collapse() -> None:
        while not enough.is_set():
            mprotect(address, PAGE, READ)  # splits the huge page
            mprotect(address, PAGE, READ | WRITE)
            with suppress(OSError):
                madvise(address, HUGE, COLLAPSE)  # empties the old table after it has unlinked it
                seen[COLLAPSE] += 1

    raw = walkers.get(raw_walker)
    began = time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        collapsing = pool.submit(collapse)
        try:
            while (seconds := time.monotonic() - began) < 2 or (min(seen.values()) <= ENOUGH and seconds < 300):
                found = raw.walk(own(), address + PAGE, address + HUGE)
                assert found.entry.all() or found.level[0] != PTE
                seen[int(found.level[0])] += 1
        finally:
            enough.set()
        collapsing.result()
    assert min(seen.values()) > ENOUGH, seen


def kill_while(work: Callable[[AddressSpace], object], target: Callable[[], object]) -> list[PteMagicError]:
    """Kill a process while `work` looks at it; return what was raised, of all runs."""
    raised: list[PteMagicError] = []
    for i in range(RUNS):
        with forked(target) as child, AddressSpace(child.pid) as space:
            child.step()
            timer = threading.Timer(0.02 * (i + 1) / RUNS, os.kill, (child.pid, signal.SIGKILL))
            timer.start()
            until = time.monotonic() + 10
            try:
                while time.monotonic() < until:
                    work(space)
            except PteMagicError as error:
                raised.append(error)
            timer.join()
    return raised


def test_process_killed_during_a_walk_is_gone_not_empty(walker: str, new_map: NewMap) -> None:
    size = 16 * HUGE
    address = new_map(size, advice=NOHUGEPAGE)
    write(address, size)

    def look(space: AddressSpace) -> None:
        found = walkers.get(walker).walk(space, 0, hardware.user_limit())
        first, last = np.searchsorted(found.vaddr, np.array([address, address + size], np.uint64))
        assert last - first == size // PAGE
        assert found.entry[first:last].all()

    raised = kill_while(look, lambda: write(address, size, value=2))
    assert [type(error) for error in raised] == [NoAddressSpaceError] * RUNS


def test_region_named_during_the_end_of_a_process_is_gone_or_no_process(walker: str) -> None:
    from pte_magic.api import walk  # noqa: PLC0415  (a name that only this test needs)

    def work(space: AddressSpace) -> None:
        walk.walk_target(walk.resolve("[stack]", None, space), space, walker=walker)

    raised = kill_while(work, lambda: None)
    assert len(raised) == RUNS


def test_process_that_execs_during_walks_is_gone_not_mixed(raw_walker: str, physical_limit: int) -> None:
    ours, childs = socket.socketpair()

    def execute() -> None:
        childs.recv(1)
        os.execvp("sleep", ["sleep", "600"])  # noqa: S606  (it is what is tested)

    def look(space: AddressSpace) -> None:
        until = time.monotonic() + 300
        while time.monotonic() < until:
            is_sane(walkers.get(raw_walker).walk(space, 0, hardware.user_limit()), physical_limit)

    with ours, childs:
        for _ in range(5):
            with forked(lambda: threading.Thread(target=execute).start()) as child, AddressSpace(child.pid) as space:
                child.step()  # it has answered before it executes anything
                timer = threading.Timer(0.02, ours.send, (b"x",))
                timer.start()
                with pytest.raises(NoAddressSpaceError):
                    look(space)
                timer.join()
